"""The values that travel from stage to stage.

A head comes in (`RequestHead`), attempts are made (`Attempt`), something may go
wrong (`Fault`), and one `Outcome` tells all who record what happened. Nobody
changes one that was made; that they are not frozen at run time saves a request
some fifty times 60 ns. Those that each request has are written out: the `__init__`
of a dataclass is not compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sidecar.faults.spec import FaultSpec  # noqa: TC001 - compiled fields have types

Fields = list[tuple[bytes, bytes]]  # Names and values, in order.

# What becomes of a header line at this hop; a higher one is let through less.
SENT_ON: Final = 0
SENT_ON_IF_TRUSTED: Final = 1
STAYS_HERE: Final = 2


F = TypeVar("F")


class FieldLine(NamedTuple):
    """One line of a header section, found well-formed."""

    key: bytes  # The name in lower case.
    value: bytes  # Without the white space around it.
    raw: bytes  # As it came, with the line break.
    use: int  # SENT_ON, SENT_ON_IF_TRUSTED or STAYS_HERE.


class HeaderSection(Generic[F]):
    """The header lines of a message. Many may share it: it is never changed.

    Attributes:
        lines: In order.
        named: Lower-case name: values joined by ", ".
        facts: What the head of HTTP/1.1 that it belongs to makes of it, once known.
    """

    __slots__ = ("_kept", "facts", "lines", "named")

    def __init__(self, lines: list[FieldLine], named: dict[bytes, bytes]) -> None:
        self.lines = lines
        self.named = named
        self.facts: F | None = None
        self._kept: list[bytes | None] = [None, None]

    @property
    def fields(self) -> Fields:
        """Return names as they were spelt, and values."""
        return spelt(self.lines)

    def sent_on(self, most: int = SENT_ON) -> bytes:
        """Return the lines whose `use` is at most that, as they came."""
        kept = self._kept[most]
        if kept is None:
            kept = b"".join([raw for _, _, raw, use in self.lines if use <= most])
            self._kept[most] = kept
        return kept


def spelt(lines: list[FieldLine]) -> Fields:
    """Return the names as they were spelt, and the values."""
    return [(line.raw[: len(line.key)], line.value) for line in lines]


NO_BODY: Final = 0
CHUNKED: Final = -1  # Body length: the chunked coding tells where it ends.
UNTIL_CLOSE: Final = -2  # Body length of a response that ends with its connection.


class RequestHead:
    """The head of a request, parsed and found unambiguous."""

    __slots__ = (
        "authority",
        "body_bytes",
        "host",
        "keep_alive",
        "line",
        "method",
        "minor",
        "named",
        "path",
        "query",
        "section",
        "target",
        "upgrade",
    )

    def __init__(  # noqa: PLR0917 - one is made for each request
        self,
        method: str,
        line: bytes,
        target: bytes,
        path: bytes,
        query: bytes | None,
        minor: int,
        authority: bytes,
        host: bytes,
        section: HeaderSection[Any],
        body_bytes: int,
        keep_alive: bool,  # noqa: FBT001 - a value, not a switch
        upgrade: bytes | None,
    ) -> None:
        self.method = method
        self.line = line  # As it came, with its line break.
        self.target = target  # As received; `path` and `query` are slices of it.
        self.path = path  # Raw, never decoded; "*" for OPTIONS *.
        self.query = query  # Raw, without the "?".
        self.minor = minor  # Of HTTP/1.minor.
        self.authority = authority  # Host as received, or of the absolute form.
        self.host = host  # Lower case, without the port.
        self.section = section
        self.named = section.named
        self.body_bytes = body_bytes  # Declared length, or CHUNKED.
        self.keep_alive = keep_alive
        self.upgrade = upgrade  # Lower-case protocol that the client asks for.

    @property
    def fields(self) -> Fields:
        """Return names as they were spelt, and values."""
        return self.section.fields


class ResponseHead:
    """The head of a response, parsed and found unambiguous."""

    __slots__ = (
        "body_bytes",
        "keep_alive",
        "minor",
        "named",
        "reason",
        "section",
        "status",
    )

    def __init__(  # noqa: PLR0917 - one is made for each response
        self,
        status: int,
        reason: bytes,
        minor: int,
        section: HeaderSection[Any],
        body_bytes: int,
        keep_alive: bool,  # noqa: FBT001 - a value, not a switch
    ) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.section = section
        self.named = section.named
        self.body_bytes = body_bytes  # Declared length, CHUNKED or UNTIL_CLOSE.
        self.keep_alive = keep_alive

    @property
    def fields(self) -> Fields:
        """Return names as they were spelt, and values."""
        return self.section.fields


class Phase(Enum):
    """How far an attempt had come."""

    REQUEST = "request"  # No attempt yet: reading, matching, admitting.
    QUEUE = "queue"  # Waiting for a connection of the pool.
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    WRITE = "write"
    WAIT = "wait"  # The request is sent, no byte of a response is here.
    HEADERS = "headers"
    BODY = "body"
    TUNNEL = "tunnel"


class Processed(Enum):
    """Whether the application may have acted on a request."""

    NO = "no"  # Proven: no byte, or a peer that says so.
    UNKNOWN = "unknown"
    YES = "yes"


class Origin(Enum):
    """Who caused a fault."""

    CLIENT = "client"
    PROXY = "proxy"
    UPSTREAM = "upstream"


class TimeoutKind(Enum):
    """Which of the limits of time ended something."""

    REQUEST = "request"
    PER_TRY = "per_try"
    PER_TRY_IDLE = "per_try_idle"
    CONNECT = "connect"
    DNS = "dns"
    STREAM_IDLE = "stream_idle"
    TUNNEL_IDLE = "tunnel_idle"
    REQUEST_HEADERS = "request_headers"
    REQUEST_BODY_IDLE = "request_body_idle"
    UPSTREAM_WRITE = "upstream_write"
    DOWNSTREAM_WRITE = "downstream_write"
    QUEUE = "queue"
    DEADLINE = "deadline"  # The caller's, handed on to us.


class Limit(Enum):
    """Bounds on one client that can be hit; each is named as its setting is."""

    REQUEST_LINE = "request_line"
    HEADERS = "headers"
    HEADER_COUNT = "header_count"
    BODY_MAX = "body_max"
    CONNECTIONS = "connections"
    CONNECTIONS_PER_CLIENT = "connections_per_client"
    REQUESTS_PER_CONNECTION = "requests_per_connection"
    FIRST_BYTE = "first_byte"
    KEEP_ALIVE = "keep_alive"
    REQUEST_HEADERS = "request_headers"
    REQUEST_BODY_IDLE = "request_body_idle"
    DOWNSTREAM_WRITE = "downstream_write"
    MAX_STALLED = "max_stalled"


class TraceContext:
    """Where a request stands in its trace (W3C Trace Context, level 1)."""

    __slots__ = ("parent_id", "sampled", "span_id", "state", "trace_id")

    def __init__(
        self,
        trace_id: int,
        parent_id: int,
        span_id: int,
        sampled: bool,  # noqa: FBT001 - a value, not a switch
        state: bytes,
    ) -> None:
        self.trace_id = trace_id  # 128 bits, never 0.
        self.parent_id = parent_id  # 64 bits; 0 when the trace starts here.
        self.span_id = span_id  # 64 bits: of the server span of this hop.
        self.sampled = sampled
        self.state = state  # `tracestate`, handed on as it came; may be empty.


@dataclass(slots=True)
class Attempt:
    """One try at one endpoint."""

    n: int  # 1 for the first.
    endpoint: str  # address:port; empty when none was chosen.
    start_s: float  # On the steady clock.
    duration_s: float
    status: int  # 0 when no response head came.
    fault: FaultSpec | None
    phase: Phase
    processed: Processed
    is_reused: bool  # On a connection that had served before.
    span_id: int
    connection_age_s: float = 0.0  # Of one that ended with the attempt.
    connection_served: int = 0  # Requests it was given, this one included.


@dataclass(slots=True)
class Fault:
    """One failure, as far as the request knows it.

    What is known only when somebody reads the record (host, memory, pools) is
    added there; nothing here comes from a header value, a body or a query.
    """

    spec: FaultSpec
    fault_id: str
    origin: Origin
    phase: Phase
    processed: Processed
    detail: str  # For people; never a metric label.
    timeout: TimeoutKind | None = None
    retry_after_s: float | None = None
    stack: tuple[str, ...] = ()  # Of an exception that nobody foresaw.


@dataclass(slots=True)
class Outcome:
    """All that is to be told about one request that has ended."""

    listener: str  # "inbound" or "outbound".
    route: str  # Name of the route; "" when none matched.
    upstream: str  # Name of the upstream; "" when none was meant.
    method: str
    path: bytes  # Raw, without the query.
    path_template: str  # Of the match that won, e.g. "/orders/*"; bounded.
    authority: bytes
    client: str  # address of the peer, without the port.
    status: int  # As the client saw it; 499 when it had left.
    fault: Fault | None
    start_s: float
    start_wall_ns: int
    duration_s: float
    request_bytes: int  # Body bytes.
    response_bytes: int
    attempts: tuple[Attempt, ...]
    retry_skipped: str  # Why no further retry was made; "" if none was needed.
    trace: TraceContext
    request_id: str
    is_upgraded: bool
    headers: tuple[tuple[str, str], ...] = ()  # Only those of `faults.headers`.
