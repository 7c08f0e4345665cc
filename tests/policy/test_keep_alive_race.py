"""Which attempt that failed may be made again: the twelve cases of the race.

A connection that was kept alive may be closed by the other side at the very moment
when a request is written to it. Whether the request may be sent again depends on
what is known of its fate. Each row is a situation; the columns are the presets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import pytest

from sidecar.faults.catalogue import FaultCode
from sidecar.model import Processed
from sidecar.policy.retry import (
    PRESETS,
    Condition,
    Retry,
    RetryRules,
    StopReason,
    Trial,
    decide,
    is_refusal,
)

ANY = frozenset(("GET", "POST"))
GET = frozenset(("GET",))
NONE = frozenset[str]()
RULES = {name: RetryRules(preset=name, on=on) for name, on in PRESETS.items()}


@dataclass(frozen=True)
class Row:
    """A situation, and which methods are sent again under which preset."""

    name: str
    fault: FaultCode | None
    status: int
    processed: Processed
    safe: frozenset[str]
    idempotent: frozenset[str]
    on: Condition | None  # That which alone asks for another attempt.

    def trial(self, method: str) -> Trial:
        """Return the first attempt of a request that met this."""
        return Trial(method, 0, self.fault, self.status, self.processed, 10.0)


def failed(name: str, code: str, on: Condition, *, sent: bool = False) -> Row:
    """Return a row of a connection that failed, after `sent` or before."""
    processed = Processed.UNKNOWN if sent else Processed.NO
    methods = GET if sent else ANY
    return Row(name, FaultCode[code], 0, processed, methods, methods, on)


def refused(name: str, status: int) -> Row:
    """Return a row of an answer that says that nothing was done."""
    return Row(name, None, status, Processed.NO, ANY, ANY, Condition.REFUSED)


def answered(
    name: str, status: int, on: Condition | None, idempotent: frozenset[str]
) -> Row:
    """Return a row of an answer that tells nothing."""
    return Row(name, None, status, Processed.UNKNOWN, NONE, idempotent, on)


ROWS = [
    failed("1 no such name", "DNS_ERR", Condition.CONNECT_FAILURE),
    failed("1 name server silent", "DNS_TIMEOUT", Condition.CONNECT_FAILURE),
    failed("1 refused", "CONN_REFUSED", Condition.CONNECT_FAILURE),
    failed("1 connect timeout", "CONN_TIMEOUT", Condition.CONNECT_FAILURE),
    failed("1 no way there", "DEST_UNROUTABLE", Condition.CONNECT_FAILURE),
    failed("1 no TLS", "TLS_PROTO", Condition.CONNECT_FAILURE),
    failed("2 found closed", "CONN_STALE", Condition.CONNECT_FAILURE),
    failed("2 nothing accepted", "CONN_STALE", Condition.RESET),
    failed("3 head not written", "CONN_RESET", Condition.REFUSED),
    failed("3 head not written, FIN", "CONN_TERMINATED", Condition.RESET),
    failed("4 reused, then closed", "CONN_STALE", Condition.RESET, sent=True),
    failed("5 fresh, then reset", "CONN_RESET", Condition.RESET, sent=True),
    failed("5 fresh, then closed", "CONN_TERMINATED", Condition.RESET, sent=True),
    failed("6 refused stream", "CONN_REFUSED_STREAM", Condition.REFUSED),
    refused("7 too early", 425),
    refused("8 a peer's word, 503", 503),
    refused("8 a peer's word, 429", 429),
    refused("9 408 in place of an answer", 408),
    Row("10 per-try timeout", FaultCode.TIMEOUT_TRY, 0, Processed.UNKNOWN,
        NONE, GET, Condition.PER_TRY_TIMEOUT),
    answered("11 the app's 502", 502, Condition.GATEWAY_ERROR, GET),
    answered("11 the app's 503", 503, Condition.GATEWAY_ERROR, GET),
    answered("11 the app's 504", 504, Condition.SERVER_ERROR, GET),
    answered("11 the app's 500", 500, Condition.SERVER_ERROR, NONE),
    answered("11 the app's 429", 429, None, NONE),
    answered("9 the app's own 408", 408, None, NONE),
    Row("12 truncated", FaultCode.DATA_TRUNCATED, 200, Processed.YES, NONE, NONE, None),
]  # fmt: skip
each_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
each_method = pytest.mark.parametrize("method", ["GET", "POST"])


def is_retried(rules: RetryRules, row: Row, method: str) -> bool:
    return isinstance(decide(rules, row.trial(method), Random(1)), Retry)


@each_row
@each_method
def test_safe(row: Row, method: str) -> None:
    """What is proven unprocessed, by any method; a lost connection if idempotent."""
    assert is_retried(RULES["safe"], row, method) == (method in row.safe)


@each_row
@each_method
def test_idempotent(row: Row, method: str) -> None:
    """The same, and gateway errors and per-try timeouts of idempotent methods."""
    assert is_retried(RULES["idempotent"], row, method) == (method in row.idempotent)


@each_row
@each_method
def test_off(row: Row, method: str) -> None:
    assert decide(RULES["off"], row.trial(method), Random(1)) is StopReason.OFF


@each_row
@each_method
def test_custom_with_the_one_condition(row: Row, method: str) -> None:
    """The one condition suffices, and does not widen the methods."""
    on = frozenset(() if row.on is None else (row.on,))
    methods = ANY if row.processed is Processed.NO else GET
    expected = row.on is not None and method in methods
    assert is_retried(RetryRules("custom", on=on), row, method) == expected


@each_row
@each_method
def test_custom_with_a_list_of_statuses(row: Row, method: str) -> None:
    """A status in the list is enough for what is idempotent; nothing else is."""
    rules = RetryRules("custom", on=frozenset(), codes=frozenset((429, 500, 503)))
    expected = row.fault is None and row.status in rules.codes and method == "GET"
    assert is_retried(rules, row, method) == expected


@each_row
def test_custom_may_name_other_methods(row: Row) -> None:
    """The operator knows that this POST may be repeated, and that this GET may not."""
    rules = RetryRules("custom", on=PRESETS["idempotent"], methods=frozenset(("POST",)))
    assert is_retried(rules, row, "POST") == bool(row.idempotent)
    assert is_retried(rules, row, "GET") == (row.idempotent == ANY)


@each_row
def test_a_key_makes_a_post_idempotent_where_the_route_says_so(row: Row) -> None:
    trial = replace(row.trial("POST"), has_idempotency_key=True)
    for rules in (
        RetryRules("idempotent", on=PRESETS["idempotent"], idempotency_key=opted_in)
        for opted_in in (False, True)
    ):
        methods = row.idempotent
        expected = bool(methods) if rules.idempotency_key else "POST" in methods
        assert isinstance(decide(rules, trial, Random(1)), Retry) == expected


def test_a_key_makes_nothing_else_idempotent() -> None:
    """A PUT that the route does not list stays unlisted."""
    rules = RetryRules("custom", methods=GET, idempotency_key=True)
    for method, reason in (("PUT", StopReason.METHOD), ("PATCH", None)):
        fault = FaultCode.CONN_RESET
        trial = Trial(method, 0, fault, 0, Processed.UNKNOWN, 10.0)
        decision = decide(rules, replace(trial, has_idempotency_key=True), Random(1))
        assert isinstance(decision, Retry) if reason is None else decision is reason


@pytest.mark.parametrize(
    ("status", "is_first_on_reused", "expected"),
    [(425, False, True), (408, True, True), (408, False, False), (503, True, False)],
)
def test_answers_that_prove_by_themselves_that_nothing_was_done(
    status: int, *, is_first_on_reused: bool, expected: bool
) -> None:
    assert is_refusal(status, is_first_on_reused=is_first_on_reused) == expected


@each_method
def test_too_early_is_repeated_once(method: str) -> None:
    trial = Trial(method, 1, None, 425, Processed.NO, 10.0)
    assert decide(RULES["safe"], trial, Random(1)) is StopReason.NOT_RETRIABLE


@each_method
def test_too_early_for_early_data_is_the_callers_business(method: str) -> None:
    """RFC 8470, 5.2: who forwarded Early-Data has to forward the 425."""
    trial = Trial(method, 0, None, 425, Processed.NO, 10.0, has_early_data=True)
    rules = RetryRules("custom", codes=frozenset((425,)))
    for each in (RULES["safe"], rules):
        assert decide(each, trial, Random(1)) is StopReason.NOT_RETRIABLE


@pytest.mark.parametrize(
    ("fault", "status", "processed", "needs_fresh"),
    [
        (FaultCode.CONN_STALE, 0, Processed.NO, True),
        (FaultCode.CONN_STALE, 0, Processed.UNKNOWN, True),
        (None, 408, Processed.NO, True),
        (None, 503, Processed.NO, False),
    ],
)
def test_what_the_race_hit_gets_a_fresh_connection(
    fault: FaultCode | None, status: int, processed: Processed, *, needs_fresh: bool
) -> None:
    """Another idle one may be dead in the same way."""
    trial = Trial("GET", 0, fault, status, processed, 10.0)
    decision = decide(RULES["safe"], trial, Random(1))
    assert isinstance(decision, Retry)
    assert decision.needs_fresh_connection == needs_fresh
