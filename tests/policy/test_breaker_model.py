"""The breaker under any order of events, against a model that keeps lists."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sidecar.policy.breaker import BreakerLimits, CircuitBreaker, Permit, State, Verdict

# Eighths of a second are exact in binary, so both sides round alike.
GAPS_S = st.integers(0, 400).map(lambda eighths: eighths / 8)
VERDICTS = st.sampled_from(Verdict)


class AnyOrder(RuleBasedStateMachine):
    """Permits are settled in any order, twice, late or never; a hand interferes."""

    limits = BreakerLimits(
        min_requests=3, consecutive_failures=2, probes=2, probe_lease_s=8.0
    )

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 64.0
        self.permits: list[Permit] = []
        self.leases_s: dict[Permit, float] = {}  # Of probes: when they run out.
        self.settled: set[Permit] = set()
        self.period = 0
        self.shut_until_s = 0.0

    @initialize(seed=st.integers(0, 2**16))
    def begin(self, seed: int) -> None:
        self.breaker = CircuitBreaker(self.limits, Random(seed))
        self.breaker.on_transition = self.moved

    def moved(self, before: State, after: State, cause: str) -> None:
        assert before is not after
        assert cause
        assert self.breaker.state is after
        self.leases_s.clear()

    @rule(gap_s=GAPS_S)
    def time_passes(self, gap_s: float) -> None:
        self.now_s += gap_s

    @rule(is_safe=st.booleans())
    def a_request_asks(self, *, is_safe: bool) -> None:
        expected = self.breaker.state_at(self.now_s)
        wait_s = self.breaker.retry_after_s(self.now_s)
        permit = self.breaker.admit(self.now_s, is_safe=is_safe)
        if expected is State.OPEN:
            assert permit is None
            assert wait_s > 0
        if permit is None:
            return
        assert self.breaker.state is expected
        self.permits.append(permit)
        if expected is State.HALF_OPEN:
            assert permit not in self.leases_s
            self.leases_s[permit] = self.now_s + self.limits.probe_lease_s
            assert self.leases_left() <= self.limits.probes

    @rule(data=st.data(), verdict=VERDICTS, is_refused=st.booleans())
    @precondition(lambda self: self.permits)
    def a_permit_is_settled(
        self, data: st.DataObject, verdict: Verdict, *, is_refused: bool
    ) -> None:
        """Any permit, an old one or a settled one too."""
        permit = data.draw(st.sampled_from(self.permits))
        before = self.breaker.state
        is_live = self.leases_s.pop(permit, 0.0) > self.now_s
        self.breaker.settle(permit, verdict, self.now_s, is_connection_level=is_refused)
        if before is State.HALF_OPEN and verdict is Verdict.BAD and is_live:
            assert self.breaker.state is State.OPEN
        elif before is not State.CLOSED and not is_live:
            assert self.breaker.state is before

    @rule(state=st.sampled_from([State.OPEN, State.CLOSED, None]), for_s=GAPS_S)
    def a_hand_interferes(self, state: State | None, for_s: float) -> None:
        until_s = self.now_s + for_s
        self.breaker.force(state, until_s)
        if state is not None:
            self.leases_s.clear()
            assert self.breaker.state is state

    def leases_left(self) -> int:
        return sum(end_s > self.now_s for end_s in self.leases_s.values())

    @invariant()
    def it_counts_no_less_than_nothing(self) -> None:
        calls, bad, slow = self.breaker._counts()
        assert 0 <= bad <= calls
        assert 0 <= slow <= calls

    @invariant()
    def it_never_wedges(self) -> None:
        """Once every wait and every lease is over, somebody is admitted."""
        wait_s = self.breaker.retry_after_s(self.now_s)
        assert 0 <= wait_s <= max(1.2 * self.limits.open_max_s, 50.0)

    def teardown(self) -> None:
        later_s = self.now_s + 100.0
        assert self.breaker.admit(later_s, is_safe=False) is not None


TestAnyOrder = AnyOrder.TestCase


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 24).map(lambda eighths: eighths / 8),
        VERDICTS,
        st.booleans(),  # Of the connection.
        st.sampled_from([0.0, 1.0, 2.0]),  # How long it took.
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(
    events=EVENTS,
    min_requests=st.integers(1, 12),
    failure_ratio=st.sampled_from([0.25, 0.5, 1.0]),
    slow_ratio=st.sampled_from([0.5, 0.75, 1.0]),
    in_a_row=st.integers(0, 6),
)
def test_it_opens_exactly_when_a_naive_count_says_so(
    events: list[tuple[float, Verdict, bool, float]],
    min_requests: int,
    failure_ratio: float,
    slow_ratio: float,
    in_a_row: int,
) -> None:
    limits = BreakerLimits(
        failure_ratio=failure_ratio,
        min_requests=min_requests,
        consecutive_failures=in_a_row,
        slow_call_s=1.5,
        slow_ratio=slow_ratio,
    )
    breaker = CircuitBreaker(limits, Random(1))
    now_s, seen, row = 64.0, [], 0
    for gap_s, verdict, is_refused, took_s in events:
        now_s += gap_s
        permit = breaker.admit(now_s)
        assert permit is not None
        breaker.settle(
            permit, verdict, now_s, is_connection_level=is_refused, duration_s=took_s
        )
        if verdict is not Verdict.NEUTRAL:
            is_bad = verdict is Verdict.BAD
            seen.append((int(now_s), is_bad, took_s > 1.5))
            row = row + 1 if is_bad and is_refused else 0
        window = [event for event in seen if event[0] >= int(now_s) - 9]
        bad, slow = sum(e[1] for e in window), sum(e[2] for e in window)
        is_over = len(window) >= min_requests and (
            bad >= max(1, failure_ratio * len(window))
            or slow >= max(1, slow_ratio * len(window))
        )
        has_opened = breaker.state is State.OPEN
        if verdict is Verdict.NEUTRAL:
            assert not has_opened
            continue
        assert has_opened == (is_over or 0 < in_a_row <= row)
        if has_opened:
            return
        assert breaker._counts() == (len(window), bad, slow)


@pytest.mark.parametrize("is_safe", [True, False])
@given(events=st.lists(st.tuples(st.sampled_from([*Verdict, None]), GAPS_S)))
def test_it_always_admits_again(
    events: list[tuple[Verdict | None, float]], *, is_safe: bool
) -> None:
    """Whatever happened, lost permits too, an attempt is admitted in the end."""
    limits = BreakerLimits(min_requests=4)
    breaker = CircuitBreaker(limits, Random(1))
    now_s = 0.0
    for verdict, gap_s in events:
        now_s += gap_s
        permit = breaker.admit(now_s)
        if permit is not None and verdict is not None:
            breaker.settle(permit, verdict, now_s)
    later_s = now_s + 1.2 * limits.open_max_s + limits.probe_lease_s
    assert breaker.admit(later_s, is_safe=is_safe) is not None
