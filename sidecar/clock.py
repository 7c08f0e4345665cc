"""The only file that reads a clock or arms a timer.

Everything else takes a `Clock`, or, where it is pure, a number of seconds. So a
test moves time by hand, and no policy can wait by accident.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Timer(Protocol):
    """A call that is yet to happen."""

    def cancel(self) -> None:
        """Make sure that it does not happen."""


class Clock(Protocol):
    """Time as a proxy needs it: a steady one, a civil one, and timers."""

    def now_s(self) -> float:
        """Return seconds on a clock that never goes back; its zero means nothing."""

    def wall_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC, for people and for spans."""

    def call_at(self, when_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` once `now_s()` has reached `when_s`."""


class LoopClock:
    """The clock of a running event loop."""

    __slots__ = ("_loop", "now_s", "wall_ns")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now_s: Callable[[], float] = time.monotonic  # noqa: TID251 - its one home
        self.wall_ns: Callable[[], int] = time.time_ns

    def call_at(self, when_s: float, callback: Callable[[], object]) -> Timer:
        """Arm a timer of the loop."""
        return self._loop.call_later(max(0.0, when_s - self.now_s()), callback)


class Alarm:
    """One deadline that moves often and fires seldom.

    Arming and cancelling a timer of the loop for each request costs more than
    most of what a request needs, so the timer is left where it is while the
    deadline moves later; if it fires too early it is armed again for the rest.
    """

    __slots__ = ("_armed_for_s", "_clock", "_due_s", "_on_due", "_timer")

    def __init__(self, clock: Clock, on_due: Callable[[], object]) -> None:
        self._clock = clock
        self._on_due = on_due
        self._due_s = NEVER_S
        self._armed_for_s = NEVER_S
        self._timer: Timer | None = None

    @property
    def due_s(self) -> float:
        """When it goes off, on the clock; infinity when it is not set."""
        return self._due_s

    def set(self, due_s: float) -> None:
        """Go off at `due_s` instead of whenever it was set for."""
        self._due_s = due_s
        if due_s < self._armed_for_s:
            if self._timer is not None:
                self._timer.cancel()
            self._armed_for_s = due_s
            self._timer = self._clock.call_at(due_s, self._fire)

    def clear(self) -> None:
        """Do not go off; the timer stays armed, it is cheaper to let it fire."""
        self._due_s = NEVER_S

    def close(self) -> None:
        """Give the timer back; the alarm can be set again."""
        self._due_s = self._armed_for_s = NEVER_S
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._armed_for_s = NEVER_S
        if self._due_s == NEVER_S:
            return
        if self._clock.now_s() < self._due_s:
            self.set(self._due_s)
            return
        self._due_s = NEVER_S
        self._on_due()


NEVER_S: Final = float("inf")
