"""How checks that follow each other come to a state."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.health import HealthLimits, HealthState, HealthTracker, Sign

LIMITS = HealthLimits(unhealthy_after=3, healthy_after=2, start_period_s=10.0)
OK, BAD, GONE, MUTE = Sign.PASSED, Sign.FAILED, Sign.ABSENT, Sign.SILENT
UNKNOWN, HEALTHY, UNHEALTHY = HealthState


def after(*signs: Sign, state: HealthState = HEALTHY) -> HealthTracker:
    """Return a tracker that has seen a sign a second."""
    tracker = HealthTracker(LIMITS, 0.0, state)
    for second, sign in enumerate(signs, 1):
        tracker.observe(sign, float(second))
    return tracker


@pytest.mark.parametrize(
    ("signs", "state"),
    [
        ((BAD, BAD), HEALTHY),
        ((BAD, BAD, BAD), UNHEALTHY),
        ((BAD, GONE, MUTE), UNHEALTHY),
        ((BAD, BAD, OK, BAD, BAD), HEALTHY),
        ((BAD, BAD, BAD, OK), UNHEALTHY),
        ((BAD, BAD, BAD, OK, OK), HEALTHY),
        ((BAD, BAD, BAD, OK, BAD, OK), UNHEALTHY),
    ],
)
def test_only_what_comes_in_a_row_counts(
    signs: tuple[Sign, ...], state: HealthState
) -> None:
    assert after(*signs).state is state


def test_one_pass_is_enough_to_begin_with() -> None:
    assert after(OK, state=UNKNOWN).state is HEALTHY


def test_failures_count_only_once_the_start_period_is_over() -> None:
    tracker = after(*[BAD] * 9, state=UNKNOWN)
    assert tracker.state is UNKNOWN
    assert [tracker.observe(BAD, 10.0 + n) for n in range(3)] == [False, False, True]
    assert tracker.state is UNHEALTHY


def test_a_change_is_told_once() -> None:
    tracker = HealthTracker(LIMITS, 0.0, HEALTHY)
    told = [tracker.observe(sign, 1.0) for sign in (BAD, BAD, BAD, BAD, OK, OK, OK)]
    assert told == [False, False, True, False, False, True, False]


def test_silence_is_many_silent_checks_in_a_row() -> None:
    assert after(MUTE, MUTE, MUTE).is_silent
    assert not after(MUTE, MUTE, BAD).is_silent
    assert not after(MUTE, BAD, MUTE, MUTE).is_silent


def test_a_restart_gets_its_time_again() -> None:
    """When its port closes, and when it opens."""
    tracker = after(BAD, BAD, BAD, BAD, BAD)
    assert tracker.down_s(8.0) == 5.0
    tracker.observe(GONE, 10.0)
    tracker.observe(GONE, 11.0)
    assert tracker.down_s(12.0) == 2.0
    tracker.observe(BAD, 13.0)
    assert tracker.down_s(13.0) == 0.0
    assert after(OK).down_s(99.0) == 0.0


def test_checks_are_counted_from_the_one_that_told() -> None:
    """A pass that is not enough takes nothing back."""
    assert after(BAD, BAD).unhealthy_checks == 0
    assert after(BAD, BAD, BAD).unhealthy_checks == 1
    assert after(BAD, BAD, BAD, OK, BAD).unhealthy_checks == 2
    assert after(BAD, BAD, BAD, OK, OK).unhealthy_checks == 0


@given(st.lists(st.sampled_from(list(Sign)), max_size=60), st.integers(1, 4))
def test_a_state_is_left_only_by_a_whole_run(signs: list[Sign], most: int) -> None:
    """Whatever is seen: each change ends a run of as many alike as the limit says."""
    tracker = HealthTracker(HealthLimits(most, most, 0.0), 0.0, HEALTHY)
    seen: list[bool] = []
    for sign in signs:
        seen += [sign is OK] * (sign is not Sign.UNASKED)
        if tracker.observe(sign, 1.0):
            is_healthy = tracker.state is HEALTHY
            assert seen[-most:] == [is_healthy] * most
    runs = [(key, len(list(run))) for key, run in groupby(seen)]
    long = [key for key, length in runs if length >= most]
    assert (tracker.state is HEALTHY) is (long[-1] if long else True)
