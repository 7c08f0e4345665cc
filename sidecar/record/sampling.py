"""Which of very many failures are kept whole: pure, time and chance are arguments.

of a second   the first of each group, the first `per_s` of all, and of the rest
              a fair sample, known when the second is over
of a group    the first, the last, and a fair sample of all between
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

T = TypeVar("T")

PER_S: Final = 50
MAX_FIRSTS: Final = 500
RESERVOIR: Final = 25
EXAMPLES: Final = 3


class Reservoir(Generic[T]):
    """A fair sample of a stream: each item is as likely to be in it as any other.

    Source:
        "Algorithm R" in J. Vitter, "Random Sampling with a Reservoir", ACM TOMS, 1985.
    """

    __slots__ = ("_most", "items", "seen")

    def __init__(self, most: int) -> None:
        self._most = most
        self.seen = 0
        self.items: list[T] = []

    def offer(self, item: T, rng: Random) -> None:
        """Take one more into account."""
        seen = self.seen = self.seen + 1
        most = self._most
        if seen <= most:
            self.items.append(item)
            return
        place = rng.random() * seen
        if place < most:
            self.items[int(place)] = item


class Examples(Generic[T]):
    """The first, the last, and a few between.

    Attributes:
        kept: The latest that has a record, a line and a span of its own.
        told: One that somebody was told of; it stays, for who comes to ask.
    """

    __slots__ = ("_between", "first", "kept", "last", "told")

    def __init__(self, most: int = EXAMPLES) -> None:
        self.first: T | None = None
        self.last: T | None = None
        self.kept: T | None = None
        self.told: T | None = None
        self._between: Reservoir[T] = Reservoir(most)

    def __iter__(self) -> Iterator[T]:
        """Yield each once: the first, those between, the last."""
        if self.first is not None:
            yield self.first
        between = self._between.items
        others = (self.first, self.last, *between)
        if self.told is not None and all(self.told is not item for item in others):
            yield self.told
        for item in between:
            if item is not self.last:
                yield item
        if self.last is not None and self.last is not self.first:
            yield self.last

    def tell(self) -> T | None:
        """Return the one to tell somebody of, and hold on to it."""
        self.told = self.last if self.kept is None else self.kept
        return self.told

    def offer(self, item: T, rng: Random) -> None:
        """Take one more into account."""
        if self.first is None:
            self.first = item
        else:
            self._between.offer(item, rng)
        self.last = item


class StormSample(Generic[T]):
    """What of a second is kept.

    Attributes:
        left_out: How many were not kept, in all.
    """

    def __init__(
        self, rng: Random, per_s: int = PER_S, reservoir: int = RESERVOIR
    ) -> None:
        self._rng = rng
        self._per_s = per_s
        self._most = reservoir
        self._second = -1
        self._taken = 0
        self._groups: set[object] = set()
        self._rest: Reservoir[T] = Reservoir(reservoir)
        self.left_out = 0

    @property
    def pending(self) -> list[T]:
        """Return what may still be kept of this second."""
        return self._rest.items

    def turn(self, now_s: float) -> list[T]:
        """Return what is kept of the second that is over, if one is."""
        second = int(now_s)
        if second == self._second:
            return []
        rest, self._rest = self._rest, Reservoir(self._most)
        self._second, self._taken = second, 0
        self._groups.clear()
        return rest.items

    def takes(self, group: object) -> bool:
        """Tell whether a failure of `group` is kept at once; else `offer` it."""
        most = self._per_s
        if group not in self._groups:
            most += (
                MAX_FIRSTS  # Who invents codes without end makes groups without end.
            )
        if self._taken >= most:
            return False
        self._groups.add(group)
        self._taken += 1
        return True

    def offer(self, item: T) -> None:
        """Let chance decide."""
        rest = self._rest
        if rest.seen >= self._most:
            self.left_out += 1  # This one, or the one whose place it takes.
        rest.offer(item, self._rng)
