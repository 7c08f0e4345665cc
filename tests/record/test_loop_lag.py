"""How late the loop is, and who held it."""

from __future__ import annotations

import sys
import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.record.loop_lag import BEAT_S, LoopLag, Watchdog, stack_of
from tests.support.clock import FakeClock

Told = list[tuple[float, tuple[str, ...]]]


def lag_of(clock: FakeClock, told: Told) -> LoopLag:
    """Return one that beats on `clock`; its thread is not wanted here."""
    lag = LoopLag(clock, lambda lag_s, stack: told.append((lag_s, stack)))
    lag.start()
    assert lag._watchdog is not None
    lag._watchdog.stop()
    return lag


def hold(clock: FakeClock, seconds: float) -> None:
    """Let time pass while no timer can fire, as when the loop stands still."""
    clock._now_s += seconds
    clock.advance(0.0)


def test_a_loop_on_time_has_no_lag() -> None:
    clock, told = FakeClock(), Told()
    lag = lag_of(clock, told)
    clock.advance(5.0)
    assert lag.worst_s < 1e-6
    assert told == []


def test_a_stall_is_told_with_its_length() -> None:
    clock, told = FakeClock(), Told()
    lag = lag_of(clock, told)
    hold(clock, BEAT_S + 0.25)
    assert round(told[0][0], 6) == 0.25
    assert round(lag.worst_s, 6) == 0.25


def test_a_loop_that_stalls_all_the_time_is_told_once_a_second() -> None:
    clock, told = FakeClock(), Told()
    lag_of(clock, told)
    for _ in range(10):  # Four seconds.
        hold(clock, BEAT_S + 0.3)
    assert len(told) == 4


def test_the_worst_is_forgotten_after_a_while() -> None:
    clock = FakeClock()
    lag = lag_of(clock, Told())
    hold(clock, 1.0)
    clock.advance(9.0)
    assert lag.worst_s > 0.5
    clock.advance(15.0)
    assert lag.worst_s < 0.1


def test_stopped_it_leaves_no_timer() -> None:
    clock = FakeClock()
    lag = lag_of(clock, Told())
    clock.advance(1.0)
    lag.stop()
    assert clock.armed == 0


def test_the_watchdog_takes_the_stack_of_who_holds_the_loop() -> None:
    """Once, while the beat is overdue; not before."""
    clock = FakeClock()
    dog = Watchdog(clock, threading.get_ident())
    dog.due_s = clock.now_s()
    dog.look()
    assert dog.take() == ()
    clock.advance(0.2)
    dog.look()
    stack = dog.take()
    assert any("test_the_watchdog_takes_the_stack" in line for line in stack)
    assert dog.take() == ()


def test_a_stack_names_file_line_and_function_innermost_first() -> None:
    def inner() -> tuple[str, ...]:
        return stack_of(sys._getframe())

    stack = inner()
    assert stack[0].startswith("record/test_loop_lag.py:")
    assert stack[0].endswith(" inner")
    assert "test_a_stack_names" in stack[1]


@settings(deadline=None, max_examples=30)  # Each starts a thread.
@given(st.lists(st.floats(min_value=0.0, max_value=3.0), max_size=30))
def test_the_worst_is_never_below_the_last(holds: list[float]) -> None:
    clock = FakeClock()
    lag = lag_of(clock, Told())
    for held_s in holds:
        hold(clock, BEAT_S + held_s)
        assert lag.worst_s >= lag.last_s >= 0.0
