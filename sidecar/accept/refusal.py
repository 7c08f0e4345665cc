"""Answering what never became a request: malformed, too slow, too many."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, Final

from sidecar.faults.render import ReplyRequest, render
from sidecar.model import Fault, Outcome, TraceContext

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.runtime import Runtime


_FLOODED: Final = (
    b"HTTP/1.1 %d %b\r\nContent-Length: 0\r\nRetry-After: 1\r\n"
    b"x-316-code: %b\r\nx-316-processed: no\r\nConnection: close\r\n\r\n"
)


def refuse_in_a_flood(
    runtime: Runtime, client: ClientConnection, fault: ProxyFault
) -> None:
    """Answer and count one of very many that are refused alike, at a tenth the cost.

    Thousands may come in one turn of the loop. The first ones have told all.
    """
    if fault.limit is not None:
        runtime.recorder.limit_hit(fault.limit)
    spec, reason = fault.spec, http.HTTPStatus(fault.status).phrase
    runtime.recorder.store.count_fault(spec.code, spec.severity.name, "", "")
    values = fault.status, reason.encode(), spec.code.encode()
    client.transport.write(_FLOODED % values)


def refuse(runtime: Runtime, client: ClientConnection, fault: ProxyFault) -> None:
    """Write the answer for `fault` to `client`, and record it."""
    snapshot, clock = runtime.snapshot, runtime.clock
    if fault.limit is not None:
        runtime.recorder.limit_hit(fault.limit)
    named = Fault(
        fault.spec,
        runtime.new_fault_id(),
        fault.spec.origin,
        fault.phase,
        fault.processed,
        fault.detail,
        fault.timeout,
        fault.retry_after_s,
    )
    asked = ReplyRequest(b"", b"", snapshot.status_profile, snapshot.expose)
    reply = render(named, fault.status, asked)
    if not client.is_gone and not client.transport.is_closing():
        client.writer.begin(1, keep_alive=False)
        client.writer.reply(reply, "", runtime.dated_via())
    trace = TraceContext(
        runtime.rng.getrandbits(128) or 1,
        0,
        runtime.rng.getrandbits(64) or 1,
        False,
        b"",
    )
    runtime.recorder.record(
        Outcome(
            client.listener, "", "", "_OTHER", b"", "", b"", client.peer,
            reply.status, named, clock.now_s(), clock.wall_ns(), 0.0,
            0, len(reply.body), (), "", trace, "", False,
        )
    )  # fmt: skip
