"""What this process uses: memory and CPU, read when somebody asks."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import cache
from typing import Any

_MIN_CPU_WINDOW_S = 1.0  # Over less, the clock ticks of the kernel show.
_RATE_WINDOW_S = 60.0
_last_rss = [0]


@cache
def _process() -> Any:
    import psutil  # noqa: PLC0415 - only when somebody wants to know

    return psutil.Process()


def rss_bytes() -> int:
    """Return the resident memory of this process; as it was, if no file can be opened.

    That is when a failure is told of: the telling must not fail for the same reason.
    """
    with suppress(OSError):
        _last_rss[0] = int(_process().memory_info().rss)
    return _last_rss[0]


def cpu_s() -> float:
    """Return the processor time that this process has used."""
    times = _process().cpu_times()
    return float(times.user + times.system)


def age_s(wall_ns: int) -> float:
    """Return how long this process has run, given the time of day."""
    return max(1e-3, wall_ns / 1e9 - float(_process().create_time()))


def event_loop_tasks() -> int:
    """Return how many tasks the running event loop has; 0 where none runs."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


class CpuMeter:
    """Percent of one core, between one reading and the next."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._percent = 0.0

    def percent(self, now_s: float, used_s: float, age_s: float) -> float:
        """Return the use since the last reading; of the whole life at the first.

        Args:
            now_s: Now.
            used_s: Processor time used so far.
            age_s: For how long this process has run.
        """
        if self._last is None:
            self._percent = 100.0 * used_s / age_s
        elif now_s - self._last[0] >= _MIN_CPU_WINDOW_S:
            since_s, before_s = self._last
            self._percent = 100.0 * (used_s - before_s) / (now_s - since_s)
        else:
            return self._percent
        self._last = (now_s, used_s)
        return self._percent


class SuccessRate:
    """Share of good requests, of those in about the last minute.

    It keeps what the counters said at each reading, and compares with the oldest
    reading of the minute: so it costs nothing between scrapes.
    """

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int, int]] = deque([(float("-inf"), 0, 0)])

    def ratio(self, now_s: float, good: int, bad: int) -> float:
        """Return the share, given the counters of now; 1 when nothing ended."""
        readings = self._readings
        while len(readings) > 1 and readings[1][0] <= now_s - _RATE_WINDOW_S:
            readings.popleft()
        _, good_before, bad_before = readings[0]
        if now_s - readings[-1][0] >= 1.0:
            readings.append((now_s, good, bad))
        done = good + bad - good_before - bad_before
        return (good - good_before) / done if done else 1.0
