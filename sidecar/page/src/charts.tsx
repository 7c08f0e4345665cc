// Charts by uPlot, in the colours of the page. A spark is a chart without its axes.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { duration, percent, rate } from "./format.js";
import { endMs, intervalS } from "./store.js";
import { theme } from "./theme.js";
import type { Numbers, Series } from "./types.js";

interface Line {
  label: string;
  color: string; // The name of a variable of the style sheet.
  isFilled?: boolean;
  isDashed?: boolean;
}

interface Props {
  lines: Line[];
  values: Numbers[];
  format: (value: number) => string;
  height: number;
  label: string;
  floor?: number; // The axis begins there unless a value is below.
  ceiling?: number;
}

const LATENCIES: Line[] = [
  { label: "p50", color: "--line-1" },
  { label: "p95", color: "--line-2" },
  { label: "p99", color: "--line-3", isDashed: true },
];
const TRAFFIC: Line[] = [
  { label: "requests", color: "--line-1", isFilled: true },
  { label: "failures", color: "--bad", isFilled: true },
];

function perSecond(counts: number[]): number[] {
  return counts.map((number) => number / intervalS.value);
}

export function successes(series: Series): Numbers {
  return series.requests.map((requests, i) =>
    requests ? 1 - (series.failures[i] ?? 0) / requests : null,
  );
}

export function Traffic({ series, height = 120 }: { series: Series; height?: number }) {
  const values = [perSecond(series.requests), perSecond(series.failures)];
  return (
    <Chart label="requests per second" lines={TRAFFIC} values={values} format={rate}
      height={height} floor={0} />
  );
}

export function Success({ series, height = 120 }: { series: Series; height?: number }) {
  return (
    <Chart label="success" lines={[{ label: "success", color: "--good" }]}
      values={[successes(series)]} format={percent} height={height}
      floor={0.9} ceiling={1} />
  );
}

export function Latency({ series, height = 120 }: { series: Series; height?: number }) {
  const values = [series.p50_s, series.p95_s, series.p99_s];
  return (
    <Chart label="latency" lines={LATENCIES} values={values} format={duration}
      height={height} floor={0} />
  );
}

export function Spark({ series }: { series: Series }) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const data = aligned([perSecond(series.requests), perSecond(series.failures)]);
  useEffect(() => {
    if (!box.current) return;
    plot.current = new uPlot(
      {
        width: 98,
        height: 22,
        padding: [2, 0, 0, 0],
        cursor: { show: false },
        legend: { show: false },
        axes: [{ show: false }, { show: false }],
        scales: { y: { range: (_, __, top) => [0, Math.max(top, 0.1)] } },
        series: [{}, ...TRAFFIC.map((line) => stroke(line, 1))],
      },
      data,
      box.current,
    );
    return () => plot.current?.destroy();
  }, [theme.value]);
  useEffect(() => plot.current?.setData(data), [data]);
  return <div class="spark" ref={box} aria-hidden="true" />;
}

function Chart({ lines, values, format, height, label, floor, ceiling }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot>(undefined);
  const data = aligned(values);
  useEffect(() => {
    if (!box.current) return;
    const axis = { stroke: color("--dim"), grid: { stroke: color("--grid"), width: 1 },
      ticks: { show: false }, font: "11px system-ui" };
    plot.current = new uPlot(
      {
        width: box.current.clientWidth,
        height,
        cursor: { y: false, sync: { key: "time" }, points: { size: 6 } },
        legend: { live: true },
        axes: [
          { ...axis, space: 70, size: 22, values: (_, marks) => marks.map(time) },
          { ...axis, size: 52, space: 24,
            values: (_, marks) => marks.map((mark) => format(mark)) },
        ],
        scales: {
          y: { range: (_, low, high) => [
            Math.min(floor ?? low ?? 0, low ?? 0),
            ceiling ?? Math.max((high ?? 0) * 1.1, 0.001)] },
        },
        series: [
          { label: "at", value: (plot, at) => time(at ?? plot.data[0].at(-1) ?? endMs.value / 1000) },
          ...lines.map((line) => ({
            ...stroke(line, 1.5),
            label: line.label,
            value: (plot: uPlot, value: number | null, line: number, at: number | null) => {
              const told = at === null ? plot.data[line]?.at(-1) : value; // Of now, or pointed at.
              return read(told, format);
            },
          })),
        ],
      },
      data,
      box.current,
    );
    const resized = new ResizeObserver(([entry]) => {
      const width = Math.floor(entry?.contentRect.width ?? 0);
      if (width) plot.current?.setSize({ width, height });
    });
    resized.observe(box.current);
    return () => {
      resized.disconnect();
      plot.current?.destroy();
    };
  }, [theme.value, height]);
  useEffect(() => plot.current?.setData(data), [data]);
  const told = lines.map((line, i) => `${line.label} ${read(values[i]?.at(-1), format)}`);
  return <div class="chart" ref={box} role="img" aria-label={`${label}, now: ${told.join(", ")}`} />;
}

function read(value: number | null | undefined, format: Props["format"]): string {
  return value === null || value === undefined ? "–" : format(value);
}

// Oldest first, the last at the end of the latest interval; gaps stay gaps.
function aligned(values: Numbers[]): uPlot.AlignedData {
  const size = values[0]?.length ?? 0;
  const end = endMs.value / 1000;
  const times = Array.from({ length: size }, (_, i) => end - (size - 1 - i) * intervalS.value);
  return [times, ...values] as uPlot.AlignedData;
}

function stroke(line: Line, width: number): uPlot.Series {
  const full = color(line.color);
  return {
    stroke: full,
    width,
    points: { show: false },
    spanGaps: false,
    ...(line.isFilled ? { fill: `color-mix(in oklab, ${full} 22%, transparent)` } : {}),
    ...(line.isDashed ? { dash: [4, 3] } : {}),
  };
}

const colors = new Map<string, string>();

function color(name: string): string {
  const key = `${theme.value} ${name}`;
  const known = colors.get(key) ?? computed(name);
  colors.set(key, known);
  return known;
}

function computed(name: string): string {
  // Through an element: a canvas does not know light-dark().
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
