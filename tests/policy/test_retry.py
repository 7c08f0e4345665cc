"""Limits of retries: each reason to stop, how long to wait, and what never happens."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode
from sidecar.faults.spec import Replay
from sidecar.model import Processed
from sidecar.policy.backoff import Backoff
from sidecar.policy.retry import (
    IDEMPOTENT,
    PRESETS,
    Condition,
    Retry,
    RetryRules,
    StopReason,
    Trial,
    decide,
    parse_retry_after,
)

RULES = RetryRules("idempotent", on=PRESETS["idempotent"])
REFUSED = Trial("GET", 0, FaultCode.CONN_REFUSED, 0, Processed.NO, 10.0)
RESET = Trial("GET", 0, FaultCode.CONN_RESET, 0, Processed.UNKNOWN, 10.0)
FAILED = Trial("GET", 0, None, 503, Processed.UNKNOWN, 10.0)
TURNED_AWAY = Trial("POST", 0, None, 503, Processed.NO, 10.0)


def stop(trial: Trial, rules: RetryRules = RULES) -> StopReason | None:
    """Return why there is no retry, or None."""
    decision = decide(rules, trial, Random(1))
    return None if isinstance(decision, Retry) else decision


def wait_s(trial: Trial, rules: RetryRules = RULES, seed: int = 1) -> float:
    decision = decide(rules, trial, Random(seed))
    assert isinstance(decision, Retry)
    return decision.delay_s


@pytest.mark.parametrize(
    ("trial", "reason"),
    [
        (replace(REFUSED, is_client_gone=True), StopReason.CLIENT_GONE),
        (replace(RESET, has_response_started=True), StopReason.RESPONSE_STARTED),
        (replace(FAILED, status=404), StopReason.NOT_RETRIABLE),
        (replace(RESET, method="POST"), StopReason.METHOD),
        (replace(FAILED, method="PATCH"), StopReason.METHOD),
        (replace(REFUSED, is_upgrade=True), StopReason.UPGRADE),
        (replace(FAILED, is_marked_retry=True), StopReason.UPPER_HOP),
        (replace(FAILED, is_exhausted_below=True), StopReason.LOWER_HOP),
        (replace(REFUSED, retries_made=2), StopReason.EXHAUSTED),
        (replace(REFUSED, is_body_replayable=False), StopReason.BODY_TOO_LARGE),
        (replace(REFUSED, deadline_left_s=0.009), StopReason.DEADLINE),
    ],
    ids=lambda value: value.value if isinstance(value, StopReason) else "",
)
def test_each_limit_stops_and_is_named(trial: Trial, reason: StopReason) -> None:
    assert stop(trial) is reason


def test_no_retries_allowed_is_off_not_exhausted() -> None:
    assert stop(REFUSED, RetryRules(max_retries=0)) is StopReason.OFF


def test_a_retry_of_an_upper_hop_is_retried_for_its_connection_only() -> None:
    """Else each hop multiplies the load; but nothing was done by what never came."""
    for trial in (REFUSED, RESET, TURNED_AWAY):
        assert stop(replace(trial, is_marked_retry=True)) is None


def test_what_a_lower_hop_tried_in_vain_is_tried_elsewhere_only() -> None:
    """And only if it was not processed there; a status is not enough."""
    for has_other, reason in ((False, StopReason.LOWER_HOP), (True, None)):
        trial = replace(
            TURNED_AWAY, is_exhausted_below=True, has_other_endpoint=has_other
        )
        assert stop(trial) is reason
    trial = replace(FAILED, is_exhausted_below=True, has_other_endpoint=True)
    assert stop(trial) is StopReason.LOWER_HOP


def test_a_failure_that_the_application_named_is_retried_if_listed() -> None:
    trial = replace(FAILED, app_code="316-ORDER-SUBMIT-ERR")
    assert stop(trial) is StopReason.NOT_RETRIABLE
    listed = replace(RULES, fault_codes=frozenset(("316-ORDER-SUBMIT-ERR",)))
    assert stop(trial, listed) is None
    assert stop(replace(trial, status=200), listed) is None
    assert stop(replace(trial, method="POST"), listed) is StopReason.METHOD


@pytest.mark.parametrize("code", ["316-UPSTREAM-5XX", "", "no code", "316-lower"])
def test_a_lower_hops_tag_or_no_code_leaves_it_to_the_status(code: str) -> None:
    assert stop(replace(FAILED, app_code=code)) is None


@pytest.mark.parametrize("code", FaultCode, ids=lambda code: code.name)
def test_what_is_never_replayed_never_is(code: FaultCode) -> None:
    """Nor is what this proxy itself refused: it would refuse again at once."""
    everything = RetryRules("custom", on=frozenset(Condition))
    for processed in Processed:
        is_retried = stop(replace(REFUSED, fault=code, processed=processed)) is None
        if code.spec.replay in (Replay.NEVER, Replay.ALL_LATER, Replay.BY_LIST):
            assert not is_retried
        elif processed is Processed.NO:
            assert is_retried
            posted = replace(REFUSED, fault=code, method="POST")
            assert stop(posted, everything) is None


# How long to wait.


def test_another_endpoint_is_tried_at_once() -> None:
    assert wait_s(replace(REFUSED, has_other_endpoint=True)) == 0.0
    assert wait_s(replace(RESET, has_other_endpoint=True)) > 0.0
    assert wait_s(replace(FAILED, has_other_endpoint=True)) > 0.0


@given(st.integers(0, 2**16))
def test_the_same_endpoint_is_given_time(seed: int) -> None:
    assert 0.0 <= wait_s(REFUSED, seed=seed) <= 0.025
    assert 0.0 <= wait_s(replace(REFUSED, retries_made=1), seed=seed) <= 0.075


def test_retry_after_wins_where_it_fits() -> None:
    assert wait_s(replace(FAILED, retry_after_s=0.7)) == 0.7
    assert wait_s(replace(FAILED, retry_after_s=1.0)) == 1.0
    assert wait_s(replace(FAILED, retry_after_s=0.0)) == 0.0
    assert wait_s(replace(TURNED_AWAY, retry_after_s=0.3)) == 0.3


def test_a_refusal_says_when_its_sender_has_room_others_are_tried_at_once() -> None:
    """A pod whose circuit is open asks for seconds; the one beside it is well."""
    for seconds in (0.3, 5.0, 3600.0):
        turned_away = replace(TURNED_AWAY, retry_after_s=seconds)
        assert wait_s(replace(turned_away, has_other_endpoint=True)) == 0.0
    assert stop(turned_away) is StopReason.RETRY_AFTER_TOO_LONG
    unknown = replace(FAILED, has_other_endpoint=True, retry_after_s=5.0)
    assert stop(unknown) is StopReason.RETRY_AFTER_TOO_LONG


def test_retry_after_that_is_too_long_is_answered_at_once() -> None:
    long = replace(FAILED, retry_after_s=1.1)
    assert stop(long) is StopReason.RETRY_AFTER_TOO_LONG
    assert stop(long, replace(RULES, max_retry_after_s=2.0)) is None
    endless = replace(FAILED, retry_after_s=float("inf"))
    assert stop(endless) is StopReason.RETRY_AFTER_TOO_LONG


def test_retry_after_beyond_the_deadline_is_answered_at_once() -> None:
    trial = replace(FAILED, retry_after_s=0.7, deadline_left_s=0.705)
    assert stop(trial) is StopReason.DEADLINE


def test_retry_after_may_be_ignored() -> None:
    rules = replace(RULES, respect_retry_after=False)
    assert wait_s(replace(FAILED, retry_after_s=60.0), rules) <= 0.025


def test_a_try_is_given_what_a_connection_takes() -> None:
    """And ten milliseconds at the least."""
    rules = replace(RULES, backoff=Backoff(0.0, 0.0))
    assert stop(replace(REFUSED, deadline_left_s=0.01), rules) is None
    slow = replace(REFUSED, deadline_left_s=0.05, connect_p50_s=0.06)
    assert stop(slow, rules) is StopReason.DEADLINE
    assert stop(replace(slow, deadline_left_s=0.06), rules) is None


def test_without_a_limit_of_time_there_is_time() -> None:
    assert stop(replace(REFUSED, deadline_left_s=float("inf"))) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"3", 3.0),
        (b" 3 ", 3.0),
        (b"0", 0.0),
        (b"99999999999", 99999999999.0),
        (b"Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        (b"Thursday, 01-Jan-70 00:01:40 GMT", 90.0),
        (b"Thu Jan  1 00:01:40 1970", 90.0),
        (b"Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        (b"soon", None),
        (b"-1", None),
        (b"1.5", None),
        (b"", None),
        (b"1" * 5000, float("inf")),
    ],
)
def test_retry_after_in_both_forms(value: bytes, seconds: float | None) -> None:
    assert parse_retry_after(value, now_wall_s=10.0) == seconds


WORDS = st.sampled_from(
    [b"Sun,", b"06", b"Nov", b"1994", b"9999", b"0001", b"08:49:37", b"GMT", b"-2359",
     b"+99999999999999999999", b"::", b",", b"\xff", b"24:00:00"]
)  # fmt: skip


@given(st.binary(max_size=40) | st.lists(WORDS, max_size=7).map(b" ".join))
def test_no_retry_after_breaks_the_parser(value: bytes) -> None:
    seconds = parse_retry_after(value, now_wall_s=1e9)
    assert seconds is None or seconds >= 0


# What never happens.

flags = st.booleans()
TRIALS = st.builds(
    Trial,
    method=st.sampled_from(["GET", "PUT", "POST", "PATCH"]),
    retries_made=st.integers(0, 3),
    fault=st.sampled_from(FaultCode) | st.none(),
    status=st.sampled_from([0, 200, 408, 425, 429, 500, 503]),
    processed=st.sampled_from(Processed),
    deadline_left_s=st.floats(-1, 2),
    is_body_replayable=flags,
    is_upgrade=flags,
    is_client_gone=flags,
    has_response_started=flags,
    has_idempotency_key=flags,
    is_marked_retry=flags,
    has_other_endpoint=flags,
    is_exhausted_below=flags,
    has_early_data=flags,
    retry_after_s=st.none() | st.floats(0, 3),
    connect_p50_s=st.floats(0, 0.1),
)
ANY_RULES = st.builds(
    RetryRules,
    preset=st.sampled_from([*PRESETS, "custom"]),
    max_retries=st.integers(0, 3),
    on=st.frozensets(st.sampled_from(Condition)),
    codes=st.frozensets(st.sampled_from([408, 425, 429, 500, 503])),
    idempotency_key=flags,
)


@given(rules=ANY_RULES, trial=TRIALS, seed=st.integers(0, 99))
def test_no_retry_breaks_a_promise(rules: RetryRules, trial: Trial, seed: int) -> None:
    decision = decide(rules, trial, Random(seed))
    if not isinstance(decision, Retry):
        return
    assert rules.preset != "off"
    assert trial.retries_made < rules.max_retries
    assert not any((trial.is_client_gone, trial.has_response_started, trial.is_upgrade))
    assert trial.is_body_replayable
    assert 0 <= decision.delay_s <= max(rules.max_retry_after_s, rules.backoff.max_s)
    left_s = trial.deadline_left_s - decision.delay_s
    assert left_s >= max(0.01, trial.connect_p50_s)
    is_keyed = rules.idempotency_key and trial.has_idempotency_key
    if trial.processed is not Processed.NO:
        assert trial.method in IDEMPOTENT or is_keyed
        if trial.fault is None:
            assert not any((trial.is_marked_retry, trial.is_exhausted_below))
