"""A cap on how much is under way at once."""

from __future__ import annotations


class InFlightLimit:
    """Each granted `try_enter` is followed by one `leave`."""

    __slots__ = ("_max", "count")

    def __init__(self, most: int) -> None:
        self._max = most
        self.count = 0

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<InFlightLimit {self.count}/{self._max}>"

    def try_enter(self) -> bool:
        """Count one more, unless the cap is reached."""
        if self.count >= self._max:
            return False
        self.count += 1
        return True

    def enter(self) -> None:
        """Count one more, over the cap if need be."""
        self.count += 1

    def allow(self, most: int) -> None:
        """Have another cap from now on; who is inside stays."""
        self._max = most

    def leave(self) -> None:
        """One less is under way."""
        self.count -= 1
