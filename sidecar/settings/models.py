"""The YAML as models: every key, its type, its default.

A `None` default of a route means: as in `defaults`, or as the field says. What
one model cannot see (names that do not meet, limits that do not nest) is in
`checks.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, ConfigDict, Field, IPvAnyNetwork

from sidecar.policy.retry import Condition
from sidecar.settings.alerting import AlertSettings
from sidecar.settings.application import ApplicationSettings
from sidecar.settings.base import (
    AppCode,
    FieldName,
    FieldValues,
    FilePath,
    HostName,
    HostPattern,
    Method,
    Name,
    Settings,
    SocketPath,
    TargetPath,
    TraceUrl,
)
from sidecar.settings.discovery import DiscoverySettings, UpstreamDiscoverySettings
from sidecar.settings.filters import FilterSettings
from sidecar.settings.snapshot import Address
from sidecar.settings.units import (
    Destination,
    Duration,
    Endpoint,
    HostPort,
    Port,
    Positive,
    PositiveDuration,
    PositiveRatio,
    PositiveSize,
    Ratio,
    Size,
    SizeLimit,
    TimeLimit,
)

Status = Annotated[int, Field(ge=400, le=599)]


class ListenSettings(Settings):
    """An address to listen on."""

    listen: HostPort


# Where the server speaks first, or nobody speaks HTTP.
OPAQUE_PORTS = (25, 587, 3306, 4444, 5432, 6379, 9300, 11211)


class TrafficSettings(ListenSettings):
    """A listener for traffic, also for connections that were redirected to it."""

    transparent: bool = True
    unmatched: Literal["pass", "refuse"] = "refuse"
    opaque_ports: tuple[Port, ...] = OPAQUE_PORTS
    proxy_protocol: bool = False


class InboundSettings(TrafficSettings):
    """The listener for what others send to the application."""

    listen: HostPort = Address("0.0.0.0", 15006)  # noqa: S104 - it faces the network


class OutboundSettings(TrafficSettings):
    """The listener for what the application sends to others."""

    unmatched: Literal["pass", "refuse"] = "pass"


class AdminSettings(ListenSettings):
    """The admin API; keep it on loopback.

    What changes something needs the token, or the Unix socket. The token may also
    come in the variable SIDECAR_ADMIN_TOKEN; a file is read anew when it changes.
    """

    listen: HostPort = Address("127.0.0.1", 15000)
    token_file: FilePath | None = None
    socket: SocketPath | None = None
    trace_url: TraceUrl | None = None


class HealthSettings(ListenSettings):
    """Probes and metrics."""

    listen: HostPort = Address("0.0.0.0", 15020)  # noqa: S104 - kubelet asks it
    await_application: bool = False
    application: ApplicationSettings | None = None


class LimitSettings(Settings):
    """Bounds on what a client may send or hold."""

    request_line: PositiveSize = 8 * 1024
    headers: PositiveSize = 64 * 1024
    header_count: Positive = 100
    connections: Positive = 10_000
    connections_per_client: Positive | None = None
    requests_per_connection: Positive | None = None
    first_byte: PositiveDuration | None = None
    request_headers: PositiveDuration = 10.0
    keep_alive: PositiveDuration = 75.0
    linger: PositiveDuration = 5.0
    half_close: Literal["probe", "serve", "abort"] = "probe"
    buffer: PositiveSize = 64 * 1024


class TimeoutSettings(Settings):
    """Limits of time of a route; each may be left to `defaults`."""

    request: TimeLimit | None = None
    per_try: TimeLimit | None = Field(
        default=None, validation_alias=AliasChoices("per_try", "backendRequest")
    )
    per_try_idle: TimeLimit | None = None
    connect: PositiveDuration | None = None
    dns: PositiveDuration | None = None
    stream_idle: PositiveDuration | None = None
    tunnel_idle: PositiveDuration | None = None
    request_body_idle: PositiveDuration | None = None
    downstream_write: PositiveDuration | None = None


class BackoffSettings(Settings):
    """Full jitter between 0 and a step that doubles."""

    base: Duration = 0.025
    max: Duration = 0.25


class RetrySettings(Settings):
    """When a request is sent again."""

    preset: Literal["safe", "idempotent", "off", "custom"] = "safe"
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    backoff: BackoffSettings = BackoffSettings()
    on: tuple[Condition, ...] = ()
    codes: tuple[Status, ...] = ()
    fault_codes: tuple[AppCode, ...] = ()
    methods: tuple[Method, ...] | None = None
    body_buffer: Size = 64 * 1024
    respect_retry_after: bool = True
    max_retry_after: Duration = 1.0
    idempotency_key: bool = False


class BreakerSettings(Settings):
    """When a route stops sending to its upstream, and for how long."""

    failure_ratio: PositiveRatio = 0.5
    min_requests: Positive = 20
    window: PositiveDuration = 10.0
    consecutive_failures: Annotated[int, Field(ge=0)] = 5
    slow_call: TimeLimit | None = None
    slow_ratio: PositiveRatio = 0.8
    open: PositiveDuration = 5.0
    open_max: PositiveDuration = 60.0
    jitter: Ratio = 0.2
    probes: Positive = 3
    probes_to_close: Positive = 3
    ramp: Duration = 0.0


class BudgetSettings(Settings):
    """How many retries an upstream bears."""

    ratio: Ratio = 0.2
    window: PositiveDuration = 10.0
    min_per_sec: Annotated[float, Field(ge=0)] = 1.0
    min_concurrent: Annotated[int, Field(ge=0)] = 3


class PoolSettings(Settings):
    """Connections to an upstream."""

    max_connections: Positive = 1024
    max_pending: Annotated[int, Field(ge=0)] = 1024
    max_requests: Positive = 1024
    max_uploads: Annotated[int, Field(ge=0)] | None = None
    max_stalled: Annotated[int, Field(ge=0)] | None = None
    stalled_after: PositiveDuration = 2.0
    max_requests_per_connection: Positive | None = None
    idle: Duration | None = None
    fresh_after: Duration = 1.0


class TlsSettings(Settings):
    """TLS towards an upstream."""

    server_name: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


class OutlierSettings(Settings):
    """When an endpoint of several is left alone, and for how long."""

    consecutive_failures: Annotated[int, Field(ge=0)] = 5
    interval: PositiveDuration = 10.0
    base_ejection: PositiveDuration = 30.0
    max_ejection: PositiveDuration = 300.0
    jitter: Ratio = 0.1
    max_ejected: PositiveRatio | None = None
    panic_threshold: Ratio = 0.5
    on_all_down: Literal["panic", "fail"] = "panic"
    success_rate_stdev: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.9
    success_rate_min_hosts: Annotated[int, Field(ge=2)] = 5
    success_rate_min_requests: Positive = 100
    avoid: PositiveDuration = 1.0


class UpstreamSettings(Settings):
    """A named set of endpoints: written down, or discovered."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["endpoints"]},
                {"required": ["discovery"]},
                {"required": ["original_destination"]},
            ]
        }
    )

    endpoints: tuple[Endpoint, ...] = Field(
        default=(), json_schema_extra={"minItems": 1}
    )
    original_destination: bool = False
    discovery: UpstreamDiscoverySettings | None = None
    pool: PoolSettings = PoolSettings()
    retry_budget: BudgetSettings = BudgetSettings()
    outlier: OutlierSettings | Literal["off"] = OutlierSettings()
    tls: TlsSettings | None = None
    is_peer: bool = False
    response_headers: PositiveSize = 64 * 1024


class PathMatchSettings(Settings):
    """A condition on the path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: str = "/"


class FieldMatchSettings(Settings):
    """A condition on a query parameter."""

    name: Annotated[str, Field(min_length=1)]
    value: str
    type: Literal["Exact", "RegularExpression"] = "Exact"


class HeaderMatchSettings(FieldMatchSettings):
    """A condition on a header field."""

    name: FieldName


class MatchSettings(Settings):
    """All of its conditions must hold."""

    path: PathMatchSettings = PathMatchSettings()
    method: Method | None = None
    headers: tuple[HeaderMatchSettings, ...] = ()
    query: tuple[FieldMatchSettings, ...] = Field(
        default=(),
        validation_alias=AliasChoices("query", "queryParams", "query_params"),
    )


class EditSettings(Settings):
    """Changes to header fields: remove, then set, then add."""

    set: dict[FieldName, FieldValues] = Field(default={})
    add: dict[FieldName, FieldValues] = Field(default={})
    remove: tuple[FieldName, ...] = ()


class RewriteSettings(Settings):
    """Changes to the request target."""

    prefix: TargetPath | None = None
    path: TargetPath | None = None
    host: HostName | None = None


class LatencySettings(Settings):
    """By percentile of the requests: in how much time they are answered."""

    p50: PositiveDuration | None = None
    p90: PositiveDuration | None = None
    p95: PositiveDuration | None = None
    p99: PositiveDuration | None = None


class SloSettings(Settings):
    """What a route promises; `sidecar alerts` makes alerts of it."""

    success: PositiveRatio | None = None
    latency: LatencySettings = LatencySettings()


class RouteSettings(Settings):
    """Which requests, where to, and how."""

    name: Name
    listener: Literal["inbound", "outbound"] = "inbound"
    hosts: tuple[HostPattern, ...] = ()
    destinations: tuple[Destination, ...] = ()
    matches: tuple[MatchSettings, ...] = (MatchSettings(),)
    priority: int = 0
    upstream: str
    timeouts: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings | None = None
    circuit_breaker: BreakerSettings | Literal["off"] | None = None
    rewrite: RewriteSettings = RewriteSettings()
    request_headers: EditSettings = EditSettings()
    response_headers: EditSettings = EditSettings()
    filters: tuple[FilterSettings, ...] = ()
    body_max: SizeLimit | None = None
    shed: bool = True
    slo: SloSettings | Literal["off"] | None = None


class DefaultSettings(Settings):
    """What a route has if it does not say otherwise."""

    timeouts: TimeoutSettings = TimeoutSettings()
    retry: RetrySettings = RetrySettings()
    circuit_breaker: BreakerSettings | Literal["off"] = BreakerSettings()
    body_max: Size | None = None
    slo: SloSettings = SloSettings()


class TracingSettings(Settings):
    """Spans by OTLP; the OTEL_* variables fill in what is not set."""

    enabled: bool = False
    protocol: Literal["grpc", "http/protobuf"] = "grpc"
    endpoint: str | None = None
    sample_ratio: Ratio = 0.01
    queue_spans: Positive = 2048


class LogExportSettings(Settings):
    """Records of failures by OTLP; the OTEL_* variables fill in what is not set."""

    enabled: bool = False
    protocol: Literal["grpc", "http/protobuf"] = "grpc"
    endpoint: str | None = None
    queue: Positive = 2048  # Log records.


class AccessLogSettings(Settings):
    """Which requests get a line on stdout."""

    mode: Literal["off", "faults", "sampled", "all"] = "faults"
    sample_ratio: Ratio = 0.01


class MetricSettings(Settings):
    """Bounds on metrics."""

    # Below that the cap could not be kept: see `record.metrics.store.MIN_SERIES`.
    max_series: Annotated[int, Field(ge=1000)] = 2000


class TelemetrySettings(Settings):
    """What is told, and to whom."""

    tracing: TracingSettings = TracingSettings()
    logs: LogExportSettings = LogExportSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    metrics: MetricSettings = MetricSettings()


# Below that the file could not hold one batch of records.
StoreSize = Annotated[PositiveSize, Field(ge=1024 * 1024)]


class FaultSettings(Settings):
    """How failures are told to clients, and where their records are kept."""

    status_profile: Literal["rfc9209", "envoy"] = "rfc9209"
    expose: Literal["full", "minimal"] = "full"
    headers: tuple[FieldName, ...] = ()
    recovered_after: PositiveDuration = 60.0
    store: FilePath | None = None
    store_age: PositiveDuration = 7 * 86400.0
    store_size: StoreSize = 64 * 1024 * 1024


class OverloadSettings(Settings):
    """When this very process is short of something, and refuses work."""

    enabled: bool = True
    lag: PositiveDuration = 0.1
    lag_for: PositiveDuration = 1.0
    memory: PositiveRatio = 0.8
    descriptors: PositiveRatio = 0.8
    in_flight: Positive | None = None


class DrainSettings(Settings):
    """How the proxy ends."""

    lead: Duration = 5.0
    grace: Duration = 30.0
    follow_application: bool = False


class LogSettings(Settings):
    """The proxy's own log, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"


# Loopback and private networks: inside a cluster the one before us is a peer, and
# an ingress that is not believed would hide every client's address.
TRUSTED = (
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
)


class FileSettings(Settings):
    """A whole configuration file."""

    service: Name = "app"
    inbound: InboundSettings = InboundSettings()
    outbound: OutboundSettings | None = None
    admin: AdminSettings = AdminSettings()
    health: HealthSettings = HealthSettings()
    trusted_peers: tuple[IPvAnyNetwork, ...] = Field(
        default=TRUSTED, validate_default=True
    )
    limits: LimitSettings = LimitSettings()
    overload: OverloadSettings = OverloadSettings()
    defaults: DefaultSettings = DefaultSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    upstreams: dict[Name, UpstreamSettings]
    routes: tuple[RouteSettings, ...]
    telemetry: TelemetrySettings = TelemetrySettings()
    faults: FaultSettings = FaultSettings()
    alerts: AlertSettings = AlertSettings()
    drain: DrainSettings = DrainSettings()
    log: LogSettings = LogSettings()
