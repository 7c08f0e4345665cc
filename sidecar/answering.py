"""What a client gets when this proxy answers itself, and what is told of a request.

answer             a failure, as far as it can still be told
tags_of            names for a failure that the application's answer tells of
is_answered_here   TRACE and OPTIONS whose last hop this is
outcome_of         one value of all that happened, for whoever records it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar import max_forwards, telling
from sidecar.faults.catalogue import FaultCode
from sidecar.faults.render import LocalReply, tag_fields
from sidecar.model import Outcome

if TYPE_CHECKING:
    from sidecar.attempt import Try
    from sidecar.exchange import Exchange
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.model import Fields

_CLIENT_GONE: Final = 499


def answer(exchange: Exchange, fault: ProxyFault) -> None:
    """Tell the client of a failure, as far as it can still be told."""
    attempt, writer, head = exchange.under_way, exchange.writer, exchange.head
    if (
        attempt is not None
        and attempt.fault is None
        and (
            attempt.head is None
            or (fault.timeout is not None and not exchange.client.is_full)
        )
    ):  # A client that is full held the upstream back: no fault of the attempt.
        attempt.fault = fault
    if fault.limit is not None:
        exchange.runtime.recorder.limit_hit(fault.limit)
    fault_id = exchange.runtime.new_fault_id()
    exchange.fault = telling.of_fault(fault, exchange.attempts, fault_id)
    if exchange.client.is_gone or fault.spec.status == _CLIENT_GONE:
        writer.keep_alive = False
        exchange.status = exchange.status or _CLIENT_GONE
        return
    if writer.has_begun:
        writer.abort(at_once=fault.code is FaultCode.CLIENT_SLOW)
        return
    if exchange.body is not None and not exchange.body.is_complete:
        writer.keep_alive = False
    accept, kind = head.named.get(b"accept", b""), head.named.get(b"content-type", b"")
    reply = exchange.runtime.reply_to(exchange.fault, fault.status, accept, kind)
    if telling.is_exhausting(fault.code):
        reply.fields.append(telling.EXHAUSTED)
    exchange.status = reply.status
    writer.reply(reply, head.method, exchange.runtime.dated_via())


def tags_of(exchange: Exchange, answered: Try, tries: int) -> Fields:
    """Name the failure that an application's answer tells of, if it does."""
    head, reason = answered.head, exchange.retry_skipped
    assert head is not None  # noqa: S101 - for the type checker
    if telling.has_malformed_code(head):
        exchange.runtime.recorder.malformed_code()
    fault = telling.of_answer(head, tries, reason, exchange.runtime.new_fault_id)
    if fault is None:
        return []
    exchange.fault = fault
    fields = tag_fields(fault, head.status)
    if telling.is_exhausted(tries, reason):
        fields.append(telling.EXHAUSTED)
    return fields


def is_answered_here(exchange: Exchange) -> bool:
    """Count this hop of a TRACE or OPTIONS, and answer if it was the last."""
    writer, body = exchange.writer, exchange.body
    can_go_on, writer.keep_alive = writer.keep_alive, False  # If it is refused.
    settled = max_forwards.settle(exchange.head)
    if isinstance(settled, LocalReply):
        writer.keep_alive = can_go_on and (body is None or body.is_complete)
        exchange.status = settled.status
        writer.reply(settled, exchange.head.method, exchange.runtime.dated_via())
        return True
    exchange.head = settled
    writer.keep_alive = can_go_on
    return False


def outcome_of(exchange: Exchange, now_s: float) -> Outcome:
    """Return all that is told of a request that has ended."""
    head, client, found = exchange.head, exchange.client, exchange.found
    recorder = exchange.runtime.recorder
    return Outcome(
        client.listener,
        "" if found is None else found.route.name,
        "" if found is None else found.route.upstream,
        head.method,
        head.path,
        "" if found is None else found.template,
        head.authority,
        client.peer,
        exchange.status,
        exchange.fault,
        exchange.start_s,
        exchange.start_wall_ns,
        now_s - exchange.start_s,
        0 if exchange.body is None else exchange.body.count_bytes,
        exchange.writer.count_bytes,
        exchange.attempts,
        exchange.retry_skipped,
        exchange.trace,
        exchange.request_id.decode("latin-1"),
        exchange.tunnel is not None,
        recorder.headers_of(head.named) if recorder.fault_headers else (),
    )
