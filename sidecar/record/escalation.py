"""When a P2 is a P1: on over 5 % of a route's traffic, for a minute.

The minute is six slices of ten seconds; each of them must be bad, so that one
burst does not raise an alarm. Looked at only when a P2 fault happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.faults.spec import Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.faults.spec import FaultSpec

_SLICE_S = 10.0
_SLICES = 6
_RATIO = 0.05


class _Watch:
    """One code on one route: its slice, and the bad slices before that."""

    __slots__ = ("bad_slices", "faults", "requests_before", "slice")

    def __init__(self, now: int, requests: int) -> None:
        self.slice = now
        self.requests_before = requests
        self.faults = 0
        self.bad_slices = 0


class Escalation:
    """Severity as it is now; a fault of a lasting storm counts one level up."""

    def __init__(self, requests_of: Callable[[str], int]) -> None:
        self._requests_of = requests_of
        self._watches: dict[tuple[str, str], _Watch] = {}

    def severity_of(self, spec: FaultSpec, route: str, now_s: float) -> Severity:
        """Count a fault of `route`; return how severe it is."""
        if spec.severity is not Severity.P2:
            return spec.severity
        now = int(now_s / _SLICE_S)
        watch = self._watches.get((route, spec.code))
        if watch is None:
            watch = _Watch(now, self._requests_of(route))
            self._watches[route, spec.code] = watch
        elif watch.slice != now:
            self._turn(watch, now, route)
        watch.faults += 1
        return Severity.P1 if watch.bad_slices >= _SLICES else Severity.P2

    def forget(self) -> None:
        """Begin anew, with the routes of another configuration."""
        self._watches.clear()

    def _turn(self, watch: _Watch, now: int, route: str) -> None:
        """Judge the slice that is over; one without a fault ends the row."""
        requests = self._requests_of(route)
        seen = max(1, requests - watch.requests_before)
        is_bad = watch.faults > _RATIO * seen and now == watch.slice + 1
        watch.bad_slices = watch.bad_slices + 1 if is_bad else 0
        watch.slice, watch.requests_before, watch.faults = now, requests, 0
