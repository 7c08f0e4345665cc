"""The breaker's states, an example a sentence; `test_breaker_model` has the rest."""

from __future__ import annotations

from random import Random

import pytest

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


def states(
    breaker: CircuitBreaker, *verdicts: Verdict, now_s: float = 0.0
) -> list[State]:
    """Return the state after each of the verdicts."""
    seen = []
    for verdict in verdicts:
        run(breaker, verdict, now_s=now_s)
        seen.append(breaker.state)
    return seen


def opened(breaker: CircuitBreaker) -> CircuitBreaker:
    run(breaker, *[Verdict.BAD] * 4)
    assert breaker.state is State.OPEN
    return breaker


def test_half_of_enough_calls_opens(breaker: CircuitBreaker) -> None:
    verdicts = (Verdict.GOOD, Verdict.BAD, Verdict.GOOD, Verdict.BAD)
    assert states(breaker, *verdicts) == [State.CLOSED] * 3 + [State.OPEN]
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


def test_probes_in_flight_are_told(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.probes_in_flight == 0
    probe = permit_of(breaker, 10.0)
    assert breaker.probes_in_flight == 1
    breaker.settle(probe, Verdict.NEUTRAL, 10.0)
    assert breaker.probes_in_flight == 0


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


def test_the_result_of_a_lost_probe_comes_too_late(breaker: CircuitBreaker) -> None:
    """It neither closes, nor opens, nor frees the place of another probe."""
    opened(breaker)
    lost = [permit_of(breaker, 10.0) for _ in range(3)]
    late_s = 10.0 + LIMITS.probe_lease_s
    for _ in range(3):
        permit_of(breaker, late_s)
    for permit, verdict in zip(lost, Verdict, strict=True):
        breaker.settle(permit, verdict, late_s)
    assert breaker.state is State.HALF_OPEN
    assert breaker.admit(late_s) is None


def test_a_late_result_counts_as_little_when_nobody_asked(
    breaker: CircuitBreaker,
) -> None:
    opened(breaker)
    lost = permit_of(breaker, 10.0)
    breaker.settle(lost, Verdict.BAD, 10.0 + LIMITS.probe_lease_s)
    assert breaker.state is State.HALF_OPEN


def test_a_probe_settles_once(breaker: CircuitBreaker) -> None:
    opened(breaker)
    probe = permit_of(breaker, 10.0)
    permit_of(breaker, 10.0)
    permit_of(breaker, 10.0)
    for _ in range(LIMITS.probes_to_close):
        breaker.settle(probe, Verdict.GOOD, 10.0)
    assert breaker.state is State.HALF_OPEN
    assert breaker.admit(10.0) is not None
    assert breaker.admit(10.0) is None


def test_a_slow_probe_is_a_failed_one() -> None:
    """Else a circuit that opened for slowness would close on slow answers."""
    limits = BreakerLimits(min_requests=1, slow_call_s=1.0, open_s=10, jitter_ratio=0)
    breaker = CircuitBreaker(limits, Random(1))
    breaker.settle(permit_of(breaker), Verdict.GOOD, 0.0, duration_s=2.0)
    breaker.settle(permit_of(breaker, 10.0), Verdict.GOOD, 10.0, duration_s=2.0)
    assert breaker.state is State.OPEN
    assert breaker.retry_after_s(10.0) == 20.0


def test_safe_methods_probe_first(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admit(10.5, is_safe=False) is None
    assert breaker.retry_after_s(10.5) == 0.5
    assert breaker.admit(11.0, is_safe=False) is not None


def test_no_unsafe_probe_beside_a_safe_one(breaker: CircuitBreaker) -> None:
    """Not while a safe request came within the last second."""
    opened(breaker)
    permit_of(breaker, 20.0)
    assert breaker.admit(20.99, is_safe=False) is None
    permit_of(breaker, 20.99)
    assert breaker.admit(21.5, is_safe=False) is None
    assert breaker.admit(21.99, is_safe=False) is not None


def test_safe_probes_that_prove_nothing_do_not_starve_others(
    breaker: CircuitBreaker,
) -> None:
    opened(breaker)
    run(breaker, Verdict.NEUTRAL, now_s=10.0)
    assert breaker.admit(10.0, is_safe=False) is not None


def test_a_hand_can_hold_it_open(breaker: CircuitBreaker) -> None:
    breaker.force(State.OPEN, until_s=50.0)
    assert breaker.admit(49.0) is None
    assert breaker.retry_after_s(49.0) == 1.0
    assert breaker.admit(50.0) is not None
    assert breaker.state is State.HALF_OPEN


def test_a_hold_ends_though_nobody_asks(breaker: CircuitBreaker) -> None:
    breaker.force(State.OPEN, until_s=50.0)
    assert breaker.state_at(49.9) is State.OPEN
    assert breaker.state_at(50.0) is State.HALF_OPEN
    assert breaker.retry_after_s(52.0) == 0.0


def test_held_closed_it_lets_all_pass_and_counts_nothing(
    breaker: CircuitBreaker,
) -> None:
    opened(breaker)
    breaker.force(State.CLOSED, until_s=50.0)
    run(breaker, *[Verdict.BAD] * 20, now_s=49.0)
    assert breaker.state is State.CLOSED
    assert states(breaker, *[Verdict.BAD] * 4, now_s=50.0) == [
        *[State.CLOSED] * 3,
        State.OPEN,
    ]


def test_what_was_sent_before_a_hold_says_nothing_in_it(
    breaker: CircuitBreaker,
) -> None:
    before = [permit_of(breaker) for _ in range(8)]
    breaker.force(State.CLOSED, until_s=50.0)
    for permit in before:
        breaker.settle(permit, Verdict.BAD, 1.0, is_connection_level=True)
    assert breaker.state is State.CLOSED
    assert "calls=0 bad=0" in repr(breaker)


def test_let_go_an_open_one_probes_at_once(breaker: CircuitBreaker) -> None:
    breaker.force(State.OPEN, until_s=50.0)
    assert "held=50" in repr(breaker)
    breaker.force(None)
    assert "held" not in repr(breaker)
    assert breaker.retry_after_s(1.0) == 0.0
    assert breaker.admit(1.0, is_safe=False) is not None


def test_let_go_a_closed_one_counts_again(breaker: CircuitBreaker) -> None:
    breaker.force(State.CLOSED, until_s=50.0)
    held = permit_of(breaker, 1.0)
    breaker.force(None)
    breaker.settle(held, Verdict.BAD, 2.0)
    assert states(breaker, *[Verdict.BAD] * 4, now_s=2.0) == [
        *[State.CLOSED] * 3,
        State.OPEN,
    ]


def test_letting_go_of_what_nobody_holds_changes_nothing(
    breaker: CircuitBreaker,
) -> None:
    opened(breaker)
    breaker.force(None)
    assert breaker.retry_after_s(4.0) == 6.0


def test_half_open_is_no_state_to_be_held_in(breaker: CircuitBreaker) -> None:
    with pytest.raises(ValueError, match="open or closed"):
        breaker.force(State.HALF_OPEN, until_s=50.0)


def test_each_move_is_told_once_with_its_cause(breaker: CircuitBreaker) -> None:
    moves: list[tuple[State, State, str]] = []
    breaker.on_transition = lambda *move: moves.append(move)
    opened(breaker)
    breaker.force(State.OPEN, until_s=20.0)  # No move: it is open.
    run(breaker, *[Verdict.GOOD] * 3, now_s=20.0)
    assert moves == [
        (State.CLOSED, State.OPEN, "4 of 4 attempts failed"),
        (State.OPEN, State.HALF_OPEN, "time to probe"),
        (State.HALF_OPEN, State.CLOSED, "3 probes succeeded"),
    ]


def test_waits_double_up_to_the_longest_and_start_again_after_closing() -> None:
    limits = BreakerLimits(min_requests=1, jitter_ratio=0.0)
    breaker = CircuitBreaker(limits, Random(1))
    now_s, waits_s = 0.0, []
    for _ in range(6):
        run(breaker, Verdict.BAD, now_s=now_s)
        waits_s.append(breaker.retry_after_s(now_s))
        now_s += waits_s[-1]
    assert waits_s == [5, 10, 20, 40, 60, 60]
    run(breaker, *[Verdict.GOOD] * 3, Verdict.BAD, now_s=now_s)
    assert breaker.retry_after_s(now_s) == 5


def test_a_hand_starts_the_waits_again(breaker: CircuitBreaker) -> None:
    opened(breaker)
    run(breaker, Verdict.BAD, now_s=10.0)
    breaker.force(State.OPEN, until_s=40.0)
    run(breaker, Verdict.BAD, now_s=40.0)
    assert breaker.retry_after_s(40.0) == 10.0


def test_what_failed_before_it_closed_is_forgotten_for_good() -> None:
    """Also when the window turns, and the old buckets are still within it."""
    limits = BreakerLimits(min_requests=4, open_s=2.0, jitter_ratio=0.0)
    breaker = CircuitBreaker(limits, Random(1))
    run(breaker, *[Verdict.BAD] * 4)
    run(breaker, *[Verdict.GOOD] * 3, now_s=2.0)
    for now_s in (2.5, 3.5, 4.5):
        run(breaker, Verdict.GOOD, now_s=now_s)
    assert "calls=3 bad=0" in repr(breaker)


def test_waits_differ_by_up_to_a_fifth() -> None:
    """Else all sidecars of a fleet would probe at the same moment."""
    rng, waits_s = Random(316), []
    for _ in range(200):
        breaker = CircuitBreaker(BreakerLimits(min_requests=1), rng)
        run(breaker, Verdict.BAD)
        waits_s.append(breaker.retry_after_s(0.0))
    assert 4.0 <= min(waits_s) < 4.2
    assert 5.8 < max(waits_s) <= 6.0


def test_a_good_call_that_makes_enough_calls_can_open(breaker: CircuitBreaker) -> None:
    """Three of four failed: it does not matter which one came last."""
    run(breaker, *[Verdict.BAD] * 3, Verdict.GOOD)
    assert breaker.cause == "3 of 4 attempts failed"


@pytest.mark.parametrize("between", [Verdict.GOOD, Verdict.BAD])
def test_only_connection_failures_in_a_row_count(between: Verdict) -> None:
    """An answer, even a bad one, shows that connecting works."""
    limits = BreakerLimits(consecutive_failures=5, min_requests=100)
    breaker = CircuitBreaker(limits, Random(1))
    for n in range(1, 21):
        is_refused = n % 5 != 0
        verdict = Verdict.BAD if is_refused else between
        permit = permit_of(breaker)
        breaker.settle(permit, verdict, 0.0, is_connection_level=is_refused)
    assert breaker.state is State.CLOSED


def test_a_ramp_lets_a_growing_share_pass_after_closing() -> None:
    limits = BreakerLimits(min_requests=1, open_s=10, jitter_ratio=0, ramp_s=6.0)
    breaker = CircuitBreaker(limits, Random(316))
    run(breaker, Verdict.BAD)
    run(breaker, *[Verdict.GOOD] * 3, now_s=10.0)
    assert breaker.retry_after_s(10.0) == 1.0
    passed = [
        sum(breaker.admit(now_s) is not None for _ in range(400))
        for now_s in (11.0, 13.0, 14.0)
    ]
    assert 70 < passed[0] < 130
    assert 170 < passed[1] < 230
    assert passed[2] == 400
    assert breaker.retry_after_s(14.0) == 0.0


def test_slow_calls_open() -> None:
    limits = BreakerLimits(min_requests=4, slow_call_s=1.0)
    breaker = CircuitBreaker(limits, Random(1))
    for _ in range(4):
        breaker.settle(permit_of(breaker), Verdict.GOOD, 0.0, duration_s=2.0)
    assert breaker.state is State.OPEN
