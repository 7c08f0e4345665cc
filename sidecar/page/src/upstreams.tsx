// The upstreams: each endpoint with how it stands, and why.

import { Nothing, Section, State } from "./bits.js";
import { duration, isFound, plain, times } from "./format.js";
import { hasAnswered, query, upstreams } from "./store.js";
import type { Endpoint, Upstream } from "./types.js";

const SHOWN = 100; // Of each: those that are not well come first.

export function Upstreams() {
  const shown = upstreams.value
    .filter((u) => isFound(query.value, u.name, ...u.endpoints.map((e) => `${e.address} ${e.state}`)))
    .toSorted((a, b) => illness(b) - illness(a));
  const out = shown.reduce((sum, upstream) => sum + illness(upstream), 0);
  const all = shown.reduce((sum, upstream) => sum + upstream.endpoints.length, 0);
  return (
    <Section id="upstreams" title="Upstreams" note={out ? `not well: ${out} of ${all}` : ""}>
      {!shown.length && (
        <Nothing>{hasAnswered("upstreams") ? "No upstream matches." : "Waiting for the sidecar…"}</Nothing>
      )}
      {shown.slice(0, SHOWN).map((upstream) => <One key={upstream.name} upstream={upstream} />)}
      {shown.length > SHOWN && <Nothing>and {shown.length - SHOWN} more: search for them</Nothing>}
    </Section>
  );
}

function illness(upstream: Upstream): number {
  return upstream.endpoints.filter((endpoint) => endpoint.state !== "healthy").length;
}

function One({ upstream }: { upstream: Upstream }) {
  const endpoints = upstream.endpoints.toSorted(
    (a, b) => Number(a.state === "healthy") - Number(b.state === "healthy"),
  );
  return (
    <div class="upstream">
      <h3>
        {upstream.name}
        <small>
          {upstream.in_flight} in flight · {upstream.pending} waiting · {upstream.retry_budget_left} retries left
        </small>
      </h3>
      {upstream.discovery?.failure && <p class="failing">{stale(upstream.discovery)}</p>}
      {!endpoints.length && <Nothing>No endpoint.</Nothing>}
      <ul>
        {endpoints.slice(0, SHOWN).map((endpoint) => <Line key={endpoint.address} endpoint={endpoint} />)}
      </ul>
      {endpoints.length > SHOWN && <Nothing>and {endpoints.length - SHOWN} more</Nothing>}
    </div>
  );
}

function stale({ source, failure, age_s }: NonNullable<Upstream["discovery"]>): string {
  const age = age_s === null ? "no answer ever came" : `the last answer is ${duration(age_s)} old`;
  return `${source} does not tell its endpoints: ${failure}; ${age}`;
}

function Line({ endpoint }: { endpoint: Endpoint }) {
  const left = endpoint.left_s > 0 ? ` for ${duration(endpoint.left_s)} more` : "";
  const why = endpoint.cause ? `${plain(endpoint.cause)}${left}` : "";
  return (
    <li>
      <State of={endpoint.state} />
      <code>{endpoint.address}</code>
      <span class="why">
        {why}
        {endpoint.times_ejected > 0 && ` · ejected ${times(endpoint.times_ejected)}`}
      </span>
      <small>{endpoint.busy} busy, {endpoint.idle} idle</small>
    </li>
  );
}
