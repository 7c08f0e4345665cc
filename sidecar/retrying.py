"""Whether an attempt is made again: what is known of it, put to the policy.

The policy decides on plain values (`policy.retry`); here they are gathered. It
is asked only about what did not succeed, so what it costs does not matter much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar import standing
from sidecar.model import Processed
from sidecar.policy.retry import (
    REFUSALS,
    Retry,
    StopReason,
    Trial,
    decide,
    is_refusal,
    parse_retry_after,
)

if TYPE_CHECKING:
    from sidecar.attempt import Try
    from sidecar.exchange import Exchange
    from sidecar.faults.catalogue import ProxyFault

_NAMES: Final = frozenset((b"x-316-code", b"x-316-processed"))  # They can change that.


def ask(
    exchange: Exchange, attempt: Try, fault: ProxyFault | None
) -> Retry | StopReason:
    """Return the next attempt, paid for by the budget, or why there is none."""
    route = attempt.route
    if fault is None and _is_plain_answer(attempt):
        return StopReason.NOT_RETRIABLE
    trial = trial_of(exchange, attempt, fault)
    decision = decide(route.route.retry, trial, exchange.runtime.rng)
    if not isinstance(decision, Retry):
        return decision
    if exchange.runtime.admission.refuses_retries:
        return StopReason.OVERLOAD
    budget = route.upstream.budget
    if exchange.is_budget_taken:  # By the attempt that has just failed.
        budget.retry_ended()
        exchange.is_budget_taken = False
    if (
        trial.processed is Processed.NO
        and trial.has_other_endpoint
        and standing.is_redirect(attempt)
    ):
        return decision
    exchange.is_budget_taken = budget.try_withdraw(exchange.runtime.clock.now_s())
    return decision if exchange.is_budget_taken else StopReason.BUDGET


def trial_of(exchange: Exchange, attempt: Try, fault: ProxyFault | None) -> Trial:
    """Gather what the retry policy looks at."""
    head, body, clock = exchange.head, exchange.body, exchange.runtime.clock
    answer = attempt.head if fault is None else None
    named = {} if answer is None else answer.named
    retry_after_s = None
    if b"retry-after" in named:
        retry_after_s = parse_retry_after(named[b"retry-after"], clock.wall_ns() / 1e9)
    is_peer = attempt.route.upstream.settings.is_peer
    return Trial(
        head.method,
        attempt.n - 1,
        None if fault is None else fault.code,
        0 if answer is None else answer.status,
        _processed(attempt) if fault is None else fault.processed,
        exchange.limits.left_s,
        is_body_replayable=body is None or body.is_replayable,
        is_upgrade=head.upgrade is not None,
        is_client_gone=exchange.client.is_gone,
        has_response_started=exchange.writer.has_begun,
        has_idempotency_key=b"idempotency-key" in head.named,
        is_marked_retry=exchange.client.is_trusted
        and head.named.get(b"x-316-attempt", b"1") != b"1",
        has_other_endpoint=_has_untried_endpoint(exchange, attempt),
        is_exhausted_below=is_peer and named.get(b"x-316-retry") == b"exhausted",
        has_early_data=b"early-data" in head.named,
        app_code=named.get(b"x-316-code", b"").decode("latin-1"),
        retry_after_s=retry_after_s,
        connect_p50_s=attempt.route.upstream.connect_times.p50_s,
    )


def is_outdated(answered: Try, fault: ProxyFault) -> bool:
    """Tell whether an answer says "not processed", but a later try may have been.

    Who reads it would send the request again.
    """
    return fault.processed is not Processed.NO and _processed(answered) is Processed.NO


def _is_plain_answer(attempt: Try) -> bool:
    """Tell whether no rule could ask for this answer again: a 404, say."""
    head = attempt.head
    return (
        head is not None
        and head.status not in attempt.route.route.retry.statuses
        and head.status not in REFUSALS
        and _NAMES.isdisjoint(head.named)
    )


def _has_untried_endpoint(exchange: Exchange, attempt: Try) -> bool:
    tried = {record.endpoint for record in exchange.attempts}
    if attempt.endpoint is not None:
        tried.add(attempt.endpoint.name)
    return any(e.name not in tried for e in attempt.route.upstream.pool.endpoints)


def _processed(attempt: Try) -> Processed:
    """Tell whether the application may have acted, given its answer."""
    head = attempt.head
    if head is None:
        return Processed.UNKNOWN
    is_peer = attempt.route.upstream.settings.is_peer
    if is_peer and head.named.get(b"x-316-processed") == b"no":
        return Processed.NO
    is_first = attempt.is_reused and not attempt.has_interim
    if is_refusal(head.status, is_first_on_reused=is_first):
        return Processed.NO
    return Processed.UNKNOWN
