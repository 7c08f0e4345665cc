"""The 316 codes: the closed list, as data.

Status, header, body, label, severity, retriability and documentation all follow
from here. A code is a public name: add new ones, never rename one.
"""

from __future__ import annotations

import re
from enum import Enum, unique
from types import MappingProxyType
from typing import TYPE_CHECKING

from sidecar.faults.spec import FaultSpec, Layer, Replay, Severity, Trigger
from sidecar.model import Origin, Phase, Processed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sidecar.model import TimeoutKind

P0, P1, P2, P3 = Severity
N, A, D, I = Layer  # noqa: E741 - the letters of the catalogue
_LOAD, _EDGE, _ENV = Trigger
_CLIENT, _PROXY, _UPSTREAM = Origin


@unique
class FaultCode(Enum):
    """Every failure that has a name. A member cannot exist without its entry."""

    spec: FaultSpec

    def __init__(self, spec: FaultSpec) -> None:
        self.spec = spec  # An attribute is read far faster than `value`.

    # fmt: off - five lines an entry: names, nature, numbers, who, words.
    DNS_ERR = FaultSpec(
        "316-DNS-ERR", "name not resolved", P1, N, _ENV,
        502, 503, 14, "dns_error", "DF",
        Replay.ALL, _UPSTREAM, True,
        "The endpoint's host name could not be resolved.",
        "Check the spelling of host and namespace; the detail tells NXDOMAIN from SERVFAIL.",
    )
    DNS_TIMEOUT = FaultSpec(
        "316-DNS-TIMEOUT", "name server did not answer", P1, I, _LOAD,
        504, 503, 14, "dns_timeout", None,
        Replay.ALL, _UPSTREAM, True,
        "The name server did not answer within timeouts.dns.",
        "Look at CoreDNS: its CPU, the ndots option, a node-local cache.",
    )
    ROUTE_NOT_FOUND = FaultSpec(
        "316-ROUTE-NOT-FOUND", "no route matches", P2, A, _ENV,
        404, 404, 12, "destination_not_found", "NR",
        Replay.NEVER, _CLIENT, False,
        "No route of this listener matches host, path, method and headers.",
        "Add a route; `sidecar explain` shows why the nearest ones lost.",
    )
    UPSTREAM_UNKNOWN = FaultSpec(
        "316-UPSTREAM-UNKNOWN", "route names an unknown upstream", P0, I, _ENV,
        500, 503, 13, None, "NC",
        Replay.NEVER, _PROXY, False,
        "The route names an upstream that is not configured.",
        "Define the upstream, or correct its name in the route.",
    )
    UPSTREAM_UNHEALTHY = FaultSpec(
        "316-UPSTREAM-UNHEALTHY", "no endpoint to send to", P0, I, _ENV,
        503, 503, 14, None, "UH",
        Replay.ALL_LATER, _UPSTREAM, False,
        "The upstream has no endpoint that may be used.",
        "Look at pods, readiness and ejections.",
    )
    LOCAL_UNHEALTHY = FaultSpec(
        "316-LOCAL-UNHEALTHY", "local application unhealthy", P1, A, _ENV,
        503, 503, 14, None, "LH",
        Replay.ALL, _UPSTREAM, False,
        "The application behind this proxy fails its health check.",
        "Look at the application's own log.",
    )
    DEST_PROHIBITED = FaultSpec(
        "316-DEST-PROHIBITED", "destination forbidden", P1, N, _ENV,
        502, 502, 7, "destination_ip_prohibited", None,
        Replay.NEVER, _PROXY, False,
        "The egress policy, or the system, forbids this address.",
        "Allow the address, or correct the endpoint.",
    )
    DEST_UNROUTABLE = FaultSpec(
        "316-DEST-UNROUTABLE", "no route to host", P1, N, _ENV,
        502, 503, 14, "destination_ip_unroutable", None,
        Replay.ALL, _UPSTREAM, True,
        "The network has no way to the endpoint's address.",
        "Look at the CNI plugin and the NetworkPolicy objects.",
    )
    CONN_ERR = FaultSpec(
        "316-CONN-ERR", "connection not made", P1, N, _ENV,
        502, 503, 14, None, None,
        Replay.ALL, _UPSTREAM, True,
        "The connection failed for a reason with no code of its own.",
        "Read the detail; check that endpoint and network are up.",
    )
    CONN_REFUSED = FaultSpec(
        "316-CONN-REFUSED", "connection refused", P1, N, _ENV,
        502, 503, 14, "connection_refused", "UF",
        Replay.ALL, _UPSTREAM, True,
        "Nothing listens at the endpoint's address and port.",
        "Is the application up, and is its port the one configured?",
    )
    CONN_TIMEOUT = FaultSpec(
        "316-CONN-TIMEOUT", "connection not answered", P1, N, _ENV,
        504, 503, 14, "connection_timeout", None,
        Replay.ALL, _UPSTREAM, True,
        "The endpoint did not answer the attempt to connect within timeouts.connect.",
        "Look for a NetworkPolicy, a node that is down, or a full backlog.",
    )
    CONN_TERMINATED = FaultSpec(
        "316-CONN-TERMINATED", "connection ended before the answer", P1, N, _ENV,
        502, 503, 14, "connection_terminated", "UC",
        Replay.IDEMPOTENT, _UPSTREAM, True,
        "A new connection was closed before the response came.",
        "Probably a crash: look at the application's log at this time.",
    )
    CONN_STALE = FaultSpec(
        "316-CONN-STALE", "idle connection was closed", P2, N, _LOAD,
        502, 503, 14, None, None,
        Replay.IDEMPOTENT, _UPSTREAM, False,
        "A connection kept open was closed by the application just as a request was sent.",
        "Raise the application's keep-alive time above the pool's idle limit.",
    )
    CONN_RESET = FaultSpec(
        "316-CONN-RESET", "connection reset", P1, N, _ENV,
        502, 503, 14, None, "UR",
        Replay.IDEMPOTENT, _UPSTREAM, True,
        "The application reset the connection before it answered.",
        "Look at the application's log at this time.",
    )
    CONN_REFUSED_STREAM = FaultSpec(
        "316-CONN-REFUSED-STREAM", "stream refused", P1, N, _LOAD,
        502, 503, 14, None, None,
        Replay.ALL, _UPSTREAM, False,
        "The application refused the stream without working on it.",
        "It is busy or going away: look at its limits.",
    )
    CONN_LOCAL_RESET = FaultSpec(
        "316-CONN-LOCAL-RESET", "closed by this proxy", P2, I, _LOAD,
        502, 503, 14, None, "LR",
        Replay.IDEMPOTENT, _PROXY, False,
        "This proxy closed the connection.",
        "See the phase and the limits in the record.",
    )
    POOL_EXHAUSTED = FaultSpec(
        "316-POOL-EXHAUSTED", "connection pool exhausted", P1, I, _LOAD,
        503, 503, 8, "connection_limit_reached", "UO",
        Replay.ALL_LATER, _PROXY, False,
        "All connections or request slots of the upstream are in use, and the queue is full.",
        "Raise the caps of the upstream, or scale it.",
    )
    CIRCUIT_OPEN = FaultSpec(
        "316-CIRCUIT-OPEN", "circuit open", P1, I, _LOAD,
        503, 503, 14, None, None,
        Replay.ALL_LATER, _PROXY, False,
        "The circuit breaker of this route is open, since the upstream kept failing.",
        "Mend the cause that the breaker shows; it probes again by itself.",
    )
    TIMEOUT_READ = FaultSpec(
        "316-TIMEOUT-READ", "answer stopped", P1, N, _LOAD,
        504, 504, 4, "connection_read_timeout", None,
        Replay.IDEMPOTENT, _UPSTREAM, True,
        "The upstream stopped sending in the middle of its response.",
        "Look for a stalled handler or a lossy network.",
    )
    TIMEOUT_WRITE = FaultSpec(
        "316-TIMEOUT-WRITE", "request not read", P2, N, _LOAD,
        504, 504, 4, "connection_write_timeout", None,
        Replay.IDEMPOTENT, _UPSTREAM, True,
        "The upstream stopped reading the request.",
        "Look for an application that does not read its body.",
    )
    TIMEOUT_ERR = FaultSpec(
        "316-TIMEOUT-ERR", "request timed out", P1, A, _LOAD,
        504, 504, 4, "http_response_timeout", "UT",
        Replay.NEVER, _UPSTREAM, True,
        "The whole time of the route was spent without a response.",
        "Compare the handler's p99 with timeouts.request of the route.",
    )
    TIMEOUT_TRY = FaultSpec(
        "316-TIMEOUT-TRY", "attempt timed out", P2, A, _LOAD,
        504, 504, 4, None, None,
        Replay.IDEMPOTENT, _UPSTREAM, True,
        "One attempt took longer than timeouts.per_try.",
        "Compare the handler's p99 with timeouts.per_try.",
    )
    TIMEOUT_STREAM_MAX = FaultSpec(
        "316-TIMEOUT-STREAM-MAX", "stream lasted too long", P2, A, _ENV,
        504, 504, 4, None, "UMSDR",
        Replay.NEVER, _PROXY, False,
        "The stream reached its longest allowed duration.",
        "Raise the limit, or let the client connect again.",
    )
    TIMEOUT_IDLE = FaultSpec(
        "316-TIMEOUT-IDLE", "stream idle", P2, N, _LOAD,
        504, 504, 4, None, "SI",
        Replay.NEVER, _UPSTREAM, False,
        "No byte went either way for the idle limit.",
        "Send heartbeats, or raise timeouts.stream_idle.",
    )
    TIMEOUT_CONN_AGE = FaultSpec(
        "316-TIMEOUT-CONN-AGE", "connection reached its age", P3, I, _ENV,
        504, 504, 14, None, "DT",
        Replay.ALL, _PROXY, False,
        "The connection reached its longest allowed age.",
        "Nothing: this is normal.",
    )
    CLIENT_SLOW = FaultSpec(
        "316-CLIENT-SLOW", "client too slow", P3, N, _LOAD,
        408, 408, 4, None, None,
        Replay.NEVER, _CLIENT, False,
        "The client took too long to send its header or body, or to read the response.",
        "Look at the client's network, or raise the limit.",
    )
    DEADLINE_EXPIRED = FaultSpec(
        "316-DEADLINE-EXPIRED", "caller's deadline spent", P2, A, _LOAD,
        504, 504, 4, None, None,
        Replay.NEVER, _CLIENT, False,
        "The time that the caller allows was spent before this hop.",
        "Give the caller more time, or make the hops before this one faster.",
    )
    RETRY_EXHAUSTED = FaultSpec(
        "316-RETRY-EXHAUSTED", "retries exhausted", P1, A, _LOAD,
        502, 503, 14, None, "URX",
        Replay.NEVER, _UPSTREAM, False,
        "Every allowed attempt failed.",
        "See attempts: mend the first cause, not the retries.",
    )
    RETRY_BUDGET = FaultSpec(
        "316-RETRY-BUDGET", "retry budget empty", P1, I, _LOAD,
        503, 503, 14, None, None,
        Replay.NEVER, _PROXY, False,
        "A retry was due, but too many requests to this upstream are retries already.",
        "The upstream fails broadly: mend that.",
    )
    PROTO_UPSTREAM = FaultSpec(
        "316-PROTO-UPSTREAM", "answer is not HTTP", P1, A, _ENV,
        502, 502, 13, "http_protocol_error", "UPE",
        Replay.NEVER, _UPSTREAM, True,
        "The upstream's answer is not valid HTTP/1.1.",
        "Is TLS mixed with plain text, or another version spoken?",
    )
    VALIDATION_ERR = FaultSpec(
        "316-VALIDATION-ERR", "malformed request", P3, A, _EDGE,
        400, 400, 3, "http_request_error", "DPE",
        Replay.NEVER, _CLIENT, False,
        "The request is malformed, ambiguous or too large in its head.",
        "Mend the client; the detail tells what is wrong.",
    )
    PROTO_CONTROL_HEADER = FaultSpec(
        "316-PROTO-CONTROL-HEADER", "bad control header", P3, A, _EDGE,
        400, 400, 3, None, "IH",
        Replay.NEVER, _CLIENT, False,
        "A control header (x-316-* or grpc-timeout) has a value that cannot be read.",
        "Mend whoever writes the header.",
    )
    PROTO_UPGRADE = FaultSpec(
        "316-PROTO-UPGRADE", "upgrade refused", P2, A, _ENV,
        502, 502, 14, "http_upgrade_failed", None,
        Replay.NEVER, _UPSTREAM, False,
        "The upstream did not agree to the Upgrade.",
        "Does the application speak this protocol at this path?",
    )
    DATA_TRUNCATED = FaultSpec(
        "316-DATA-TRUNCATED", "answer incomplete", P1, D, _ENV,
        502, 502, 13, "http_response_incomplete", None,
        Replay.NEVER, _UPSTREAM, True,
        "The response ended before the length that it declared.",
        "The application died or gave up in the middle: see its log.",
    )
    DATA_RESP_HEADER_SIZE = FaultSpec(
        "316-DATA-RESP-HEADER-SIZE", "answer's header too large", P2, D, _EDGE,
        502, 502, 13, "http_response_header_section_size", None,
        Replay.NEVER, _UPSTREAM, False,
        "The header of the response is over the limit.",
        "Shrink headers and cookies, or raise the limit.",
    )
    DATA_RESP_BODY_SIZE = FaultSpec(
        "316-DATA-RESP-BODY-SIZE", "answer too large", P2, D, _EDGE,
        502, 502, 8, "http_response_body_size", None,
        Replay.NEVER, _UPSTREAM, False,
        "The body of the response is over the limit.",
        "Return pages, or raise the limit.",
    )
    DATA_RESP_TRAILER_SIZE = FaultSpec(
        "316-DATA-RESP-TRAILER-SIZE", "answer's trailers too large", P2, D, _EDGE,
        502, 502, 13, "http_response_trailer_section_size", None,
        Replay.NEVER, _UPSTREAM, False,
        "The trailers of the response are over the limit.",
        "Shrink the trailers.",
    )
    DATA_TRANSFER_CODING = FaultSpec(
        "316-DATA-TRANSFER-CODING", "broken chunking", P1, D, _ENV,
        502, 502, 13, "http_response_transfer_coding", None,
        Replay.NEVER, _UPSTREAM, True,
        "The chunked coding of the response is broken.",
        "Mend the application or what stands between.",
    )
    DATA_CONTENT_CODING = FaultSpec(
        "316-DATA-CONTENT-CODING", "broken compression", P2, D, _ENV,
        502, 502, 13, "http_response_content_coding", None,
        Replay.NEVER, _UPSTREAM, False,
        "The compressed body of the response is corrupt.",
        "Mend the application's compression.",
    )
    DATA_REQ_SIZE = FaultSpec(
        "316-DATA-REQ-SIZE", "request body too large", P3, D, _EDGE,
        413, 413, 8, None, None,
        Replay.NEVER, _CLIENT, False,
        "The body of the request is over the route's limit.",
        "Send less, or raise body_max of the route.",
    )
    TLS_PROTO = FaultSpec(
        "316-TLS-PROTO", "TLS not agreed", P1, N, _ENV,
        502, 503, 14, "tls_protocol_error", None,
        Replay.ALL, _UPSTREAM, True,
        "The TLS handshake failed: version, cipher, or plain text on a TLS port.",
        "Compare what both sides speak.",
    )
    TLS_CERT = FaultSpec(
        "316-TLS-CERT", "certificate not accepted", P0, I, _ENV,
        502, 503, 14, "tls_certificate_error", None,
        Replay.NEVER, _UPSTREAM, True,
        "The upstream's certificate is expired, for another name, or of an unknown CA.",
        "Renew it, or correct server_name or ca_file.",
    )
    TLS_ALERT = FaultSpec(
        "316-TLS-ALERT", "our certificate refused", P1, N, _ENV,
        502, 503, 14, "tls_alert_received", None,
        Replay.NEVER, _UPSTREAM, True,
        "The upstream refused the handshake with an alert.",
        "Look at the alert: does it ask for another client certificate?",
    )
    RATE_LIMITED = FaultSpec(
        "316-RATE-LIMITED", "rate limited", P3, A, _LOAD,
        429, 429, 8, None, "RL",
        Replay.ALL_LATER, _CLIENT, False,
        "The client sent more than its quota.",
        "Slow down, or ask for a larger quota.",
    )
    POLICY_RATELIMIT_BACKEND = FaultSpec(
        "316-POLICY-RATELIMIT-BACKEND", "rate limit service down", P2, I, _ENV,
        500, 500, 14, None, "RLSE",
        Replay.ALL, _PROXY, False,
        "The rate limit service did not answer.",
        "Mend it; decide whether to fail open.",
    )
    POLICY_DENIED = FaultSpec(
        "316-POLICY-DENIED", "not permitted", P2, A, _ENV,
        403, 403, 7, "http_request_denied", "UAEX",
        Replay.NEVER, _CLIENT, False,
        "A policy does not permit this request.",
        "See the name of the policy in the detail.",
    )
    FAULT_DELAY = FaultSpec(
        "316-FAULT-DELAY", "delay injected", P3, A, _ENV,
        0, 0, 0, None, "DI",
        Replay.NEVER, _PROXY, False,
        "A fault rule of the route delayed the request.",
        "Nothing: it was asked for.",
    )
    FAULT_ABORT = FaultSpec(
        "316-FAULT-ABORT", "abort injected", P3, A, _ENV,
        503, 503, 14, None, "FI",
        Replay.ALL, _PROXY, False,
        "A fault rule of the route ended the request.",
        "Nothing: it was asked for.",
    )
    CONFIG_ERR = FaultSpec(
        "316-CONFIG-ERR", "configuration error", P0, I, _ENV,
        500, 500, 13, "proxy_configuration_error", "NFCF",
        Replay.NEVER, _PROXY, False,
        "The configuration is bad or missing.",
        "Run `sidecar check`; the last good one stays in force.",
    )
    OVERLOAD = FaultSpec(
        "316-OVERLOAD", "proxy overloaded", P0, I, _LOAD,
        503, 503, 8, None, "OM",
        Replay.ALL_LATER, _PROXY, False,
        "The proxy is out of connections, memory, descriptors or CPU.",
        "Raise its limits, or scale.",
    )
    SHED = FaultSpec(
        "316-SHED", "request shed", P1, I, _LOAD,
        503, 503, 14, None, "DO",
        Replay.ALL_LATER, _PROXY, False,
        "Admission control refused the request to keep the others fast.",
        "Scale the application, or lower its load.",
    )
    SHED_ALL = FaultSpec(
        "316-SHED-ALL", "everything shed", P0, I, _ENV,
        503, 503, 14, None, "UDO",
        Replay.ALL_LATER, _PROXY, False,
        "A rule drops every request.",
        "Was the rule meant?",
    )
    DRAINING = FaultSpec(
        "316-DRAINING", "proxy draining", P3, I, _ENV,
        503, 503, 14, None, None,
        Replay.ALL, _PROXY, False,
        "The pod is ending, and takes no new work.",
        "Nothing: this is normal in a rollout.",
    )
    CLIENT_ABORT = FaultSpec(
        "316-CLIENT-ABORT", "client left", P3, N, _LOAD,
        499, 499, 1, None, "DC",
        Replay.NEVER, _CLIENT, False,
        "The client closed its connection before the response was whole.",
        "Its time limit is shorter than ours, or somebody gave up.",
    )
    CLIENT_RESET = FaultSpec(
        "316-CLIENT-RESET", "client reset its stream", P3, N, _LOAD,
        499, 499, 1, None, "DR",
        Replay.NEVER, _CLIENT, False,
        "The client reset its stream before the response was whole.",
        "Its time limit is shorter than ours, or somebody gave up.",
    )
    OP_FAIL = FaultSpec(
        "316-OP-FAIL", "bug in the proxy", P0, I, _ENV,
        500, 500, 13, "proxy_internal_error", None,
        Replay.IDEMPOTENT, _PROXY, False,
        "An unexpected exception in the proxy itself.",
        "Report it, with its fault id.",
    )
    PROXY_LOOP = FaultSpec(
        "316-PROXY-LOOP", "proxy loop", P0, I, _ENV,
        502, 502, 13, "proxy_loop_detected", None,
        Replay.NEVER, _PROXY, False,
        "The request came back to the proxy that sent it.",
        "Check the user-id exclusion of the interception, and the upstream's address.",
    )
    UPSTREAM_5XX = FaultSpec(
        "316-UPSTREAM-5XX", "application error", P1, A, _ENV,
        0, 0, 2, None, None,
        Replay.BY_LIST, _UPSTREAM, True,
        "The application answered with a 5xx status.",
        "Read the application's log: the answer is its own.",
    )
    DB_CONN_ERR = FaultSpec(
        "316-DB-CONN-ERR", "database connection failed", P1, D, _ENV,
        502, 503, 14, None, None,
        Replay.ALL, _UPSTREAM, True,
        "The database refused or dropped the connection.",
        "Look at its pool and its limit of connections.",
    )
    MEM_PRESSURE = FaultSpec(
        "316-MEM-PRESSURE", "memory short", P1, I, _LOAD,
        503, 503, 8, None, None,
        Replay.ALL_LATER, _PROXY, False,
        "Resident memory is over 80 % of the limit: new work is shed.",
        "Raise the memory limit, or lower caps and buffers.",
    )
    LOCK_STALL = FaultSpec(
        "316-LOCK-STALL", "event loop stalled", P1, A, _LOAD,
        503, 503, 14, None, None,
        Replay.NEVER, _PROXY, False,
        "The event loop did not turn for over 100 ms.",
        "See the stack in the record: something held the loop, or the CPU is throttled.",
    )
    LOCK_SUSPECT = FaultSpec(
        "316-LOCK-SUSPECT", "application seems deadlocked", P1, A, _LOAD,
        504, 504, 4, None, None,
        Replay.NEVER, _UPSTREAM, True,
        "The application accepts connections, but has answered nothing at all for longer than the route's time.",
        "Take a stack dump of the application: a deadlock, or a worker pool used up.",
    )
    POOL_PRESSURE = FaultSpec(
        "316-POOL-PRESSURE", "pool nearly used up", P2, I, _LOAD,
        503, 503, 8, None, None,
        Replay.ALL_LATER, _PROXY, False,
        "Over 80 % of an upstream's connections are in use.",
        "Raise the cap, or find the slow handler that holds them.",
    )
    CONFIG_REJECTED = FaultSpec(
        "316-CONFIG-REJECTED", "reload refused", P1, I, _ENV,
        500, 500, 13, None, None,
        Replay.NEVER, _PROXY, False,
        "A new configuration did not validate; the last good one stays.",
        "Run `sidecar check` on the file.",
    )
    OTHER = FaultSpec(
        "316-OTHER", "other application code", P2, A, _ENV,
        0, 0, 2, None, None,
        Replay.BY_LIST, _UPSTREAM, False,
        "An application's code beyond those that are kept as labels.",
        "Look at the log for the codes themselves.",
    )

    # fmt: on


ENVOY_FLAGS: Mapping[str, FaultCode | None] = MappingProxyType(
    {
        **{code.spec.envoy_flag: code for code in FaultCode if code.spec.envoy_flag},
        "RFCF": None,  # Served from a cache: an attribute, not a failure.
    }
)

PROXY_ERRORS: Mapping[str, FaultCode | None] = MappingProxyType(
    {
        **{code.spec.proxy_error: code for code in FaultCode if code.spec.proxy_error},
        # Types that several codes share, or that have a narrower twin.
        "destination_unavailable": FaultCode.UPSTREAM_UNHEALTHY,
        "http_response_header_size": FaultCode.DATA_RESP_HEADER_SIZE,
        "http_response_trailer_size": FaultCode.DATA_RESP_TRAILER_SIZE,
        "proxy_internal_response": None,  # A direct response or redirect.
    }
)

_SHARED_PROXY_ERRORS = {
    FaultCode.UPSTREAM_UNKNOWN: "proxy_configuration_error",
    FaultCode.UPSTREAM_UNHEALTHY: "destination_unavailable",
    FaultCode.LOCAL_UNHEALTHY: "destination_unavailable",
    FaultCode.CONN_ERR: "connection_refused",
    FaultCode.CONN_STALE: "connection_terminated",
    FaultCode.CONN_RESET: "connection_terminated",
    FaultCode.CONN_REFUSED_STREAM: "connection_terminated",
    FaultCode.CONN_LOCAL_RESET: "connection_terminated",
    FaultCode.CIRCUIT_OPEN: "destination_unavailable",
    FaultCode.TIMEOUT_TRY: "http_response_timeout",
    FaultCode.TIMEOUT_STREAM_MAX: "http_response_timeout",
    FaultCode.TIMEOUT_IDLE: "http_response_timeout",
    FaultCode.TIMEOUT_CONN_AGE: "http_response_timeout",
    FaultCode.CLIENT_SLOW: "http_request_error",
    FaultCode.DEADLINE_EXPIRED: "http_response_timeout",
    FaultCode.RETRY_EXHAUSTED: "destination_unavailable",
    FaultCode.RETRY_BUDGET: "destination_unavailable",
    FaultCode.PROTO_CONTROL_HEADER: "http_request_error",
    FaultCode.DATA_REQ_SIZE: "http_request_error",
    FaultCode.RATE_LIMITED: "http_request_denied",
    FaultCode.POLICY_RATELIMIT_BACKEND: "proxy_internal_error",
    FaultCode.FAULT_DELAY: "proxy_internal_response",
    FaultCode.FAULT_ABORT: "proxy_internal_response",
    FaultCode.OVERLOAD: "connection_limit_reached",
    FaultCode.SHED: "destination_unavailable",
    FaultCode.SHED_ALL: "destination_unavailable",
    FaultCode.DRAINING: "destination_unavailable",
    FaultCode.MEM_PRESSURE: "destination_unavailable",
    FaultCode.LOCK_SUSPECT: "http_response_timeout",
    FaultCode.DB_CONN_ERR: "connection_refused",
}
_SHARED_BY_CODE = {code.spec.code: kind for code, kind in _SHARED_PROXY_ERRORS.items()}

_BY_NAME = MappingProxyType({code.spec.code: code for code in FaultCode})
_WELL_FORMED = re.compile(r"316-[A-Z0-9]+(?:-[A-Z0-9]+)*")
_MAX_CODE_CHARS = 64
_FAMILIES = {
    **dict.fromkeys(("CONN", "DNS", "TLS", "TIMEOUT"), N),
    **dict.fromkeys(("DB", "DATA", "CACHE"), D),
    **dict.fromkeys(("MEM", "POOL", "DISK", "CPU"), I),
}


def proxy_error_of(spec: FaultSpec) -> str | None:
    """Return the RFC 9209 error type to tell with `spec`, if there is one."""
    return spec.proxy_error or _SHARED_BY_CODE.get(spec.code)


def find(code: str) -> FaultCode | None:
    """Return the entry called `code`, e.g. "316-CONN-REFUSED"."""
    return _BY_NAME.get(code)


def application_spec(code: str) -> FaultSpec | None:
    """Return the entry for a code that an application gave itself.

    Returns:
        None when it is not well-formed. A name of the catalogue keeps its
        severity and layer; of any other the first word tells the layer.
    """
    if len(code) > _MAX_CODE_CHARS or _WELL_FORMED.fullmatch(code) is None:
        return None
    known = _BY_NAME.get(code)
    family = code.split("-")[1]
    return FaultSpec(
        code,
        known.spec.title if known else "named by the application",
        known.spec.severity if known else P1,
        known.spec.layer if known else _FAMILIES.get(family, A),
        known.spec.trigger if known else _ENV,
        0, 0, 2, None, None,
        Replay.BY_LIST, _UPSTREAM, False,
        "The application named this failure itself.",
        "Read the application's log for this code.",
    )  # fmt: skip


class ProxyFault(Exception):  # noqa: N818 - a fault is what this project calls it
    """A request, or an attempt, failed for a known reason.

    Args:
        code: Its name, and everything that follows from it.
        detail: For people: logged, and shown where the configuration allows.
        phase: How far the attempt had come.
        processed: Whether the application may have acted on the request.
        timeout: Which limit of time was reached, if one was.
        retry_after_s: When trying again makes sense.
        status: Instead of the status of the entry (414 for a long target).
    """

    def __init__(
        self,
        code: FaultCode,
        detail: str,
        *,
        phase: Phase = Phase.REQUEST,
        processed: Processed = Processed.NO,
        timeout: TimeoutKind | None = None,
        retry_after_s: float | None = None,
        status: int = 0,
    ) -> None:
        super().__init__(f"{code.spec.code}: {detail}")
        self.code = code
        self.spec = code.spec
        self.detail = detail
        self.phase = phase
        self.processed = processed
        self.timeout = timeout
        self.retry_after_s = retry_after_s
        self.status = status or code.spec.status
