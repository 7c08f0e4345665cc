"""Which endpoint gets the next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class RoundRobin:
    """One after the other; never one that was tried while an untried is left.

    Retries go round on their own. Did they take the turns of first tries, a dead
    endpoint of two would be everybody's first; did they start from the next turn,
    the neighbour of a dead one would get all of its load.
    """

    __slots__ = ("_next", "_next_retry")

    def __init__(self) -> None:
        self._next = 0
        self._next_retry = 0

    def pick(self, count: int, tried: Collection[int] = ()) -> int:
        """Return an index below `count`.

        Raises:
            ValueError: There is none to pick.
        """
        if count < 1:
            msg = "no endpoint to pick from"
            raise ValueError(msg)
        if not tried:
            first = self._next % count
            self._next = first + 1
            return first
        first = self._next_retry % count
        turns = ((first + step) % count for step in range(count))
        index = next((turn for turn in turns if turn not in tried), first)
        self._next_retry = index + 1
        return index
