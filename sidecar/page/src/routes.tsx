// The routes: only those rows are there that can be seen, be there ten or a thousand.

import { signal } from "@preact/signals";
import { useEffect, useRef, useState } from "preact/hooks";
import { Facts, Nothing, Section, State } from "./bits.js";
import { Latency, Spark, Success, Traffic } from "./charts.js";
import { duration, isFound, percent, rate, sorted, type RouteOrder } from "./format.js";
import { open, openedAs } from "./place.js";
import {
  breakers, chart, empty, failedCharts, hasAnswered, histories, met, query, routes, search, seeBreakers,
} from "./store.js";
import type { Route } from "./types.js";

const ROW_PX = 34;
const SPARE_ROWS = 4;
const order = signal<RouteOrder>("worst");

export function Routes() {
  const shown = sorted(
    routes.value.filter((r) => isFound(query.value, r.route, r.upstream, r.breaker, r.listener)),
    order.value,
  );
  const chosen = routes.value.find((route) => route.route === openedAs("route"));
  return (
    <Section id="routes" title="Routes" more={<Orders />}
      note={routes.value.length > 1 ? `${shown.length} of ${routes.value.length}` : ""}>
      {chosen && <Chosen route={chosen} />}
      {shown.length ? <Rows shown={shown} /> : (
        <Nothing>{hasAnswered("routes") ? "No route matches." : "Waiting for the sidecar…"}</Nothing>
      )}
    </Section>
  );
}

function Orders() {
  const names: Record<RouteOrder, string> = {
    worst: "worst first", rate: "busiest first", p95: "slowest first", name: "by name",
  };
  return (
    <label class="order">
      <span class="hidden">Order of routes</span>
      <select value={order.value}
        onChange={(event) => (order.value = event.currentTarget.value as RouteOrder)}>
        {Object.entries(names).map(([value, name]) => <option key={value} value={value}>{name}</option>)}
      </select>
    </label>
  );
}

function Rows({ shown }: { shown: Route[] }) {
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 400 });
  const measure = () => {
    const element = box.current;
    if (!element) return;
    const top = element.scrollTop - (element.scrollTop % ROW_PX); // Between rows all is as it was.
    const height = element.clientHeight;
    setView((was) => (was.top === top && was.height === height ? was : { top, height }));
  };
  useEffect(() => {
    const resized = new ResizeObserver(measure);
    if (box.current) resized.observe(box.current);
    return () => resized.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(view.top / ROW_PX) - SPARE_ROWS);
  const last = Math.ceil((view.top + view.height) / ROW_PX) + SPARE_ROWS;
  const visible = shown.slice(first, last);
  const missing = visible.map((route) => route.route).filter((name) => !histories.value.has(name)).join("\n");
  useEffect(() => {
    if (!missing) return;
    const soon = setTimeout(() => void chart(missing.split("\n").slice(0, 50)), 80);
    return () => clearTimeout(soon);
  }, [missing, failedCharts.value]);
  return (
    <div class="rows" ref={box} onScroll={measure} role="table" aria-label="Routes"
      aria-rowcount={shown.length + 1} tabIndex={0}>
      <div class="line head" role="row" aria-rowindex={1}>
        {["route", "last minutes", "rate", "success", "p50", "p95", "p99", "breaker"].map((name) => (
          <span role="columnheader" key={name} class={name === "last minutes" ? "spark" : name}>{name}</span>
        ))}
      </div>
      <div class="all" style={{ height: `${shown.length * ROW_PX}px` }} role="rowgroup">
        {visible.map((route, i) => (
          <Row key={route.route} route={route} index={first + i} />
        ))}
      </div>
    </div>
  );
}

function Row({ route, index }: { route: Route; index: number }) {
  const series = histories.value.get(route.route);
  const isChosen = openedAs("route") === route.route;
  return (
    <div class={`line ${isChosen ? "chosen" : ""}`} role="row" aria-rowindex={index + 2}
      style={{ transform: `translateY(${index * ROW_PX}px)` }}>
      <span role="cell" class="route">
        <button type="button" aria-pressed={isChosen} title={`${route.route} → ${route.upstream}`}
          onClick={() => open("route", isChosen ? "" : route.route)}>
          {route.route}
        </button>
      </span>
      <span role="cell" class="spark">{series && <Spark series={series} />}</span>
      <span role="cell" class="rate">{rate(route.requests_per_s)}/s</span>
      <span role="cell" class={`success ${grade(route.success_ratio)}`}>{percent(route.success_ratio)}</span>
      <span role="cell" class="p50">{duration(route.p50_s)}</span>
      <span role="cell" class="p95">{duration(route.p95_s)}</span>
      <span role="cell" class="p99">{duration(route.p99_s)}</span>
      <span role="cell" class="breaker">
        {route.breaker === "off" ? <small>off</small> : <State of={route.breaker} />}
      </span>
    </div>
  );
}

function grade(ratio: number | null): string {
  return ratio === null ? "" : ratio < 0.95 ? "bad" : ratio < 0.999 ? "warn" : "good";
}

function Chosen({ route }: { route: Route }) {
  const known = histories.value.get(route.route);
  useEffect(() => void chart([route.route]), [route.route, known === undefined, failedCharts.value]);
  useEffect(() => void seeBreakers().catch(met), [route.route]);
  const series = known ?? empty();
  const breaker = breakers.value.find((one) => one.route === route.route);
  return (
    <article class="chosen-route" aria-label={`route ${route.route}`}>
      <header>
        <h3>{route.route}</h3>
        <span class="push" />
        <button type="button" onClick={() => search(route.route)}>Its faults</button>
        <button type="button" aria-label="Close" onClick={() => open("route", "")}>×</button>
      </header>
      <div class="charts">
        <Traffic series={series} height={110} />
        <Success series={series} height={110} />
        <Latency series={series} height={110} />
      </div>
      <Facts rows={[
        ["listener", route.listener], ["upstream", route.upstream],
        ["in flight", String(route.in_flight)],
        ["breaker", breaker ? breaker.state.replace("_", " ") : route.breaker],
        ["because", breaker?.cause],
        ["probes again in", breaker && breaker.retry_after_s > 0 ? duration(breaker.retry_after_s) : ""],
      ]} />
    </article>
  );
}
