"""A sliding window over counters that only grow.

    bucket   |  n-9  |  n-8  |  ...  |   n   |
             ^ mark  ^ mark          ^ mark  now

Counting is an addition and nothing else: whoever counts keeps ever-growing totals,
and this keeps what they were when each bucket began. What happened within the
window is the totals of now less those at its start.
"""

from __future__ import annotations

from typing import Final

BUCKETS: Final = 10

Totals = tuple[int, ...]


class Window:
    """Remembers totals for the length of a window.

    At `next_turn_s` or later, `turn` is to be called before anything is counted.
    """

    __slots__ = ("_bucket_s", "_marks", "_newest", "next_turn_s")

    def __init__(self, window_s: float, totals: Totals) -> None:
        self._bucket_s = window_s / BUCKETS
        self._newest = 0
        self._marks = [totals] * BUCKETS
        self.next_turn_s = float("-inf")

    def turn(self, now_s: float, totals: Totals) -> Totals:
        """Begin the bucket of `now_s`; return the totals at the window's start."""
        bucket = int(now_s / self._bucket_s)
        first = max(self._newest + 1, bucket - BUCKETS + 1)
        for begun in range(first, bucket + 1):
            self._marks[begun % BUCKETS] = totals
        self._newest = bucket
        self.next_turn_s = (bucket + 1) * self._bucket_s
        return self._marks[(bucket + 1) % BUCKETS]

    def restart(self, totals: Totals) -> None:
        """Forget all that was counted until now."""
        self._marks = [totals] * BUCKETS
