"""What is refused when this process is overloaded, and when that ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.overload import (
    DESCRIPTORS,
    IN_FLIGHT,
    LAG,
    MEMORY,
    QUEUE,
    Admission,
    OverloadLimits,
    ScaledTrigger,
)

BEAT_S = 0.1
LATE_S = 0.3  # The limit is 0.1.


class Load:
    """A loop that beats, with so many requests offered between two beats."""

    def __init__(self, limits: OverloadLimits | None = None) -> None:
        self.admission = Admission(limits or OverloadLimits())
        self.now_s = 1000.0

    def beat(self, lag_s: float = 0.0, offered: int = 0) -> int:
        """Offer requests that all stay for this beat; return how many were taken."""
        taken = 0
        for _ in range(offered):
            is_asked = self.admission.is_on
            if not is_asked or not self.admission.ask(taken, is_retry=False):
                taken += 1
        self.now_s += BEAT_S + lag_s
        self.admission.observe_lag(self.now_s, lag_s, 0)
        return taken

    def be_late(self, seconds: float = 2.0, offered: int = 0) -> None:
        """Be late for a while."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.beat(LATE_S, offered)


def test_below_all_limits_nothing_is_even_asked() -> None:
    load = Load()
    for _ in range(50):
        load.beat(0.09)
    load.admission.observe_memory(0.71)
    load.admission.observe_descriptors(0.71)
    assert not load.admission.is_on
    assert set(load.admission.levels().values()) == {0}


def test_a_stall_shorter_than_a_second_refuses_nothing() -> None:
    load = Load()
    load.beat(0.8)
    load.beat(0.0)
    assert not load.admission.is_on


def test_lag_for_a_second_limits_what_is_in_flight() -> None:
    load = Load()
    load.be_late(1.5, offered=1000)
    assert load.admission.is_late
    assert load.admission.levels()[LAG] == 2
    assert load.beat(LATE_S, 1000) < 1000


def test_the_longer_it_is_late_the_fewer_are_taken_but_never_none() -> None:
    load = Load()
    load.be_late(1.5, offered=1000)
    taken = [load.beat(LATE_S, 1000) for _ in range(30)]
    assert taken == sorted(taken, reverse=True)
    assert taken[-1] == 8


def test_in_time_again_it_takes_more_beat_by_beat_until_nothing_is_refused() -> None:
    load = Load()
    load.be_late(3.0, offered=1000)
    taken = [load.beat(0.01, 1000) for _ in range(120)]
    assert taken == sorted(taken)
    assert taken[-1] == 1000
    assert not load.admission.is_on


def test_late_again_soon_after_it_is_refused_sooner() -> None:
    """Else a load that lasts would get a second of everything again and again."""
    load = Load()
    load.be_late(3.0)
    for _ in range(15):
        load.beat(0.0)
    assert not load.admission.is_late
    load.beat(LATE_S)
    load.beat(LATE_S)
    assert load.admission.is_late


def test_between_half_of_the_limit_and_the_limit_it_stays_as_it_is() -> None:
    load = Load()
    load.be_late(1.5, offered=1000)
    load.beat(0.07, 1000)
    before = load.beat(0.07, 1000)
    assert [load.beat(0.07, 1000) for _ in range(20)] == [before] * 20


def test_it_finds_the_load_that_the_loop_can_bear() -> None:
    """A loop that can do 200 in a limit's time, offered five times as many."""
    load = Load()
    load.be_late(1.5, offered=1000)
    taken = 1000
    late = 0
    total = []
    for _ in range(300):
        lag_s = 0.1 * taken / 200
        taken = load.beat(lag_s, 1000)
        total.append(taken)
        late += lag_s > 0.2
    settled = total[60:]
    assert min(settled) >= 80
    assert max(settled) <= 240
    assert late < 10


def test_retries_go_before_first_tries() -> None:
    """From 90 % of a limit on, and only those that say so."""
    admission = Admission(OverloadLimits())
    admission.observe_memory(0.75)
    assert admission.ask(0, is_retry=True) == MEMORY
    assert not admission.ask(0, is_retry=False)
    assert admission.refuses_retries
    assert admission.levels()[MEMORY] == 1
    assert admission.counts == {(MEMORY, "retry"): 1}


@pytest.mark.parametrize(
    ("used_ratio", "passing"), [(0.8, 100), (0.85, 50), (0.9, 2), (5.0, 2)]
)
def test_the_shorter_memory_runs_the_smaller_is_the_share(
    used_ratio: float, passing: int
) -> None:
    trigger = ScaledTrigger(0.8)
    trigger.observe(used_ratio)
    passed = sum(trigger.passes() for _ in range(100))
    assert abs(passed - passing) <= 1


def test_descriptors_are_told_apart_from_memory() -> None:
    admission = Admission(OverloadLimits())
    admission.observe_descriptors(1.0)
    assert admission.ask(0, is_retry=False) == DESCRIPTORS


def test_requests_in_flight_are_limited_when_that_is_asked_for() -> None:
    admission = Admission(OverloadLimits(in_flight=10))
    assert not admission.ask(9, is_retry=False)
    assert admission.ask(9, is_retry=True) == IN_FLIGHT
    assert admission.ask(10, is_retry=False) == IN_FLIGHT
    admission.observe_lag(1.0, 0.0, 10)
    assert admission.refuses_retries
    assert admission.levels()[IN_FLIGHT] == 1


def test_connections_that_wait_make_it_late_and_stop_retries() -> None:
    told: list[bool] = []
    admission = Admission(OverloadLimits())
    admission.on_late.append(lambda: told.append(admission.is_late))
    for beat in range(12):
        admission.observe_queue(beat * BEAT_S, 0.5, has_refused=False)
    assert admission.is_late
    assert admission.ask(0, is_retry=True) == QUEUE
    assert not admission.ask(0, is_retry=False)
    for beat in range(12, 24):
        admission.observe_queue(beat * BEAT_S, 0.0, has_refused=True)
    assert admission.is_late, "it refuses still"
    for beat in range(24, 36):
        admission.observe_queue(beat * BEAT_S, 0.0, has_refused=False)
    assert told == [True, False]


def test_switched_off_it_sees_nothing() -> None:
    admission = Admission(OverloadLimits(is_enabled=False, in_flight=1))
    admission.observe_memory(2.0)
    admission.observe_descriptors(2.0)
    for beat in range(50):
        admission.observe_lag(beat * BEAT_S, 5.0, 100)
        admission.observe_queue(beat * BEAT_S, 5.0, has_refused=False)
    assert not admission.is_on
    assert not admission.refuses_retries


def test_other_limits_begin_anew() -> None:
    load = Load()
    load.be_late()
    load.admission.use(OverloadLimits())
    assert not load.admission.is_late
    assert not load.admission.is_on


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 3.0),  # Lag.
        st.floats(0.0, 1.5),  # Memory.
        st.floats(0.0, 1.5),  # Descriptors.
        st.integers(0, 400),  # Offered.
        st.booleans(),  # Are they retries?
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_the_accounts_are_right_and_some_are_let_through(
    steps: list[tuple[float, float, float, int, bool]],
) -> None:
    """Refused are only those counted; none below the limits; never all first tries."""
    load = Load()
    admission = load.admission
    for lag_s, memory, descriptors, offered, is_retry in steps:
        admission.observe_memory(memory)
        admission.observe_descriptors(descriptors)
        before = sum(admission.counts.values())
        answers = [admission.ask(0, is_retry=is_retry) for _ in range(offered)]
        refused = [answer for answer in answers if answer]
        assert sum(admission.counts.values()) - before == len(refused)
        if not admission.is_on:
            assert not refused
        if not is_retry and offered >= 50 * 50:
            assert len(refused) < offered
        load.beat(lag_s)
    admission.observe_memory(0.0)
    admission.observe_descriptors(0.0)
    for _ in range(30):
        load.beat(0.0)
    assert not admission.is_on


@given(st.floats(0.0, 100.0), st.integers(50, 500))
def test_at_least_one_in_fifty_passes(used_ratio: float, offered: int) -> None:
    trigger = ScaledTrigger(0.8)
    trigger.observe(used_ratio)
    passed = sum(trigger.passes() for _ in range(offered))
    assert passed >= offered // 50 - 1
