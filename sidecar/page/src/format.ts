// Numbers, times and orders as people read them. Pure.

import type { Group, GroupState, Route, Severity } from "./types.js";

const SEVERITIES: Severity[] = ["P0", "P1", "P2", "P3"];
const STATES: GroupState[] = ["new", "regressed", "ongoing", "recovered"];

export function rate(perSecond: number): string {
  if (perSecond === 0) return "0";
  if (perSecond < 10) return perSecond.toFixed(perSecond < 0.1 ? 2 : 1);
  return count(Math.round(perSecond));
}

export function count(number: number): string {
  if (number < 10_000) return number.toLocaleString("en");
  const [size, unit] = number < 1e6 ? [1e3, "k"] : number < 1e9 ? [1e6, "M"] : [1e9, "G"];
  return `${(number / size).toFixed(number / size < 100 ? 1 : 0)}${unit}`;
}

// Never rounded up to 100 %: a failure that is there stays to be seen.
export function percent(ratio: number | null): string {
  if (ratio === null) return "–";
  const percents = ratio * 100;
  if (percents === 100 || percents === 0) return `${percents}%`;
  const digits = percents > 99 ? 2 : percents > 10 ? 1 : 2;
  const size = 10 ** digits;
  return `${(Math.floor(percents * size + 1e-6) / size).toFixed(digits)}%`;
}

export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  const ms = seconds * 1000;
  if (ms < 1) return `${ms.toFixed(1)}ms`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}ms`;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 2 : 1)}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${Math.floor(seconds % 60)}s`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 48) return `${hours}h ${Math.floor((seconds % 3600) / 60)}m`;
  return `${Math.floor(hours / 24)}d`;
}

export function ago(iso: string, now: number): string {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  return seconds < 1 ? "now" : `${duration(Math.floor(seconds)).replace(/\.0+s$/, "s")} ago`;
}

// In the time of whoever looks; with the day, unless it is today.
export function clock(iso: string, now: number): string {
  const moment = new Date(iso);
  const time = moment.toLocaleTimeString("en-GB");
  if (moment.toDateString() === new Date(now).toDateString()) return time;
  return `${moment.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${time}`;
}

export function bytes(size: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; size >= 1024 && unit < units.length - 1; unit++) size /= 1024;
  return `${size.toFixed(unit && size < 100 ? 1 : 0)} ${units[unit]}`;
}

// What is over comes last; then the worst; then the one that began last.
export function byUrgency(a: Group, b: Group): number {
  return (
    Number(isOver(a)) - Number(isOver(b)) ||
    SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity) ||
    STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
    b.first_seen.localeCompare(a.first_seen) ||
    a.id.localeCompare(b.id)
  );
}

export function isOver(group: Group): boolean {
  return group.state === "recovered";
}

export type RouteOrder = "worst" | "name" | "rate" | "p95";

const by: Record<RouteOrder, (a: Route, b: Route) => number> = {
  worst: (a, b) =>
    trouble(b) - trouble(a) ||
    (a.success_ratio ?? 2) - (b.success_ratio ?? 2) ||
    b.requests_per_s - a.requests_per_s,
  name: () => 0,
  rate: (a, b) => b.requests_per_s - a.requests_per_s,
  p95: (a, b) => (b.p95_s ?? -1) - (a.p95_s ?? -1),
};

export function sorted(routes: Route[], order: RouteOrder): Route[] {
  return routes.toSorted((a, b) => by[order](a, b) || a.route.localeCompare(b.route));
}

function trouble(route: Route): number {
  return route.breaker === "open" ? 2 : route.breaker === "half_open" ? 1 : 0;
}

// All words must be somewhere in one of the texts.
export function isFound(query: string, ...texts: string[]): boolean {
  const where = texts.join("\n").toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => where.includes(word));
}

export function times(number: number): string {
  return number === 1 ? "once" : number === 2 ? "twice" : `${number} times`;
}

export function plain(word: string): string {
  return word.replaceAll("_", " ");
}

export function traceLink(template: string | null, traceId: string): string | null {
  return template && traceId ? template.replaceAll("{trace_id}", traceId) : null;
}
