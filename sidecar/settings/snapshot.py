"""The compiled configuration: what the data path reads, by attribute alone.

Built by `compile.py` from checked settings, never changed. A reload builds a
new one; two snapshots whose upstreams are equal share pools and breakers, so
every class here compares by value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network  # noqa: TC003 - pydantic asks for them
from typing import TYPE_CHECKING

from sidecar.settings.alert_plan import NO_ALERTS, AlertPlan
from sidecar.settings.hosts import is_loopback

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from sidecar.policy.breaker import BreakerLimits
    from sidecar.policy.budget import BudgetLimits
    from sidecar.policy.outlier import OutlierLimits
    from sidecar.policy.overload import OverloadLimits
    from sidecar.policy.retry import RetryRules
    from sidecar.settings.application import ApplicationCheck


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of time of one route; None means no limit of this kind."""

    request_s: float | None
    per_try_s: float | None
    per_try_idle_s: float | None
    connect_s: float
    dns_s: float
    stream_idle_s: float
    tunnel_idle_s: float
    request_body_idle_s: float
    downstream_write_s: float


@dataclass(frozen=True, slots=True)
class FieldMatch:
    """A condition on one header field or query parameter."""

    name: str  # Headers: lower case.
    value: str
    is_regex: bool = False


@dataclass(frozen=True, slots=True)
class PathMatch:
    """A condition on the raw path; `kind` as in the Gateway API."""

    kind: str  # "Exact", "PathPrefix" or "RegularExpression".
    value: str


@dataclass(frozen=True, slots=True)
class Match:
    """All conditions must hold; a route matches when one of its matches does."""

    path: PathMatch = PathMatch("PathPrefix", "/")
    method: str | None = None
    headers: tuple[FieldMatch, ...] = ()
    query: tuple[FieldMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldEdits:
    """Changes to header fields: remove, then set, then add."""

    set: tuple[tuple[bytes, bytes], ...] = ()
    add: tuple[tuple[bytes, bytes], ...] = ()
    remove: frozenset[bytes] = frozenset()  # Lower case.
    is_any: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find out once what each request would ask."""
        is_any = bool(self.set or self.add or self.remove)
        object.__setattr__(self, "is_any", is_any)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What is changed in the request target; None leaves it as it came."""

    prefix: bytes | None = None  # Replaces the prefix that matched.
    full_path: bytes | None = None
    host: bytes | None = None
    is_of_target: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find out once what each request would ask."""
        is_of_target = self.prefix is not None or self.full_path is not None
        object.__setattr__(self, "is_of_target", is_of_target)


@dataclass(frozen=True, slots=True)
class DestinationMatch:
    """Where an intercepted connection was meant to go; None: any."""

    network: IPv4Network | IPv6Network | None
    port: int | None

    def __str__(self) -> str:
        """Return it as it is written in a file."""
        port = "" if self.port is None else f":{self.port}"
        if self.network is None:
            return port or "*"
        network = str(self.network)
        if self.network.prefixlen == self.network.max_prefixlen:
            network = network.partition("/")[0]
        return f"[{network}]{port}" if port and ":" in network else f"{network}{port}"

    def takes(self, host: IPv4Address | IPv6Address, port: int) -> bool:
        """Tell whether an address is one of these."""
        return self.port in (None, port) and (
            self.network is None or host in self.network
        )


@dataclass(frozen=True, slots=True)
class Route:
    """One route, with every default filled in."""

    name: str
    listener: str  # "inbound" or "outbound".
    hosts: tuple[str, ...]  # Lower case; "*.x" for suffixes; empty: any host.
    matches: tuple[Match, ...]  # Never empty.
    priority: int  # Higher is looked at first; 0 unless set.
    upstream: str
    timeouts: Timeouts
    retry: RetryRules
    breaker: BreakerLimits | None
    rewrite: Rewrite
    request_edits: FieldEdits
    response_edits: FieldEdits
    body_max_bytes: int | None
    destinations: tuple[DestinationMatch, ...] = ()  # Empty: also none at all.
    is_shed: bool = True  # May be refused when this process is overloaded.
    line: int = field(default=0, compare=False)  # In the YAML; 0 if not from one.


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """How to speak TLS to an upstream's endpoints."""

    server_name: str | None  # SNI and name to verify; None: the endpoint's host.
    ca_file: str | None  # None: the system's.
    cert_file: str | None
    key_file: str | None
    verify: bool


@dataclass(frozen=True, slots=True)
class Address:
    """Host and port of an endpoint; the host may be a name.

    Where nobody takes a connection there, the other hosts are tried in turn.
    """

    host: str
    port: int
    other_hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as people write it, IPv6 in brackets."""
        return (
            f"[{self.host}]:{self.port}"
            if ":" in self.host
            else f"{self.host}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class DnsSource:
    """A name whose addresses are the endpoints of an upstream."""

    name: str
    port: int | None  # None: each record has its own.
    types: tuple[str, ...]  # "A" and "AAAA", or "SRV".
    timeout_s: float  # Of one question, all servers and repetitions together.
    min_ttl_s: float
    stale_s: float  # How long an answer is used beyond its TTL, if there is no newer.
    nameservers: tuple[Address, ...]  # None: those of the system.

    def __str__(self) -> str:
        """Return what is asked for."""
        return f"dns {'+'.join(self.types)} {self.name}"

    @property
    def host(self) -> str:
        """The name of what is behind it: of SRV, without service and protocol."""
        labels = self.name.rstrip(".").split(".")
        return ".".join(label for label in labels if not label.startswith("_"))


@dataclass(frozen=True, slots=True)
class KubernetesSource:
    """A Service whose EndpointSlices hold the endpoints of an upstream."""

    service: str
    namespace: str | None  # None: that of this pod.
    port: int | str | None  # Number of the pod's, or name; None: it has one only.
    zone: str | None  # Of this pod; None: the environment may know.
    account_folder: str  # With token, ca.crt and namespace.

    def __str__(self) -> str:
        """Return what is asked for."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"kubernetes service {place}{self.service}"

    @property
    def host(self) -> str:
        """The name of the Service, as its certificate would have it."""
        return (
            f"{self.service}.{self.namespace}.svc" if self.namespace else self.service
        )


Source = DnsSource | KubernetesSource


@dataclass(frozen=True, slots=True)
class Upstream:
    """A named set of endpoints, with its caps."""

    name: str
    endpoints: tuple[Address, ...]  # Empty: `discovery` finds them.
    max_connections: int  # Of all endpoints together.
    max_pending: int  # Requests that wait for a connection.
    max_requests: int  # In flight at once.
    max_uploads: int  # Of these, with a body still to come.
    max_stalled: int  # Of these, with a client that does not read.
    stalled_after_s: float  # Who does not read for so long may be ended.
    max_requests_per_connection: int | None
    pool_idle_s: float
    fresh_after_s: float  # Idle longer than this: unsafe requests connect anew.
    budget: BudgetLimits
    outlier: OutlierLimits | None
    tls: UpstreamTls | None
    is_peer: bool  # Another sidecar whose x-316-processed is believed.
    response_header_max_bytes: int
    buffer_bytes: int  # Of one direction of one connection, as for clients.
    is_original: bool = False  # Each connection to where it was meant to go.
    discovery: Source | None = None
    authority: bytes = field(init=False, repr=False, compare=False)  # Host, if unknown.
    # Of the application beside this sidecar, if an inbound route leads to it.
    is_local: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find out once what a request is for that does not say so."""
        source = self.discovery
        if source is None:
            authority = str(self.endpoints[0]) if self.endpoints else self.name
        elif isinstance(source.port, int):
            authority = f"{source.host}:{source.port}"
        else:
            authority = source.host
        object.__setattr__(self, "authority", authority.encode())
        is_local = self.is_original or any(is_loopback(e.host) for e in self.endpoints)
        object.__setattr__(self, "is_local", is_local)


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that takes connections."""

    name: str  # "inbound" or "outbound".
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Interception:
    """How a listener treats connections that were redirected to it."""

    is_transparent: bool  # Whether it asks where they were meant to go.
    opaque_ports: frozenset[int]  # Nobody looks for HTTP there.
    has_proxy_header: bool  # Each begins with a header of the PROXY protocol.
    connect_s: float  # Of opaque connections,
    idle_s: float  # without a byte either way.


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a client may send or hold."""

    request_line_bytes: int
    header_bytes: int
    header_count: int
    connections: int
    connections_per_client: int | None
    requests_per_connection: int | None
    first_byte_s: float  # Of a new connection.
    request_headers_s: float
    keep_alive_s: float
    linger_s: float  # For who still sends to read the answer, not a reset.
    flush_s: float  # Without progress, for the end of what a client asked for.
    half_close: str  # "probe", "serve" or "abort".
    buffer_bytes: int  # Of one direction of one connection.
    unchecked_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Find out once below what size a head is within both limits."""
        unchecked_bytes = min(self.request_line_bytes, self.header_bytes)
        object.__setattr__(self, "unchecked_bytes", unchecked_bytes)


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go; the OTEL_* variables fill what is not set."""

    enabled: bool
    protocol: str  # "grpc" or "http/protobuf".
    endpoint: str | None
    sample_ratio: float
    queue_spans: int


@dataclass(frozen=True, slots=True)
class LogExport:
    """Where records of failures go by OTLP; OTEL_* variables fill what is not set."""

    enabled: bool
    protocol: str  # "grpc" or "http/protobuf".
    endpoint: str | None
    queue: int  # Log records.


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Which requests get a line."""

    mode: str  # "off", "faults", "sampled" or "all".
    sample_ratio: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One whole configuration."""

    service: str
    version: str  # Short hash of the settings: names it in records and metrics.
    listeners: tuple[Listener, ...]
    admin: tuple[str, int]
    health: tuple[str, int]
    limits: Limits
    overload: OverloadLimits
    routes: tuple[Route, ...]
    upstreams: dict[str, Upstream]
    trusted_peers: tuple[IPv4Network | IPv6Network, ...]
    status_profile: str  # "rfc9209" or "envoy".
    expose: str  # "full" or "minimal".
    fault_headers: frozenset[bytes]  # Request headers allowed in records.
    drain_lead_s: float
    drain_grace_s: float
    tracing: Tracing
    log_export: LogExport
    access_log: AccessLog
    max_series: int
    log_level: str
    source: str  # The file, or "command line".
    interception: dict[str, Interception] = field(default_factory=dict)  # By listener.
    awaits_application: bool = False  # To be ready.
    follows_application: bool = False  # To its end.
    application: ApplicationCheck | None = None  # How it is checked.
    first_answer_s: float = 5.0  # To wait for endpoints before they are needed.
    admin_token_file: str | None = None
    admin_socket: str | None = None
    trace_url: str | None = None  # Where a trace is shown: has "{trace_id}".
    recovered_after_s: float = 60.0  # Without a failure: less, and every lull were one.
    fault_store: str | None = None  # A file for the records of failures.
    fault_store_age_s: float = 7 * 86400.0
    fault_store_max_bytes: int = 64 * 1024 * 1024
    alerts: AlertPlan = NO_ALERTS
