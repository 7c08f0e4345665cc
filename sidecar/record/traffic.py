"""Traffic of the last five minutes: of each route, and of all of them together.

    MetricStore --look, each 2 s--> what was counted since, by route --> rows (bounded)
                                                     --> Tick, where somebody listens

What is kept are counts: an interval is a row, of its buckets of duration and of what
failed. Quantiles are worked out when somebody reads. A route that had no traffic has
no rows, and costs nothing; beyond 1,000 routes the others are "_other" together.
"""

from __future__ import annotations

import json
from array import array
from operator import add, sub
from typing import TYPE_CHECKING, Any, Final

from sidecar.record.metrics.histogram import DURATION_BOUNDS_S, quantile_s
from sidecar.record.metrics.store import OVERFLOW
from sidecar.record.moments import iso_time
from sidecar.record.sources import breaker_word, in_flight_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sidecar.record.metrics.store import RequestKey, RequestSeries
    from sidecar.record.sources import RouteState

INTERVAL_S: Final = 2
KEPT: Final = 150  # Intervals: five minutes.
MINUTE: Final = 30  # Intervals.
MAX_ROUTES: Final = 1000
QUANTILES: Final = (("p50_s", 0.5), ("p95_s", 0.95), ("p99_s", 0.99))
_BATCH: Final = 25  # Routes written between two turns of the loop, some 0.4 ms.
_EARLY_S: Final = 0.5  # Looks are a second apart, and a bit: each second one counts.
_SPARE: Final = 2  # Rows that may be written while somebody reads the others.
_FAILURES: Final = len(DURATION_BOUNDS_S) + 1  # Their place, after the buckets.
_WIDTH: Final = _FAILURES + 2  # The number of the interval comes first.
_ROWS: Final = KEPT + _SPARE

Counts = list[int]  # Of each bucket, then of failures.
_NONE: Final[Counts] = [0] * (_FAILURES + 1)


class Trail:
    """The last intervals of one route. A row says which one it is of."""

    __slots__ = ("_rows", "last")

    def __init__(self) -> None:
        self._rows = array("I", [0]) * (_ROWS * _WIDTH)
        self.last = 0  # The last interval with traffic; they count from 1.

    def put(self, interval: int, counts: Counts) -> None:
        """Keep what was counted in an interval; the oldest makes room."""
        start = interval % _ROWS * _WIDTH
        self._rows[start : start + _WIDTH] = array("I", (interval, *counts))
        self.last = interval

    def of(self, interval: int) -> Sequence[int]:
        """Return what was counted in an interval: nothing, if it is not kept."""
        start = interval % _ROWS * _WIDTH
        if self._rows[start] != interval:
            return _NONE
        return self._rows[start + 1 : start + _WIDTH]

    def since(self, first: int) -> Counts:
        """Return the sums from an interval on."""
        total = _NONE
        for interval in range(max(1, first), self.last + 1):
            counts = self.of(interval)
            if counts is not _NONE:
                total = list(map(add, total, counts))
        return total


class Traffic:
    """What was counted, interval by interval. Belongs to one event loop.

    Args:
        requests: Of the store: series are added to it, and none is removed.
        now_s: On the steady clock.

    Attributes:
        interval: The number of the last interval that is over; 0: none is.
        end_ns: The time of day when it was over.
        total: Of all routes.
        trails: By route.
    """

    def __init__(
        self, requests: Mapping[RequestKey, RequestSeries], now_s: float
    ) -> None:
        self._requests = requests
        self._seen: list[Counts] = []  # Of each series, in the order of the store.
        self._since_s = now_s
        self.interval = 0
        self.end_ns = 0
        self.total = Trail()
        self.trails: dict[str, Trail] = {}

    def look(self, now_s: float, wall_ns: int) -> dict[str, Counts] | None:
        """Close the interval, if it is over; return what its routes had.

        Where nobody looked for longer, the loop stood still: nothing had ended before
        the last interval of that time.
        """
        took_s = now_s - self._since_s
        if took_s < INTERVAL_S - _EARLY_S:
            return None
        self._since_s, self.end_ns = now_s, wall_ns
        self.interval += max(1, round(took_s / INTERVAL_S))
        found = self._differences()
        total = _NONE
        for route, counts in found.items():
            self.trails[route].put(self.interval, counts)
            total = list(map(add, total, counts))
        if found:
            self.total.put(self.interval, total)
        return found

    def of_minute(self, trail: Trail | None) -> Counts:
        """Return what the last minute had."""
        return _NONE if trail is None else trail.since(self.interval - MINUTE + 1)

    @property
    def minute_s(self) -> float:
        """Return how long the last minute is: less, as long as there is less."""
        return float(INTERVAL_S * max(1, min(MINUTE, self.interval)))

    def _differences(self) -> dict[str, Counts]:
        """Return what was counted since the last time, by the name it is kept under."""
        found: dict[str, Counts] = {}
        self._seen += [_NONE] * (len(self._requests) - len(self._seen))
        for index, (key, series) in enumerate(self._requests.items()):
            now, seen = [*series.durations.counts, series.failures], self._seen[index]
            if now == seen:
                continue
            self._seen[index] = now
            name = self._room_for(key[1])
            more = list(map(sub, now, seen))
            before = found.get(name)
            found[name] = more if before is None else list(map(add, before, more))
        return found

    def _room_for(self, route: str) -> str:
        """Return the name that a route is kept under, with its trail made."""
        if route in self.trails:
            return route
        if len(self.trails) >= MAX_ROUTES and route != OVERFLOW:
            self._forget_silent()
        if len(self.trails) >= MAX_ROUTES:
            route = OVERFLOW
        self.trails.setdefault(route, Trail())
        return route

    def _forget_silent(self) -> None:
        """Make room: what has had nothing for five minutes has nothing to show."""
        oldest = self.interval - KEPT
        silent = [name for name, trail in self.trails.items() if trail.last <= oldest]
        for name in silent:
            if self.trails[name].last:  # Else it was made just now.
                del self.trails[name]


class Tick:
    """An interval, for those who listen: made once, and written as JSON once."""

    def __init__(
        self,
        traffic: Traffic,
        found: dict[str, Counts],
        routes: Mapping[str, RouteState],
        now_s: float,
    ) -> None:
        self._whole = {
            "time": iso_time(traffic.end_ns),
            "interval_s": INTERVAL_S,
            "total": figures(traffic.total.of(traffic.interval)),
        }
        self._left = [
            (name, counts, standing(routes.get(name), now_s))
            for name, counts in reversed(found.items())
        ]
        self._pieces: list[str] = []
        self._text = ""

    def encode_some(self) -> bool:
        """Write a few routes as JSON, for the traffic to pass; return if all are."""
        for _ in range(min(_BATCH, len(self._left))):
            name, counts, stands = self._left.pop()
            row = {"route": name, **figures(counts), **stands}
            self._pieces.append(json.dumps(row))
        return not self._left

    def as_json(self) -> str:
        """Return it as JSON, the same text for all who listen."""
        while not self._text:
            if self.encode_some():
                routes = ", ".join(self._pieces)
                self._text = f'{json.dumps(self._whole)[:-1]}, "routes": [{routes}]}}'
        return self._text


def standing(state: RouteState | None, now_s: float) -> dict[str, Any]:
    """Return what is so of a route at this moment; a route that is none has nothing."""
    if state is None:
        return {"in_flight": 0, "breaker": "off"}
    return {"in_flight": in_flight_of(state), "breaker": breaker_word(state, now_s)}


def figures(counts: Sequence[int]) -> dict[str, Any]:
    """Return what there is to tell of counts; no quantile of no requests."""
    buckets = counts[:_FAILURES]
    return {
        "requests": sum(buckets),
        "failures": counts[_FAILURES],
        **quantiles(buckets),
    }


def quantiles(buckets: Sequence[int]) -> dict[str, float | None]:
    """Return the quantiles by name, in seconds."""
    if not any(buckets):
        return dict.fromkeys((name for name, _ in QUANTILES), None)
    found = {n: quantile_s(DURATION_BOUNDS_S, buckets, r) for n, r in QUANTILES}
    return {name: None if s is None else round(s, 6) for name, s in found.items()}


def rates(counts: Counts, span_s: float) -> dict[str, Any]:
    """Return counts of so many seconds as a rate, a share and quantiles."""
    buckets = counts[:_FAILURES]
    requests = sum(buckets)
    good = requests - counts[_FAILURES]
    return {
        "requests_per_s": round(requests / span_s, 3),
        "success_ratio": round(good / requests, 6) if requests else None,
        **quantiles(buckets),
    }


def columns(trail: Trail | None, first: int, last: int) -> dict[str, list[Any]]:
    """Return what each interval from `first` to `last` had, the oldest first."""
    kept = trail or Trail()
    rows = [figures(kept.of(interval)) for interval in range(first, last + 1)]
    names = ("requests", "failures", *(name for name, _ in QUANTILES))
    return {name: [row[name] for row in rows] for name in names}
