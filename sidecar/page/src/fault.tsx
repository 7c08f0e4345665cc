// One failure, whole: its attempts in time, what to do, how things stood.

import { useEffect, useState } from "preact/hooks";
import { ask, token } from "./api.js";
import { Code, Facts, Nothing, Severity, Time, copy } from "./bits.js";
import { bytes, duration, plain, traceLink } from "./format.js";
import { info, wantsToken } from "./store.js";
import type { Attempt, Fault, Happening } from "./types.js";

export function FaultById({ id }: { id: string }) {
  const [fault, setFault] = useState<Fault | null>(null);
  const [missing, setMissing] = useState("");
  const [tries, setTries] = useState(0);
  useEffect(() => {
    if (wantsToken.value) return;
    let isWanted = true;
    setMissing("");
    ask<Fault>(`/faults/${encodeURIComponent(id)}`).then(
      (record) => isWanted && (setFault(record), setMissing("")),
      (error: Error) => isWanted && setMissing(error.message),
    );
    return () => {
      isWanted = false;
    };
  }, [id, token.value, wantsToken.value, tries]);
  if (missing) {
    return (
      <Nothing>
        {missing} <button type="button" onClick={() => setTries(tries + 1)}>Try again</button>
      </Nothing>
    );
  }
  // The former one is not the one that was chosen.
  return fault?.fault_id === id ? <FaultDetail fault={fault} /> : <Nothing>Reading…</Nothing>;
}

function FaultDetail({ fault }: { fault: Fault }) {
  const link = traceLink(info.value?.trace_url ?? null, fault.trace_id);
  return (
    <article class="fault" aria-label={`failure ${fault.fault_id}`}>
      <header>
        <strong>{[fault.method, fault.path_template].filter(Boolean).join(" ") || fault.title}</strong>
        <Severity of={fault.severity} />
        {fault.status > 0 && <span>answered {fault.status}</span>}
        <span>after {duration(fault.duration_ms / 1000)}</span>
        <Time of={fault.time} />
        <span class="push" />
        {link && <a href={link} target="_blank" rel="noreferrer noopener">Open trace</a>}
        <button type="button" class="copy-record"
          onClick={() => void copy(JSON.stringify(fault, null, 2), "Record")}>
          Copy record
        </button>
      </header>
      <p class="detail">{fault.detail}</p>
      <Timeline fault={fault} />
      {fault.repeat && (
        <>
          <h4>Repeat it</h4>
          <Code text={fault.repeat} what="Command" />
        </>
      )}
      {fault.stack && (
        <>
          <h4>Stack</h4>
          <Code text={fault.stack.join("\n")} what="Stack" />
        </>
      )}
      <h4>The failure</h4>
      <Facts rows={facts(fault)} />
      <h4>How things stood</h4>
      <Facts rows={standing(fault)} />
      <Before events={fault.events ?? []} />
      {isRecord(fault.build) && (
        <details>
          <summary>Versions</summary>
          <Facts rows={flat(fault.build)} />
        </details>
      )}
    </article>
  );
}

function Timeline({ fault }: { fault: Fault }) {
  if (!fault.attempts.length) return null;
  const whole = Math.max(fault.duration_ms, ...fault.attempts.map((a) => a.at_ms + a.ms), 0.001);
  return (
    <>
      <h4>
        Attempts <small>{duration(whole / 1000)} in all</small>
      </h4>
      <ol class="timeline">
        {fault.attempts.map((attempt) => (
          <li key={attempt.n}>
            <span class="who">{attempt.n}. {attempt.endpoint || "no endpoint"}</span>
            <span class="track">
              <span class={`bar ${attempt.code || attempt.status >= 500 ? "bad" : "good"}`} style={{
                left: `${(100 * attempt.at_ms) / whole}%`,
                width: `max(3px, ${(100 * attempt.ms) / whole}%)`,
              }} />
            </span>
            <span class="what">{outcome(attempt)}</span>
          </li>
        ))}
      </ol>
      {fault.retry_skipped_reason && (
        <p class="note">No further attempt: {why(fault.retry_skipped_reason)}.</p>
      )}
    </>
  );
}

function outcome(attempt: Attempt): string {
  const met = attempt.code || (attempt.status ? `answered ${attempt.status}` : "no answer");
  const age = attempt.connection_age_ms;
  const connection = attempt.reused
    ? `reused connection${age === undefined ? "" : `, ${duration(age / 1000)} old`}`
    : "new connection";
  return `${met} · ${duration(attempt.ms / 1000)} · in ${attempt.phase} · ${connection}`;
}

const WHY: Record<string, string> = {
  not_retriable: "the route does not try this again",
  off: "the route has no retries",
  method: "this method is not safe to repeat, and the upstream may have acted on it",
  exhausted: "max_retries were made",
  body_too_large: "the request's body is longer than retry.body_buffer",
  deadline: "no time was left",
  response_started: "the response had begun already",
  client_gone: "the client had left",
  upgrade: "the connection had changed its protocol",
  upper_hop: "the hop before this one tries again",
  lower_hop: "the hop behind this one had tried again already",
  retry_after_too_long: "the upstream asked to wait for longer than retry.max_retry_after",
  budget: "the retry budget of the upstream is used up",
  circuit_open: "the breaker is open",
  no_endpoint: "no other endpoint is left",
  overload: "the sidecar is overloaded: what is left is for first tries",
};

function why(reason: string): string {
  return WHY[reason] ?? plain(reason);
}

function facts(fault: Fault): [string, preact.ComponentChildren][] {
  return [
    ["time", fault.time], ["code", fault.code], ["fault id", fault.fault_id], ["group", fault.group],
    ["origin", fault.origin], ["phase", fault.phase],
    ["processed by the upstream", fault.processed], ["limit of time", plain(fault.timeout_kind)],
    ["listener", fault.listener], ["route", fault.route], ["upstream", fault.upstream],
    ["endpoint", fault.endpoint], ["request id", fault.request_id],
    ["trace", fault.trace_id], ["span", fault.span_id],
  ];
}

const SHOWN = new Set([
  "event", "fault_id", "time", "code", "title", "severity", "layer", "trigger", "fix", "detail",
  "origin", "phase", "processed", "listener", "route", "upstream", "endpoint", "group", "method",
  "path_template", "status", "duration_ms", "attempts", "retry_skipped_reason", "timeout_kind",
  "trace_id", "span_id", "request_id", "repeat", "stack", "events", "build",
]);

function standing(fault: Fault): [string, preact.ComponentChildren][] {
  const rest = Object.entries(fault).filter(([name]) => !SHOWN.has(name));
  return flat(Object.fromEntries(rest));
}

function flat(values: Record<string, unknown>, above = ""): [string, string][] {
  return Object.entries(values).flatMap(([name, value]): [string, string][] => {
    const full = above && above !== "process" ? `${above} ${plain(name)}` : plain(name);
    return isRecord(value) ? flat(value, full) : [told(full, value)];
  });
}

function told(name: string, value: unknown): [string, string] {
  if (value === null) return [name.replace(/ bytes$/, ""), "none"];
  if (typeof value === "number" && name.endsWith(" bytes")) {
    return [name.replace(/ bytes$/, ""), bytes(value)];
  }
  if (typeof value === "number" && name.endsWith(" ms")) {
    return [name.replace(/ ms$/, ""), duration(value / 1000)];
  }
  return [name, String(value)];
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function Before({ events }: { events: Happening[] }) {
  if (!events.length) return null;
  return (
    <>
      <h4>What its upstream met before</h4>
      <ul class="events">
        {events.toReversed().map((event) => <Event key={event.seq} event={event} />)}
      </ul>
    </>
  );
}

export function Event({ event }: { event: Happening }) {
  const move = event.from && event.to ? `${plain(event.from)} → ${plain(event.to)}` : "";
  return (
    <li>
      <Time of={event.time} />
      <span class="kind">{plain(event.kind)}</span>
      <span class="subject">{event.subject}</span>
      {move && <span class={`move ${event.to}`}>{move}</span>}
      <span class="why">{event.detail}</span>
    </li>
  );
}
