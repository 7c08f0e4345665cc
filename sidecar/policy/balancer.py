"""Which endpoint gets the next attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class RoundRobin:
    """One after the other; never one that was tried while an untried is left."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def pick(self, count: int, tried: Collection[int] = ()) -> int:
        """Return an index below `count`.

        Raises:
            ValueError: There is none to pick.
        """
        if count < 1:
            msg = "no endpoint to pick from"
            raise ValueError(msg)
        first = self._next % count
        if not tried:  # A retry takes no turn, or two endpoints would fall in step.
            self._next = first + 1
            return first
        for step in range(count):
            index = (first + step) % count
            if index not in tried:
                return index
        return first  # All were tried: go round again.
