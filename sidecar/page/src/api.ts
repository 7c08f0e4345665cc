// The admin API: one place that asks it, and one that follows it.
//
// Reached over the network it wants a token. The browser cannot be made to send one by
// itself, so it is kept for this tab, and sent with each request.

import { signal } from "@preact/signals";
import { EventSource } from "eventsource";

const TOKEN = "sidecar-token";
const ANSWER_MS = 10_000;

export const token = signal(sessionStorage.getItem(TOKEN) ?? "");

export function useToken(text: string): void {
  token.value = text;
  sessionStorage.setItem(TOKEN, text);
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
  const answer = await fetch(path, {
    headers: { Accept: "application/json", ...login() },
    cache: "no-store",
    signal: AbortSignal.timeout(ANSWER_MS), // Else one that hangs is waited for, and nothing asked again.
  });
  if (!answer.ok) throw new Refused(answer.status, await reason(answer));
  return (await answer.json()) as T;
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
