// What the page knows, and how it keeps up.
//
//   /faults/stream --> failures, events --> ask again for groups, endpoints, breakers
//                  --> traffic, every two seconds --> the charts go on
//
// What is asked for again is asked at most every two seconds, however much happens,
// and every ten if nothing does: states change with time alone, too. A page that
// nobody looks at leaves the stream, of which a browser has six, and asks for groups
// alone: its title tells.
//
// Traffic is told every two seconds, so silence is a connection that is dead; where an
// interval is missing, the charts are asked for anew.

import { computed, signal } from "@preact/signals";
import { Refused, ask, askPage, follow } from "./api.js";
import { byUrgency, isFound, isOver } from "./format.js";
import { openedAs } from "./place.js";
import type {
  Alerts, Application, Breaker, Fault, Group, Happening, History, Info, Point, Route, Series, Tick, Upstream,
} from "./types.js";

const SOON_MS = 2_000;
const SELDOM_MS = 10_000;
const KEPT_POINTS = 150;
const KEPT_EVENTS = 200;
export const GROUPS = 200;
const RETRY_MS = 5_000;
const SILENT_MS = 15_000;
const AWAY_MS = 5_000; // Who only looks at another tab for a moment stays.
const SEARCHED_PAGES = 5; // The store looks through some thousand records a page.

export type Link = "connecting" | "live" | "polling" | "lost";

export const link = signal<Link>("connecting");
export const problem = signal("");
export const wantsToken = signal(false);
export const info = signal<Info | null>(null);
export const groups = signal<Group[]>([]);
export const routes = signal<Route[]>([]);
export const upstreams = signal<Upstream[]>([]);
export const breakers = signal<Breaker[]>([]);
export const application = signal<Application | null>(null);
export const alerts = signal<Alerts | null>(null);
export const events = signal<Happening[]>([]);
export const now = signal(Date.now());
export const intervalS = signal(2);
export const endMs = signal(Date.now());
export const total = signal<Series>(empty());
export const histories = signal<ReadonlyMap<string, Series>>(new Map());
export const isPaused = signal(false);
export const typed = signal("");
export const query = computed(() => typed.value.trim());
export const severities = signal<ReadonlySet<string>>(new Set());
export const found = signal<Fault[]>([]);
export const isSearchedInPart = signal(false); // Older records were not looked through.
export const failedCharts = signal(0); // Answers for charts that did not come.
const answered = signal<ReadonlySet<string>>(new Set());

// Until there is an answer, nothing that is not there is known not to be.
export function hasAnswered(what: keyof typeof askers): boolean {
  return answered.value.has(what);
}

export const shownGroups = computed(() =>
  groups.value
    .filter((group) => !severities.value.size || severities.value.has(group.severity))
    .filter((g) =>
      isFound(
        query.value, g.code, g.title, g.severity, g.state, g.layer, g.route, g.upstream,
        g.endpoint, g.phase, g.cause, g.id, g.fix,
      ),
    )
    .sort(byUrgency),
);

export const active = computed(() => groups.value.filter((group) => !isOver(group)));

// Asks for one thing, not more often than is bearable, and never twice at once.
class Asker {
  private isDue = true;
  private isAsking = false;
  private askedMs = 0;

  constructor(
    private readonly name: string,
    private readonly what: () => Promise<void>,
    private readonly seldomMs: number = SELDOM_MS,
  ) {}

  soon(): void {
    this.isDue = true;
  }

  tickIfDue(nowMs: number): void {
    if (this.isDue) this.tick(nowMs);
  }

  tick(nowMs: number): void {
    const passed = nowMs - this.askedMs;
    const isTime = passed >= (this.isDue ? SOON_MS : this.seldomMs);
    if (isTime && !this.isAsking) void this.go(nowMs);
  }

  private async go(nowMs: number): Promise<void> {
    this.isAsking = true;
    this.isDue = false;
    this.askedMs = nowMs;
    try {
      await this.what();
      if (!answered.value.has(this.name)) answered.value = new Set([...answered.value, this.name]);
      met(null, this);
    } catch (error) {
      met(error, this);
    } finally {
      this.isAsking = false;
    }
  }
}

const askers = {
  info: new Asker("info", async () => {
    info.value = await ask<Info>("/");
  }),
  groups: new Asker("groups", async () => {
    groups.value = await ask<Group[]>(`/fault-groups?limit=${GROUPS}`);
  }),
  routes: new Asker("routes", async () => {
    routes.value = await ask<Route[]>("/traffic");
  }, 2 * SOON_MS),
  upstreams: new Asker("upstreams", async () => {
    upstreams.value = await ask<Upstream[]>("/upstreams");
  }, 2 * SOON_MS),
  breakers: new Asker("breakers", async () => {
    if (openedAs("route")) await seeBreakers(); // Of a thousand they are long, and shown of one.
  }),
  application: new Asker("application", async () => {
    application.value = await ask<Application>("/application");
  }),
  alerts: new Asker("alerts", async () => {
    alerts.value = await ask<Alerts>("/alerts");
  }),
  events: new Asker("events", async () => {
    events.value = await ask<Happening[]>(`/events?limit=${KEPT_EVENTS}`);
  }, 6 * SELDOM_MS),
};

export async function seeBreakers(): Promise<void> {
  breakers.value = await ask<Breaker[]>("/breakers");
}

// Begins, and keeps up from then on.
export function begin(): void {
  void tryAgain();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
}

// Asks for one thing first: ten wrong tokens at once would keep the right one out, too.
export async function tryAgain(): Promise<void> {
  isKnocking = true;
  isKeptOut = false;
  try {
    info.value = await ask<Info>("/");
    wantsToken.value = false;
    met(null);
  } catch (error) {
    met(error);
    isKeptOut = error instanceof Refused && error.status === 429;
  } finally {
    isKnocking = false;
  }
  clearTimeout(again);
  if (isKeptOut) again = setTimeout(() => void tryAgain(), RETRY_MS);
  if (isKeptOut || wantsToken.value) return;
  for (const asker of Object.values(askers)) asker.soon();
  connect();
  tick();
}

let leave = (): void => undefined;
let again: ReturnType<typeof setTimeout> | undefined;
let heardMs = Date.now();
let hiddenMs = 0; // Since when nobody looks.
let isAway = false; // The stream was left.
let isKnocking = false;
let isKeptOut = false; // Others' wrong tokens do that, for a while.
let isCatchingUp = false;

function connect(): void {
  leave();
  clearTimeout(again);
  isAway = document.hidden;
  if (isAway) return;
  heardMs = Date.now();
  leave = follow(
    {
      fault: () => askers.groups.soon(),
      event: (data) => happened(JSON.parse(data) as Happening),
      traffic: (data) => {
        heardMs = Date.now();
        passed(JSON.parse(data) as Tick);
      },
      skipped: () => askers.groups.soon(),
      end: () => askers.info.soon(),
    },
    () => {
      heardMs = Date.now();
      link.value = "live";
      askers.events.soon();
      void catchUp();
    },
    (status) => {
      // A status is an answer, and no stream: it will not try again by itself.
      link.value = status === undefined ? "lost" : "polling";
      if (status === undefined) return;
      if (status === 401) met(new Refused(status, "this needs the token"));
      else again = setTimeout(() => wantsToken.value || connect(), RETRY_MS);
      if (!wantsToken.value) void catchUp();
    },
  );
}

function tick(): void {
  if (isKnocking || isKeptOut || wantsToken.value) return;
  const nowMs = Date.now();
  if (document.hidden) return rest(nowMs);
  hiddenMs = 0;
  if (isAway) connect();
  if (nowMs - heardMs > SILENT_MS) {
    link.value = "lost";
    connect();
  }
  if (isPaused.value) return;
  now.value = nowMs;
  for (const asker of Object.values(askers)) asker.tick(nowMs);
}

function rest(nowMs: number): void {
  hiddenMs ||= nowMs;
  if (!isAway && nowMs - hiddenMs >= AWAY_MS) {
    leave();
    clearTimeout(again);
    isAway = true;
    link.value = "polling";
  }
  if (isPaused.value) return;
  if (isAway) askers.groups.tick(nowMs);
  else askers.groups.tickIfDue(nowMs);
}

// What each who asks has met; it stays until the same has its answer.
const problems = new Map<unknown, string>();

export function met(error: unknown, who: unknown = null): void {
  problems.delete(who);
  problems.delete(null); // Of what was asked once: the next answer to anybody ends it.
  if (error === null && who === null) problems.clear();
  if (error instanceof Refused) {
    // Until there is another token nothing is asked for: wrong ones are counted. Who
    // has the right one may be kept out (429) by others' wrong ones, for a while.
    wantsToken.value ||= error.status === 401;
    problems.set(who, error.message);
  } else if (error !== null) {
    problems.set(who, "the sidecar does not answer"); // The stream tells of the link.
  }
  problem.value = [...problems.values()].at(-1) ?? "";
}

function happened(event: Happening): void {
  if (isPaused.value) askers.events.soon();
  else events.value = [event, ...events.value.filter((one) => one.seq !== event.seq)].slice(0, KEPT_EVENTS);
  askers.upstreams.soon();
  askers.breakers.soon();
  askers.groups.soon();
  if (event.kind === "application") askers.application.soon();
  if (event.kind === "alert") askers.alerts.soon();
  if (["reload", "drain", "application"].includes(event.kind)) askers.info.soon();
}

// Asks for the last minutes of some routes, whose charts are shown from now on.
export async function chart(names: string[]): Promise<void> {
  const unknown = names.filter((name) => !histories.value.has(name));
  if (!unknown.length) return;
  const wanted = new URLSearchParams(unknown.map((name) => ["route", name]));
  try {
    const history = await ask<History>(`/traffic/history?${wanted}`);
    const known = new Map(histories.value);
    // While paused, what is drawn ends before what is told.
    const later = Math.round((Date.parse(history.end) - endMs.value) / (1000 * intervalS.value));
    const shift = isPaused.value ? Math.max(0, later) : 0;
    for (const { route, ...series } of history.routes) known.set(route, shorter(series, shift));
    while (known.size > 200) known.delete(known.keys().next().value as string);
    histories.value = known;
  } catch (error) {
    met(error);
    setTimeout(() => failedCharts.value++, RETRY_MS); // Who shows them asks again.
    return;
  }
  // One that there is nothing of begins now; asked for again after the next break.
  const rest = unknown.filter((name) => !histories.value.has(name));
  if (rest.length) histories.value = new Map([...histories.value, ...rest.map((name) => [name, empty()] as const)]);
}

// Asks for the last minutes anew: those who show routes then ask for theirs.
async function catchUp(): Promise<void> {
  if (isCatchingUp || isPaused.value) return; // After a pause the next tick does it.
  isCatchingUp = true;
  try {
    const history = await ask<History>("/traffic/history");
    total.value = history.total;
    intervalS.value = history.interval_s;
    endMs.value = Date.parse(history.end);
    histories.value = new Map();
  } catch (error) {
    met(error);
  } finally {
    isCatchingUp = false;
  }
}

function passed(tick: Tick): void {
  if (isPaused.value || isCatchingUp) return;
  const steps = Math.round((Date.parse(tick.time) - endMs.value) / (1000 * intervalS.value));
  if (steps === 0) return; // The history had it.
  if (steps !== 1) return void catchUp(); // It was paused, or the loop stood still.
  total.value = longer(total.value, tick.total);
  endMs.value = Date.parse(tick.time);
  const points = new Map(tick.routes.map((point) => [point.route, point]));
  const known = new Map(histories.value);
  for (const [name, series] of known) known.set(name, longer(series, points.get(name)));
  histories.value = known;
}

function longer(series: Series, point: Point | undefined): Series {
  const add = <T>(values: T[], value: T): T[] => [...values, value].slice(-KEPT_POINTS);
  return {
    requests: add(series.requests, point?.requests ?? 0),
    failures: add(series.failures, point?.failures ?? 0),
    p50_s: add(series.p50_s, point?.p50_s ?? null),
    p95_s: add(series.p95_s, point?.p95_s ?? null),
    p99_s: add(series.p99_s, point?.p99_s ?? null),
  };
}

function shorter(series: Series, by: number): Series {
  const cut = <T>(values: T[]): T[] => values.slice(0, Math.max(0, values.length - by));
  return {
    requests: cut(series.requests),
    failures: cut(series.failures),
    p50_s: cut(series.p50_s),
    p95_s: cut(series.p95_s),
    p99_s: cut(series.p99_s),
  };
}

export function empty(): Series {
  return { requests: [], failures: [], p50_s: [], p95_s: [], p99_s: [] };
}

// Single failures that a search finds: by id, by trace, by any of their words.
let searching: ReturnType<typeof setTimeout> | undefined;

export function search(text: string): void {
  const before = query.value;
  typed.value = text;
  if (query.value === before) return;
  clearTimeout(searching);
  found.value = [];
  isSearchedInPart.value = false;
  if (query.value.length >= 3) searching = setTimeout(() => void find(query.value), 300);
}

async function find(asked: string): Promise<void> {
  const wanted = new URLSearchParams({ text: asked, limit: "20" });
  let next: string | null = `/faults?${wanted}`;
  try {
    for (let page = 0; next && page < SEARCHED_PAGES && !found.value.length; page++) {
      const told: { items: Fault[]; next: string | null } = await askPage<Fault>(next);
      if (asked !== query.value) return;
      found.value = told.items;
      next = told.next;
    }
    isSearchedInPart.value = !found.value.length && next !== null;
  } catch (error) {
    met(error);
  }
}
