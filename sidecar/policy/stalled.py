"""Clients that do not read their answers, held to a part of an upstream's places.

    client full --> stalls --> takes what there was --> resumes
                      |
                      more than `most` stall at once: who has taken next to nothing
                      for `after_s` is ended, longest first

Whoever reads slowly holds a connection to the upstream and a place there, since
nothing is kept here for long. That is all right, until so many do it that nobody
else gets a place (slow read, as in "slowhttptest"; CWE-400). Up to `most` nobody is
ended before `timeouts.downstream_write`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from sidecar.clock import Clock, Timer

_LEAST_BYTES_PER_S: Final = 1024  # Who takes less is taken for stuck.


class Reader(Protocol):
    """Whose client is to read an answer."""

    def unsent_bytes(self) -> int:
        """Return how much of what was written the client has not taken yet."""

    def end_stalled(self, detail: str) -> None:
        """Give the place up; `resumed` is called before this returns, or soon."""


class StalledReaders:
    """Those of one upstream.

    Args:
        most: So many may stall at once, for as long as other limits let them.
        after_s: No one is ended before it has stalled for so long.
        clock: Time.
    """

    __slots__ = ("_after_s", "_clock", "_most", "_readers", "_timer")

    def __init__(self, most: int, after_s: float, clock: Clock) -> None:
        self._most = most
        self._after_s = after_s
        self._clock = clock
        # When it was looked at and what it had not taken then; longest ago first.
        self._readers: dict[Reader, tuple[float, int]] = {}
        self._timer: Timer | None = None

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<StalledReaders {self.count}/{self._most}>"

    @property
    def count(self) -> int:
        """How many stall now."""
        return len(self._readers)

    def stalls(self, reader: Reader) -> None:
        """A client is full; it may be known to be."""
        if reader not in self._readers:
            self._readers[reader] = (self._clock.now_s(), reader.unsent_bytes())
            if len(self._readers) > self._most:
                self._look_later()

    def resumed(self, reader: Reader) -> None:
        """A client reads again, or its exchange is over; it may never have stalled."""
        if self._readers:
            self._readers.pop(reader, None)
            if self._timer is not None and len(self._readers) <= self._most:
                self._timer.cancel()
                self._timer = None

    def _look_later(self) -> None:
        """Look when the one that stalls longest does so for too long."""
        if self._timer is None:
            since_s, _ = next(iter(self._readers.values()))
            self._timer = self._clock.call_at(since_s + self._after_s, self._look)

    def _look(self) -> None:
        """End who stalls for too long while there are too many, longest first."""
        self._timer = None
        now_s = self._clock.now_s()
        while len(self._readers) > self._most:
            reader, (since_s, before_bytes) = next(iter(self._readers.items()))
            if now_s < since_s + self._after_s:
                self._look_later()
                return
            left_bytes = reader.unsent_bytes()
            taken_bytes, took_s = before_bytes - left_bytes, now_s - since_s
            del self._readers[reader]
            if taken_bytes >= _LEAST_BYTES_PER_S * took_s:
                self._readers[reader] = (now_s, left_bytes)  # Slow, not stuck.
            else:
                reader.end_stalled(
                    f"the client took {max(0, taken_bytes)} bytes in {took_s:.1f} s,"
                    f" and {len(self._readers)} others read as slowly"
                )
