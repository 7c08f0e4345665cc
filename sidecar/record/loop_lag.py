"""How late the event loop is, and what held it when it stood still.

    loop     a beat every 100 ms; how late it comes is the lag
    thread   looks at the beat twice as often; when it is overdue, the stack of
             the loop's thread names who holds it

Whoever holds the loop cannot tell of it afterwards, so the stack is taken by the
other thread while it lasts.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from sidecar.clock import Clock, Timer

BEAT_S = 0.1
STALL_S = 0.1
_LOOK_S = 0.05
_WORST_OF_S = 10.0
_MAX_FRAMES = 12
_TELL_EVERY_S = 1.0  # A throttled process stalls all the time; once says it.


class LoopLag:
    """Measures the lag of the loop that calls `start`."""

    def __init__(
        self,
        clock: Clock,
        on_stall: Callable[[float, tuple[str, ...]], object],
        on_beat: Callable[[float, float], object] | None = None,
    ) -> None:
        self._clock = clock
        self._on_stall = on_stall
        self._on_beat = on_beat  # Told when it is and how late, at each beat.
        self._due_s = 0.0
        self._timer: Timer | None = None
        self._watchdog: Watchdog | None = None
        self._until_s = 0.0
        self._tell_from_s = float("-inf")
        self._worst = [0.0, 0.0]  # Of the last ten seconds, and of this ten.
        self.last_s = 0.0

    @property
    def worst_s(self) -> float:
        """Return the worst lag of the last ten to twenty seconds.

        A scrape comes between two stalls more often than in one.
        """
        return max(self._worst)

    def start(self) -> None:
        """Begin to beat, on this thread's loop."""
        self._watchdog = Watchdog(self._clock, threading.get_ident())
        self._beat_at(self._clock.now_s() + BEAT_S)
        self._watchdog.start()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def _beat_at(self, due_s: float) -> None:
        self._due_s = due_s
        if self._watchdog is not None:
            self._watchdog.due_s = due_s
        self._timer = self._clock.call_at(due_s, self._beat)

    def _beat(self) -> None:
        now_s = self._clock.now_s()
        self.last_s = max(0.0, now_s - self._due_s)
        if now_s >= self._until_s:
            self._until_s = now_s + _WORST_OF_S
            self._worst = [self._worst[1], 0.0]
        self._worst[1] = max(self._worst[1], self.last_s)
        stack = () if self._watchdog is None else self._watchdog.take()
        if self.last_s > STALL_S and now_s >= self._tell_from_s:
            self._tell_from_s = now_s + _TELL_EVERY_S
            self._on_stall(self.last_s, stack)
        if self._on_beat is not None:
            self._on_beat(now_s, self.last_s)
        if self._timer is not None:  # Not stopped by what was just called.
            self._beat_at(now_s + BEAT_S)


class Watchdog:
    """The other thread: takes the stack of a thread whose beat is overdue."""

    def __init__(self, clock: Clock, thread_id: int) -> None:
        self._clock = clock
        self._thread_id = thread_id
        self._is_over = threading.Event()
        self._stack: tuple[str, ...] = ()
        self.due_s = float("inf")  # Written by the loop, read here.

    def start(self) -> None:
        """Look again and again, in a thread of its own."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()

    def look(self) -> None:
        """Take the stack, if the beat is overdue and none was taken yet."""
        if self._stack or self._clock.now_s() - self.due_s <= STALL_S:
            return
        frames = sys._current_frames()  # noqa: SLF001 - documented, "for specialists"
        frame = frames.get(self._thread_id)
        if frame is not None:
            self._stack = stack_of(frame)

    def take(self) -> tuple[str, ...]:
        """Return the stack that was taken since the last call, innermost first."""
        stack, self._stack = self._stack, ()
        return stack

    def _run(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            self.look()


def stack_of(frame: FrameType | None) -> tuple[str, ...]:
    """Return where a frame is and who called it: "file.py:line function"."""
    lines: list[str] = []
    while frame is not None and len(lines) < _MAX_FRAMES:
        code = frame.f_code
        name = "/".join(code.co_filename.replace("\\", "/").rsplit("/", 2)[-2:])
        lines.append(f"{name}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return tuple(lines)
