"""The end of an attempt, and of an exchange: give back what was taken, and record.

end_try   an attempt is over, but another one follows
leave     all is over
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.answering import outcome_of
from sidecar.wire import trace_context

if TYPE_CHECKING:
    from sidecar.attempt import Try
    from sidecar.exchange import Exchange
    from sidecar.runtime import RouteState


def end_try(exchange: Exchange, attempt: Try) -> None:
    """An attempt is over, but another one follows."""
    now_s = exchange.runtime.clock.now_s()
    exchange.under_way = None
    attempt.is_followed = True
    attempt.close(now_s)
    _keep(exchange, attempt, now_s)
    exchange.meeting.forget()
    exchange.limits.on_attempt_over()


def leave(exchange: Exchange) -> None:
    """Give back all that was taken, and record."""
    now_s = exchange.runtime.clock.now_s()
    attempt, exchange.under_way = exchange.under_way, None
    if attempt is not None:
        attempt.close(now_s)
    if exchange.meeting.interruption is not None:
        exchange.meeting.forget()
    route = exchange.route
    if route is not None:
        _give_back(exchange, route)
    if exchange.body is not None:
        exchange.body.discard()
    if (
        route is None
        or exchange.fault is not None
        or not _is_plain(exchange, route, now_s)
    ):
        _keep(exchange, attempt, now_s)
        exchange.runtime.recorder.record(outcome_of(exchange, now_s))


def _give_back(exchange: Exchange, route: RouteState) -> None:
    upstream = route.upstream
    route.in_flight -= 1
    if exchange.has_slot:
        upstream.requests.leave()
        exchange.runtime.in_flight -= 1
        upstream.budget.request_ended()
    if exchange.is_budget_taken:
        upstream.budget.retry_ended()
    if exchange.is_uploading:
        upstream.uploads.leave()
    upstream.stalled.resumed(exchange)


def _is_plain(exchange: Exchange, route: RouteState, now_s: float) -> bool:
    """Tell whether it was enough to count this success."""
    body = exchange.body
    return not exchange.trace.sampled and exchange.runtime.recorder.count_plain(
        route.route.name,
        exchange.head.method,
        exchange.status,
        now_s - exchange.start_s,
        0 if body is None else body.count_bytes,
        exchange.writer.count_bytes,
    )


def _keep(exchange: Exchange, attempt: Try | None, now_s: float) -> None:
    """Keep what is to be told of an attempt."""
    if attempt is not None:
        span_id = trace_context.attempt_span_id(exchange.trace, attempt.n)
        exchange.attempts += (attempt.record(now_s, span_id),)
