"""Counts by upper bound: what a Prometheus histogram is made of."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# OpenTelemetry HTTP semantic conventions, http.server.request.duration.
DURATION_BOUNDS_S: Final[tuple[float, ...]] = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
# A failure may heal with the next retry, or with the next release.
RECOVERY_BOUNDS_S: Final[tuple[float, ...]] = (
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
)  # fmt: skip


@dataclass(slots=True)
class Exemplar:
    """One request that stands for many."""

    trace_id: int
    value: float
    wall_ns: int


class Histogram:
    """Counts by upper bound, the sum, and an exemplar a bucket."""

    __slots__ = ("bounds_s", "counts", "exemplars", "sum_s")

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)  # The last: above every bound.
        self.sum_s = 0.0
        self.exemplars: dict[int, Exemplar] = {}  # By bucket.

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Histogram count={sum(self.counts)} sum={self.sum_s:g}s>"

    def observe(self, seconds: float) -> int:
        """Count one; return its bucket."""
        bucket = bisect_left(self.bounds_s, seconds)
        self.counts[bucket] += 1
        self.sum_s += seconds
        return bucket


def quantile_s(
    bounds_s: Sequence[float], counts: Sequence[int], ratio: float
) -> float | None:
    """Return about which duration `ratio` of the requests stayed under.

    Args:
        bounds_s: Upper bound of each bucket but the last, which has none.
        counts: Requests in each bucket.
        ratio: Such as 0.95.

    Returns:
        Seconds, straight between the bounds of its bucket; the last bound for
        what is above it; None if nothing was counted.
    """
    rank = ratio * sum(counts)
    below = 0
    for index, count in enumerate(counts[:-1]):
        if count and below + count >= rank:
            low_s = bounds_s[index - 1] if index else 0.0
            share = (rank - below) / count
            return low_s + (bounds_s[index] - low_s) * share
        below += count
    return bounds_s[-1] if sum(counts) else None
