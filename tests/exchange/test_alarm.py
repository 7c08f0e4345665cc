"""One deadline that moves often and fires seldom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.clock import NEVER_S, Alarm
from tests.support.clock import FakeClock


class Bell:
    """An alarm, and when it went off."""

    def __init__(self) -> None:
        self.clock = FakeClock(0.0)
        self.rung: list[float] = []
        self.alarm = Alarm(self.clock, lambda: self.rung.append(self.clock.now_s()))


@pytest.fixture
def bell() -> Bell:
    return Bell()


def test_it_goes_off_once_and_at_its_time(bell: Bell) -> None:
    bell.alarm.set(5)
    bell.clock.advance(4.999)
    assert bell.rung == []
    bell.clock.advance(100)
    assert bell.rung == [5]
    assert bell.alarm.due_s == NEVER_S


def test_set_later_it_goes_off_later_on_the_same_timer(bell: Bell) -> None:
    """Nothing is armed for each move: that is what it is for."""
    for due_s in range(5, 100):
        bell.alarm.set(due_s)
        assert bell.clock.armed == 1
    bell.clock.advance(1000)
    assert bell.rung == [99]


def test_set_earlier_it_goes_off_earlier(bell: Bell) -> None:
    bell.alarm.set(50)
    bell.alarm.set(5)
    bell.clock.advance(1000)
    assert bell.rung == [5]


def test_cleared_it_does_not_go_off(bell: Bell) -> None:
    bell.alarm.set(5)
    bell.alarm.clear()
    bell.clock.advance(10)
    assert bell.rung == []
    bell.alarm.set(20)
    bell.clock.advance(10)
    assert bell.rung == [20]


def test_set_for_never_is_cleared(bell: Bell) -> None:
    bell.alarm.set(NEVER_S)
    assert bell.clock.armed == 0
    bell.alarm.set(5)
    bell.alarm.set(NEVER_S)
    bell.clock.advance(10)
    assert bell.rung == []


def test_closed_it_holds_no_timer(bell: Bell) -> None:
    bell.alarm.set(5)
    bell.alarm.close()
    assert bell.clock.armed == 0
    bell.alarm.set(7)
    bell.clock.advance(10)
    assert bell.rung == [7]


def test_a_time_that_is_past_is_now(bell: Bell) -> None:
    bell.clock.advance(10)
    bell.alarm.set(5)
    bell.clock.advance(0)
    assert bell.rung == [10]


@given(
    moves=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 20) | st.none()), max_size=20
    )
)
def test_it_always_goes_off_when_it_is_due(
    moves: list[tuple[int, int | None]],
) -> None:
    """Whatever it was set for before; None: it is cleared."""
    bell, due_s, expected = Bell(), NEVER_S, list[float]()
    for pause_s, wanted_s in moves:
        if due_s <= bell.clock.now_s() + pause_s:
            expected.append(max(due_s, bell.clock.now_s()))
            due_s = NEVER_S
        bell.clock.advance(pause_s)
        if wanted_s is None:
            bell.alarm.clear()
        else:
            bell.alarm.set(wanted_s)
        due_s = NEVER_S if wanted_s is None else wanted_s
    assert bell.rung == expected
