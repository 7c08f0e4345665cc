"""Answering what never became a request: malformed, too slow, too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.faults.render import ReplyRequest, render
from sidecar.model import Fault, Outcome, TraceContext

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.runtime import Runtime


def refuse(runtime: Runtime, client: ClientConnection, fault: ProxyFault) -> None:
    """Write the answer for `fault` to `client`, and record it."""
    snapshot, clock = runtime.snapshot, runtime.clock
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
