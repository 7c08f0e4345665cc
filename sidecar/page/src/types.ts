// What the admin API returns: the names are those of /openapi.json.

export type Severity = "P0" | "P1" | "P2" | "P3";
export type GroupState = "new" | "ongoing" | "recovered" | "regressed";

export interface Info {
  service: string;
  host: string;
  version: string;
  config_version: string;
  ready: boolean;
  not_ready_reason: string;
  trace_url: string | null;
  fault_store: { state: string; problem?: string };
}

export interface Attempt {
  n: number;
  endpoint: string;
  code: string;
  status: number;
  phase: string;
  processed: string;
  at_ms: number;
  ms: number;
  reused: boolean;
  connection_age_ms?: number;
  connection_served?: number;
}

export interface Happening {
  seq: number;
  time: string;
  kind: string;
  subject: string;
  upstream: string;
  detail: string;
  from?: string;
  to?: string;
}

export interface Fault {
  fault_id: string;
  time: string;
  code: string;
  title: string;
  severity: Severity;
  fix: string;
  detail: string;
  origin: string;
  phase: string;
  processed: string;
  listener: string;
  route: string;
  upstream: string;
  endpoint: string;
  group: string;
  method: string;
  path_template: string;
  status: number;
  duration_ms: number;
  attempts: Attempt[];
  retry_skipped_reason: string;
  timeout_kind: string;
  trace_id: string;
  span_id: string;
  request_id: string;
  repeat?: string;
  stack?: string[];
  events?: Happening[];
  [more: string]: unknown;
}

export interface Group {
  id: string;
  code: string;
  title: string;
  fix: string;
  severity: Severity;
  layer: string;
  route: string;
  upstream: string;
  endpoint: string;
  phase: string;
  cause: string;
  state: GroupState;
  first_seen: string;
  last_seen: string;
  count: number;
  last_minute: number;
  rate_per_s: number;
  trend: "rising" | "steady" | "falling";
  share_of_traffic: number;
  recovery_s: number | null;
  regressions: number;
  examples: string[];
  records?: Fault[];
}

export interface Route {
  route: string;
  listener: string;
  upstream: string;
  in_flight: number;
  breaker: string;
  requests_per_s: number;
  success_ratio: number | null;
  p50_s: number | null;
  p95_s: number | null;
  p99_s: number | null;
}

export interface Endpoint {
  address: string;
  idle: number;
  busy: number;
  state: string;
  cause: string;
  left_s: number;
  failures_in_a_row: number;
  times_ejected: number;
}

export interface Upstream {
  name: string;
  in_flight: number;
  max_requests: number;
  pending: number;
  retry_budget_left: number;
  endpoints: Endpoint[];
  discovery: { source: string; age_s: number | null; failure: string } | null;
}

export interface Breaker {
  route: string;
  upstream: string;
  state: string;
  cause: string;
  retry_after_s: number;
}

export interface Application {
  state: string; // "off" where nothing is checked.
  check: string;
  since_s: number;
  failures_in_a_row: number;
  wants_restart: boolean;
  memory_bytes: number | null;
  checks: { time: string; result: string; reason: string; ms: number }[];
  hooks: { time: string; result: string; detail: string }[];
}

export interface Alerts {
  firing: {
    group: string;
    code: string;
    severity: Severity;
    route: string;
    told: string[];
    silenced: boolean;
  }[];
  receivers: { name: string; waiting: number; last_success: string | null; problem: string }[];
}

export type Numbers = (number | null)[];

export interface Series {
  requests: number[];
  failures: number[];
  p50_s: Numbers;
  p95_s: Numbers;
  p99_s: Numbers;
}

export interface History {
  interval_s: number;
  end: string;
  total: Series;
  routes: ({ route: string } & Series)[];
}

export interface Point {
  requests: number;
  failures: number;
  p50_s: number | null;
  p95_s: number | null;
  p99_s: number | null;
}

export interface Tick {
  time: string;
  interval_s: number;
  total: Point;
  routes: ({ route: string; in_flight: number; breaker: string } & Point)[];
}
