"""Answering what never became a request: malformed, too slow, too many.

refuse              one of them, like a request that failed
refuse_in_a_flood   one of very many
outcome_of_nobody   what is recorded of it
"""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, Final

from sidecar.model import Fault, Outcome
from sidecar.wire import trace_context

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
    reply = runtime.reply_to(named, fault.status)
    if not client.is_gone and not client.transport.is_closing():
        client.writer.begin(1, keep_alive=False)
        client.writer.reply(reply, "", runtime.dated_via())
    outcome = outcome_of_nobody(runtime, client.listener, client.peer, named)
    outcome.status, outcome.response_bytes = reply.status, len(reply.body)
    runtime.recorder.record(outcome)


def outcome_of_nobody(
    runtime: Runtime, listener: str, peer: str, fault: Fault
) -> Outcome:
    """Return what is known where no request could be read."""
    clock, trace = runtime.clock, trace_context.begin({}, runtime.rng, 0.0)
    return Outcome(
        listener, "", "", "_OTHER", b"", "", b"", peer,
        fault.spec.status, fault, clock.now_s(), clock.wall_ns(), 0.0,
        0, 0, (), "", trace, "", False,
    )  # fmt: skip
