"""Time that moves when a test says so."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeTimer:
    """A timer of the `FakeClock`."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


class FakeClock:
    """A clock that stands still until `advance`; it fires timers in order."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self._now_s = start_s
        self._order = count()
        self._timers: list[tuple[float, int, FakeTimer]] = []

    def now_s(self) -> float:
        return self._now_s

    def wall_ns(self) -> int:
        return 1_700_000_000_000_000_000 + int((self._now_s - 1000.0) * 1e9)

    def call_at(self, when_s: float, callback: Callable[[], object]) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._timers, (when_s, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move on, calling what falls due at its own time on the way."""
        end_s = self._now_s + seconds
        while self._timers and self._timers[0][0] <= end_s:
            when_s, _, timer = heapq.heappop(self._timers)
            self._now_s = max(self._now_s, when_s)
            if timer.callback is not None:
                timer.callback()
        self._now_s = end_s

    @property
    def armed(self) -> int:
        """How many timers are yet to fire: what a leak test looks at."""
        return sum(timer.callback is not None for *_, timer in self._timers)
