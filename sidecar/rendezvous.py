"""One coroutine waits, many callbacks may wake it, and the first one wins.

The coroutine is driven from here, not by a task: whoever wakes it runs it, at
once, up to its next wait. A future and a turn of the event loop for each of the
two waits of a request cost more than all of the policies together. Hence two
rules for what is driven so: it awaits nothing but this, and whoever wakes it has
put its own house in order before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


class Rendezvous:
    """Where a coroutine meets what it waits for.

    A wake-up that comes while nobody waits is dropped: its sender keeps the
    state anyway. An interruption is kept and raised at the next wait, since
    whoever left or ran out of time does not come back to say it again.

    Attributes:
        interruption: What is kept.
    """

    __slots__ = ("_coroutine", "_is_waiting", "interruption")

    def __init__(self) -> None:
        self._coroutine: Coroutine[None, None, None] | None = None
        self.interruption: BaseException | None = None
        self._is_waiting = False

    def __repr__(self) -> str:
        """Return its state in a line."""
        doing = "waits" if self._is_waiting else "runs"
        return f"<Rendezvous {'over' if self._coroutine is None else doing}>"

    def run(self, story: Coroutine[None, None, None]) -> None:
        """Start `story` and drive it; it must not raise."""
        self._coroutine = story
        self._is_waiting = True
        self.deliver()

    def __await__(self) -> Generator[None, None, None]:
        """Return when `deliver` is called.

        Raises:
            BaseException: What `interrupt` was given.
        """
        if self.interruption is not None:
            error, self.interruption = self.interruption, None
            raise error
        self._is_waiting = True
        yield

    def deliver(self) -> None:
        """Let the one who waits go on; it has, when this returns."""
        if self._is_waiting and self._coroutine is not None:
            self._is_waiting = False
            try:
                self._coroutine.send(None)
            except StopIteration:
                self._coroutine = None

    def interrupt(self, error: BaseException) -> None:
        """Raise `error` where it waits, or where it waits next."""
        if self._is_waiting and self._coroutine is not None:
            self._is_waiting = False
            try:
                self._coroutine.throw(error)
            except StopIteration:
                self._coroutine = None
        elif self.interruption is None:
            self.interruption = error

    def forget(self) -> None:
        """Drop an interruption that nobody needs to hear any more."""
        self.interruption = None
