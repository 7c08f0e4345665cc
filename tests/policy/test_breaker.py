"""The breaker's states, and that no permit can wedge it."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.breaker import BreakerLimits, CircuitBreaker, Permit, State, Verdict

LIMITS = BreakerLimits(min_requests=4, open_s=10.0, jitter_ratio=0.0)


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker(LIMITS, Random(1))


def permit_of(breaker: CircuitBreaker, now_s: float = 0.0) -> Permit:
    permit = breaker.admit(now_s)
    assert permit is not None
    return permit


def run(breaker: CircuitBreaker, *verdicts: Verdict, now_s: float = 0.0) -> None:
    for verdict in verdicts:
        breaker.settle(permit_of(breaker, now_s), verdict, now_s)


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    run(breaker, *[Verdict.BAD] * 4)
    assert breaker.state is State.OPEN
    return breaker


def test_half_of_enough_calls_opens(breaker: CircuitBreaker) -> None:
    states = []
    for verdict in (Verdict.GOOD, Verdict.BAD, Verdict.GOOD, Verdict.BAD):
        run(breaker, verdict)
        states.append(breaker.state)
    assert states == [State.CLOSED] * 3 + [State.OPEN]
    assert breaker.cause == "2 of 4 attempts failed"


def test_failures_outside_the_window_do_not_count(breaker: CircuitBreaker) -> None:
    run(breaker, *[Verdict.BAD] * 3, now_s=0.0)
    run(breaker, Verdict.BAD, now_s=11.0)
    assert breaker.state is State.CLOSED


def test_connection_failures_in_a_row_open_at_once() -> None:
    breaker = CircuitBreaker(BreakerLimits(consecutive_failures=5), Random(1))
    for _ in range(5):
        permit = permit_of(breaker)
        breaker.settle(permit, Verdict.BAD, 0.0, is_connection_level=True)
    assert breaker.state is State.OPEN


def test_nothing_passes_before_its_time(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admit(9.99) is None
    assert breaker.retry_after_s(4.0) == 6.0
    assert breaker.admit(10.0) is not None
    assert breaker.state is State.HALF_OPEN


def test_only_so_many_probes_at_once(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert [breaker.admit(10.0) is not None for _ in range(4)] == [True] * 3 + [False]


def test_enough_good_probes_close(breaker: CircuitBreaker) -> None:
    opened(breaker)
    run(breaker, *[Verdict.GOOD] * 3, now_s=10.0)
    assert breaker.state is State.CLOSED


def test_a_bad_probe_opens_for_twice_as_long(breaker: CircuitBreaker) -> None:
    opened(breaker)
    run(breaker, Verdict.BAD, now_s=10.0)
    assert breaker.state is State.OPEN
    assert breaker.retry_after_s(10.0) == 20.0


def test_a_lost_probe_runs_out(breaker: CircuitBreaker) -> None:
    opened(breaker)
    for _ in range(3):
        permit_of(breaker, 10.0)
    assert breaker.admit(10.0) is None
    assert breaker.admit(10.0 + LIMITS.probe_lease_s) is not None


def test_a_neutral_probe_only_frees_its_place(breaker: CircuitBreaker) -> None:
    opened(breaker)
    run(breaker, *[Verdict.NEUTRAL] * 10, now_s=10.0)
    assert breaker.state is State.HALF_OPEN


def test_a_straggler_proves_nothing(breaker: CircuitBreaker) -> None:
    slow = permit_of(breaker)
    opened(breaker)
    permit_of(breaker, 10.0)
    breaker.settle(slow, Verdict.BAD, 10.0)
    assert breaker.state is State.HALF_OPEN


def test_safe_methods_probe_first(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admit(10.5, is_safe=False) is None
    assert breaker.admit(11.0, is_safe=False) is not None


def test_a_hand_can_hold_it(breaker: CircuitBreaker) -> None:
    breaker.force(State.OPEN, until_s=50.0)
    assert breaker.admit(49.0) is None
    assert breaker.admit(51.0) is not None


def test_slow_calls_open() -> None:
    limits = BreakerLimits(min_requests=4, slow_call_s=1.0)
    breaker = CircuitBreaker(limits, Random(1))
    for _ in range(4):
        breaker.settle(permit_of(breaker), Verdict.GOOD, 0.0, duration_s=2.0)
    assert breaker.state is State.OPEN


@given(
    st.lists(
        st.tuples(st.sampled_from([*Verdict, None]), st.floats(0, 20)), max_size=100
    )
)
def test_it_always_admits_again(steps: list[tuple[Verdict | None, float]]) -> None:
    """Whatever happened, lost permits too, an attempt is admitted in the end."""
    breaker = CircuitBreaker(LIMITS, Random(1))
    now_s = 0.0
    for verdict, gap_s in steps:
        now_s += gap_s
        permit = breaker.admit(now_s)
        if permit is not None and verdict is not None:
            breaker.settle(permit, verdict, now_s)
    later_s = now_s + 2 * LIMITS.open_max_s + LIMITS.probe_lease_s
    assert breaker.admit(later_s) is not None
