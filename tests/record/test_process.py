"""What the process uses, as far as arithmetic goes."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.process import (
    CpuMeter,
    SuccessRate,
    event_loop_tasks,
)


def test_cpu_is_that_between_two_readings() -> None:
    meter = CpuMeter()
    assert meter.percent(100.0, 2.0, 10.0) == 20.0  # Of its whole life, at first.
    assert meter.percent(104.0, 3.0, 14.0) == 25.0
    assert meter.percent(104.5, 3.5, 14.5) == 25.0  # Too soon: as before.


def test_success_is_that_of_the_last_minute() -> None:
    rate = SuccessRate()
    assert rate.ratio(0.0, 0, 0) == 1.0
    assert rate.ratio(10.0, 50, 50) == 0.5
    assert rate.ratio(30.0, 150, 50) == 0.75
    assert rate.ratio(100.0, 250, 50) == 1.0


@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(0, 9), st.integers(0, 9))))
def test_success_is_a_share(steps: list[tuple[float, int, int]]) -> None:
    rate, now_s, good, bad = SuccessRate(), 0.0, 0, 0
    for after_s, more_good, more_bad in steps:
        now_s, good, bad = now_s + after_s, good + more_good, bad + more_bad
        assert 0.0 <= rate.ratio(now_s, good, bad) <= 1.0


async def test_the_tasks_of_the_loop_are_counted_while_they_last() -> None:
    before = event_loop_tasks()
    task = asyncio.create_task(asyncio.Event().wait())
    assert event_loop_tasks() == before + 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert event_loop_tasks() == before


def test_where_no_loop_runs_there_are_no_tasks() -> None:
    assert event_loop_tasks() == 0
