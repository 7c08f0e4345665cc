// The page: what fails now, since when, why, and what to do; and how the traffic is.

import { render } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { token, useToken } from "./api.js";
import { Nothing, Pill, Section, said, say } from "./bits.js";
import { Latency, Success, Traffic } from "./charts.js";
import { Event, FaultById } from "./fault.js";
import { isFound } from "./format.js";
import { Groups } from "./groups.js";
import { open, openedAs } from "./place.js";
import { Routes } from "./routes.js";
import {
  active, begin, events, hasAnswered, info, isPaused, link, problem, query, search, severities, total,
  tryAgain, typed, wantsToken,
} from "./store.js";
import "./style.css";
import { choice, nextTheme } from "./theme.js";
import { Upstreams } from "./upstreams.js";
import { Alerts, Application } from "./watch.js";

const LINKS = {
  connecting: "connecting", live: "live", polling: "polling", lost: "no connection",
};

function Page() {
  const [isHelping, setHelping] = useState(false);
  useKeys(() => setHelping((was) => !was));
  useTitle();
  return (
    <>
      <a class="skip" href="#faults" onClick={(event) => {
        event.preventDefault(); // The address says what is open.
        document.getElementById("faults")?.focus();
      }}>
        To the faults
      </a>
      <Top onHelp={() => setHelping(true)} />
      <main>
        {(problem.value || wantsToken.value) && <Problem />}
        <div class="now" role="group" aria-label="All routes, the last five minutes">
          <figure><figcaption>Requests and failures per second</figcaption><Traffic series={total.value} /></figure>
          <figure><figcaption>Success</figcaption><Success series={total.value} /></figure>
          <figure><figcaption>Latency</figcaption><Latency series={total.value} /></figure>
        </div>
        <Single />
        <div class="columns">
          <div><Groups /><Events /></div>
          <div><Application /><Alerts /><Routes /><Upstreams /></div>
        </div>
      </main>
      {isHelping && <Help onClose={() => setHelping(false)} />}
      <div class="said" role="status" aria-live="polite">{said.value}</div>
    </>
  );
}

function Top({ onHelp }: { onHelp: () => void }) {
  const about = info.value;
  const isLost = wantsToken.value || link.value === "lost"; // What is shown is of before.
  return (
    <header class="top">
      <h1>{about?.service ?? "sidecar"}</h1>
      {about && (
        <Pill kind={isLost ? "warn" : about.ready ? "good" : "bad"}>
          {isLost && "was "}{about.ready ? "ready" : `not ready: ${about.not_ready_reason}`}
        </Pill>
      )}
      <Pill kind={!isPaused.value && !isLost && link.value === "live" ? "good" : "warn"}>
        <span class="dot" />{[isPaused.value && "paused", state()].filter(Boolean).join(", ")}
      </Pill>
      {about?.fault_store.problem && (
        <Pill kind="bad">faults are not kept on disk: {about.fault_store.problem}</Pill>
      )}
      <input type="search" id="search" placeholder="Search: code, route, endpoint, fault or trace id"
        aria-label="Search" autocomplete="off" spellcheck={false} value={typed.value}
        onInput={(event) => search(event.currentTarget.value)} />
      <span class="about">
        {about && `${about.host} · configuration ${about.config_version} · ${about.version}`}
      </span>
      <button type="button" onClick={() => (isPaused.value = !isPaused.value)} aria-pressed={isPaused.value}>
        {isPaused.value ? "Go on" : "Pause"}
      </button>
      <button type="button" onClick={nextTheme} title="Light, dark, or as the system has it">
        Theme: {choice.value}
      </button>
      <button type="button" onClick={onHelp} aria-label="Help">?</button>
    </header>
  );
}

// How the sidecar is heard; of a page that is paused only that it is not.
function state(): string {
  if (wantsToken.value) return "needs the token";
  return isPaused.value && link.value !== "lost" ? "" : LINKS[link.value];
}

function Problem() {
  const field = useRef<HTMLInputElement>(null);
  return (
    <div class="problem" role="alert">
      <p>{problem.value || "this needs the token"}</p>
      {wantsToken.value && (
        <form onSubmit={(event) => {
          event.preventDefault();
          useToken(field.current?.value.trim() ?? "");
          void tryAgain();
        }}>
          <input ref={field} type="password" aria-label="Token of the admin API" placeholder="token"
            autocomplete="off" defaultValue={token.value} />
          <button type="submit">Use it</button>
        </form>
      )}
    </div>
  );
}

// A link led to one failure, which no group here shows.
function Single() {
  const id = openedAs("fault");
  if (!id || openedAs("group") || query.value) return null;
  return (
    <Section id="single" title="Failure" more={
      <button type="button" class="push" onClick={() => open("fault", "")}>Close</button>
    }>
      <FaultById id={id} />
    </Section>
  );
}

function Events() {
  const shown = events.value
    .filter((e) => isFound(query.value, e.kind, e.subject, e.upstream, e.detail, e.to ?? ""))
    .slice(0, 50);
  return (
    <Section id="events" title="Events">
      {!shown.length && <Nothing>{noEvent()}</Nothing>}
      <ul class="events">{shown.map((event) => <Event key={event.seq} event={event} />)}</ul>
    </Section>
  );
}

function noEvent(): string {
  if (!hasAnswered("events")) return "Waiting for the sidecar…";
  if (events.value.length) return "No event matches.";
  return "No breaker moved, no endpoint was ejected, nothing was reloaded.";
}

const KEYS: [string, string][] = [
  ["/", "search"], ["j and k", "next and previous fault group"], ["Enter", "open or close it"],
  ["c", "copy the record that is open"], ["p", "pause, go on"], ["t", "light, dark, as the system"],
  ["Esc", "close what is open, empty the search"], ["?", "this list"],
];

function Help({ onClose }: { onClose: () => void }) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => box.current?.showModal(), []);
  return (
    <dialog ref={box} onClose={onClose} aria-label="Keys">
      <h2>Keys</h2>
      <dl>
        {KEYS.map(([key, does]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{does}</dd></div>)}
      </dl>
      <p>
        All that is shown comes from <a href="/openapi.json">the admin API</a>.
        This page is made with the work of others: <a href="/page/licences.txt">their licences</a>.
      </p>
      <form method="dialog"><button autoFocus>Close</button></form>
    </dialog>
  );
}

function useKeys(help: () => void): void {
  useLayoutEffect(() => { // At once: keys are there with what they are for.
    const pressed = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isTyping = target.matches("input, select, textarea");
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) closeAll(target);
      if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      const does: Record<string, () => void> = {
        "/": () => document.getElementById("search")?.focus(),
        j: () => step(1),
        k: () => step(-1),
        c: () => copyOpened(),
        p: () => (isPaused.value = !isPaused.value),
        t: nextTheme,
        "?": help,
      };
      const act = does[event.key];
      if (act) {
        event.preventDefault();
        act();
      }
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
}

function closeAll(target: HTMLElement): void {
  if (query.value) search("");
  else if (openedAs("group")) open("group", "");
  else if (openedAs("fault")) open("fault", "");
  else open("route", "");
  if (target.id === "search") target.blur();
  severities.value = new Set();
}

function step(by: number): void {
  const rows = [...document.querySelectorAll<HTMLElement>("[data-group]")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}

function copyOpened(): void {
  const button = document.querySelector<HTMLElement>(".copy-record");
  if (button) button.click();
  else say("Open a failure first");
}

// A tab in the background tells, too.
function useTitle(): void {
  const urgent = active.value.filter((g) => g.severity === "P0" || g.severity === "P1").length;
  const sign = problem.value || wantsToken.value || link.value === "lost" ? "(?) " : urgent ? `(${urgent}) ` : "";
  useEffect(() => {
    document.title = `${sign}${info.value?.service ?? "sidecar"} · sidecar`;
  }, [sign, info.value?.service]);
}

begin();
render(<Page />, document.getElementById("app") as HTMLElement);
