"""What is sent upstream in place of the head that came: the same, but for a few lines.

request line, kept lines, Via, X-Forwarded-*     the same for every attempt
x-request-id, traceparent, x-316-*               written for each attempt
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Phase, Processed
from sidecar.route import rewrite
from sidecar.time_limits import NEVER_S
from sidecar.wire.fields import is_switch_asked, request_section
from sidecar.wire.trace_context import attempt_span_id

if TYPE_CHECKING:
    from random import Random

    from sidecar.accept.request_body import RequestBody
    from sidecar.model import RequestHead, ResponseHead, TraceContext
    from sidecar.route.table import Found
    from sidecar.settings.snapshot import Upstream
    from sidecar.wire.fields import Hop

_MAX_REQUEST_ID_BYTES: Final = 128
_SLASH: Final = ord("/")
_MAX_GRPC_MS: Final = 99_999_999  # Eight digits.


def request_id(head: RequestHead, trace: TraceContext, rng: Random) -> bytes:
    """Return the caller's request id, or a new one."""
    named = head.named
    if b"x-request-id" in named:
        given = named[b"x-request-id"]
        if 0 < len(given) <= _MAX_REQUEST_ID_BYTES:
            return given
    if trace.parent_id:
        return b"%032x" % rng.getrandbits(128)
    return b"%032x" % trace.trace_id  # It began here, so it is this request's alone.


def common_lines(
    head: RequestHead, hop: Hop, found: Found, upstream: Upstream
) -> bytes:
    """Return request line and fields that are the same for every attempt."""
    route = found.route
    host = route.rewrite.host
    if host is None:
        if head.named.get(b"host") != head.authority:
            # That of the absolute form (RFC 9112, 3.2.2), or HTTP/1.0 has none.
            host = head.authority or upstream.authority
    elif not host:
        host = upstream.authority
    edits = route.request_edits
    if not head.minor and b"expect" in head.named:  # RFC 9110, 10.1.1: it has none.
        edits = replace(edits, remove=edits.remove | {b"expect"})
    section = request_section(head, hop, host, edits)
    if head.minor == 1 and head.target[0] == _SLASH and not route.rewrite.is_of_target:
        return head.line + section
    target = rewrite.target(head, route.rewrite, found.prefix_bytes)
    return b"%b %b HTTP/1.1\r\n%b" % (head.method.encode(), target, section)


def check_switch(
    head: RequestHead, answer: ResponseHead, body: RequestBody | None
) -> None:
    """Refuse a 101 that leaves it open what the next bytes mean (RFC 9110, 7.8).

    Raises:
        ProxyFault: Nobody asked for it, or the request is still on its way.
    """
    if not is_switch_asked(head.upgrade, answer.named.get(b"upgrade", b"")):
        detail = "101 to something that the request did not ask for"
        if head.upgrade is None:
            detail = "101 to a request without Upgrade"
    elif body is not None and not body.is_complete:
        detail = "101 before the request was whole"
    else:
        return
    raise ProxyFault(
        FaultCode.PROTO_UPSTREAM,
        detail,
        phase=Phase.HEADERS,
        processed=Processed.YES,
    )


def head_of_attempt(
    common: bytes,
    request_id: bytes,
    trace: TraceContext,
    n: int,
    left_s: float,
    *,
    is_grpc_timed: bool = False,
) -> bytes:
    """Return the whole head of attempt `n`.

    Args:
        common: What `common_lines` returned.
        request_id: Of the request.
        trace: Of the request.
        n: From 1.
        left_s: How long the request may still take; infinity: no limit is told.
        is_grpc_timed: The caller's limit came as grpc-timeout, and goes on as that.
    """
    last = b""
    if left_s != NEVER_S:
        left_ms = int(left_s * 1000)
        left_ms = left_ms if left_ms > 0 else 1
        last = b"x-316-deadline-ms: %d\r\n" % left_ms
        if is_grpc_timed:
            last += b"grpc-timeout: %dm\r\n" % min(left_ms, _MAX_GRPC_MS)
    if trace.state:
        last += b"tracestate: %b\r\n" % trace.state
    return (
        b"%bx-request-id: %b\r\ntraceparent: 00-%032x-%016x-%02x\r\n"
        b"x-316-attempt: %d\r\n%b\r\n"
        % (
            common,
            request_id,
            trace.trace_id,
            attempt_span_id(trace, n),
            trace.sampled,
            n,
            last,
        )
    )
