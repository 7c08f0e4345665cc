// The admin API: one place that asks it, and one that follows it.
//
// Reached over the network it wants a token. The browser cannot be made to send one by
// itself, so it is kept for this tab, and sent with each request.

import { signal } from "@preact/signals";
import { EventSource } from "eventsource";
import { recall, remember } from "./memory.js";

const TOKEN = "sidecar-token";
const ANSWER_MS = 10_000;

export const token = signal(recall("sessionStorage", TOKEN));

export function useToken(text: string): void {
  token.value = text;
  remember("sessionStorage", TOKEN, text);
}

export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export async function ask<T>(path: string): Promise<T> {
  return (await (await asked(path)).json()) as T;
}

// Asks for a page of a list; `next` is where the following one is, if there is one.
export async function askPage<T>(path: string): Promise<{ items: T[]; next: string | null }> {
  const answer = await asked(path);
  const next = /<([^>]*)>;\s*rel="?next"?/.exec(answer.headers.get("Link") ?? "");
  return { items: (await answer.json()) as T[], next: next?.[1] ?? null };
}

async function asked(path: string): Promise<Response> {
  const answer = await fetch(path, {
    headers: { Accept: "application/json", ...login() },
    cache: "no-store",
    signal: AbortSignal.timeout(ANSWER_MS), // Else one that hangs is waited for, and nothing asked again.
  });
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return answer;
}

export type Handlers = Record<string, (data: string) => void>;

// Follows /faults/stream until it is told to end; goes on after a break by itself.
export function follow(
  handlers: Handlers,
  onOpen: () => void,
  onBreak: (status: number | undefined) => void,
): () => void {
  const source = new EventSource("/faults/stream?traffic=true", {
    fetch: (url, init) =>
      fetch(url, { ...init, headers: { ...init.headers, ...login() } }),
  });
  source.addEventListener("open", onOpen);
  source.addEventListener("error", (event) => onBreak(event.code));
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, (event) => handle(event.data as string));
  }
  return () => source.close();
}

function login(): Record<string, string> {
  return token.value ? { Authorization: `Bearer ${token.value}` } : {};
}

async function reason(answer: Response): Promise<string> {
  try {
    const told = (await answer.json()) as { error?: string };
    return told.error ?? `${answer.status}`;
  } catch {
    return `the sidecar answered ${answer.status}`;
  }
}
