"""Which of very many failures are kept whole: pure, time and chance are arguments.

of a second   the first of each group, the first `per_s` of all, and of the rest
              a fair sample, known when the second is over
of a group    the first, the last, and a fair sample of all between
"""

from __future__ import annotations

import sys
from math import exp, floor, log, log1p
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

T = TypeVar("T")

# What is kept has a record, a line and a span, some 0.4 ms of processor time in all:
# so many a second are about one percent of a core, and more than anybody reads.
PER_S: Final = 20
RESERVOIR: Final = 10
MAX_FIRSTS: Final = 100  # Who invents codes without end makes groups without end.
EXAMPLES: Final = 3
_LEAST: Final = 2.0**-1000  # Above 0,
_MOST: Final = 1.0 - 2.0**-53  # and below 1: a logarithm of both there is.


class Reservoir(Generic[T]):
    """A fair sample of a stream: each item is as likely to be in it as any other.

    How many are passed over until the next one is taken is drawn at once: most items
    cost no more than a comparison.

    Source:
        "Algorithm L" in K.-H. Li, "Reservoir-Sampling Algorithms of Time Complexity
        O(n(1 + log(N/n)))", ACM TOMS, 1994.
    """

    __slots__ = ("_largest", "_most", "_next", "items", "seen")

    def __init__(self, most: int) -> None:
        self._most = most
        # The one that is taken next, counted from 1.
        self._next = 0 if most else sys.maxsize
        self._largest = 1.0  # Of as many random numbers as there are places.
        self.seen = 0
        self.items: list[T] = []

    def offer(self, item: T, rng: Random) -> None:
        """Take one more into account."""
        self.seen += 1
        if self.seen < self._next:
            return
        if self.seen <= self._most:
            self.items.append(item)
            if self.seen < self._most:
                return
        else:
            self.items[int(rng.random() * self._most)] = item
        self._draw_next(rng)

    def _draw_next(self, rng: Random) -> None:
        chance = max(_LEAST, rng.random())
        self._largest = min(_MOST, self._largest * exp(log(chance) / self._most))
        passed = floor(log(max(_LEAST, rng.random())) / log1p(-self._largest))
        self._next = self.seen + passed + 1


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

    def takes(self, group: object, *, is_wanted: bool = False) -> bool:
        """Tell whether a failure of `group` is kept at once; else `offer` it.

        Args:
            group: Whose failure it is.
            is_wanted: The first of the group is, however many others there are.
        """
        if group in self._groups:
            if self._taken >= self._per_s:
                return False
        elif self._taken >= self._per_s + MAX_FIRSTS and not is_wanted:
            return False
        self._groups.add(group)
        self._taken += 1
        return True

    def has(self, group: object) -> bool:
        """Tell whether one of `group` was kept in this second."""
        return group in self._groups

    def offer(self, item: T) -> None:
        """Let chance decide."""
        rest = self._rest
        if rest.seen >= self._most:
            self.left_out += 1  # This one, or the one whose place it takes.
        rest.offer(item, self._rng)
