// Small things that several parts show.

import type { ComponentChildren } from "preact";
import { signal } from "@preact/signals";
import { ago, clock, plain } from "./format.js";
import { now } from "./store.js";

export const said = signal(""); // Shown for a moment, and read aloud.
let hush: ReturnType<typeof setTimeout> | undefined;

export function say(text: string): void {
  said.value = text;
  clearTimeout(hush);
  hush = setTimeout(() => (said.value = ""), 2500);
}

export async function copy(text: string, what: string): Promise<void> {
  let isCopied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    isCopied = copyByHand(text); // No permission, or plain http from another host.
  }
  say(isCopied ? `${what} copied` : `${what} not copied: the browser does not allow it`);
}

// The old way; whoever works by keys stays where they were.
function copyByHand(text: string): boolean {
  const before = document.activeElement as HTMLElement | null;
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  before?.focus({ preventScroll: true });
  return isCopied;
}

// By itself, for what it stands in not to be made anew each second.
export function Ago({ of }: { of: string }) {
  return <>{ago(of, now.value)}</>;
}

export function Time({ of }: { of: string }) {
  return <time dateTime={of} title={of}>{clock(of, now.value)}</time>;
}

export function Pill({ kind, children }: { kind: string; children: ComponentChildren }) {
  return <span class={`pill ${kind}`}>{children}</span>;
}

export function Severity({ of }: { of: string }) {
  return <span class={`severity ${of}`}>{of}</span>;
}

export function State({ of }: { of: string }) {
  return <span class={`state ${of}`}>{plain(of)}</span>;
}

export function Facts({ rows }: { rows: [string, ComponentChildren][] }) {
  const told = rows.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return (
    <dl class="facts">
      {told.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Code({ text, what }: { text: string; what: string }) {
  return (
    <div class="code">
      <pre>{text}</pre>
      <button type="button" onClick={() => void copy(text, what)}>Copy</button>
    </div>
  );
}

export function Section(props: {
  id: string; title: string; note?: string; children: ComponentChildren; more?: ComponentChildren;
}) {
  return (
    <section id={props.id} tabIndex={-1} aria-labelledby={`${props.id}-title`}>
      <header>
        <h2 id={`${props.id}-title`}>{props.title}</h2>
        {props.note && <span class="note">{props.note}</span>}
        {props.more}
      </header>
      {props.children}
    </section>
  );
}

export function Nothing({ children }: { children: ComponentChildren }) {
  return <p class="nothing">{children}</p>;
}
