"""The numbers, kept as plain integers until somebody scrapes them.

Label values come from the configuration and the catalogue only, and there is a
cap on their combinations: what is over it is counted under "_other".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

from sidecar.model import hot_value

if TYPE_CHECKING:
    from sidecar.model import Fault, Outcome

OVERFLOW = "_other"
OTHER_CODE = "316-OTHER"
_MAX_APPLICATION_CODES = 64
_SERVER_ERROR = 500

# OpenTelemetry HTTP semantic conventions, http.server.request.duration.
BOUNDS_S = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)


@hot_value
class Exemplar:
    """One request that stands for many."""

    trace_id: int
    value: float
    wall_ns: int


class Histogram:
    """Counts by upper bound, the sum, and an exemplar a bucket."""

    __slots__ = ("counts", "exemplars", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def observe(self, seconds: float) -> int:
        """Count one; return its bucket."""
        index = bisect_left(BOUNDS_S, seconds)
        self.counts[index] += 1
        self.sum_s += seconds
        return index


class RequestSeries:
    """Requests alike in route, method, status and code."""

    __slots__ = ("durations", "request_bytes", "response_bytes")

    def __init__(self) -> None:
        self.durations = Histogram()
        self.request_bytes = 0
        self.response_bytes = 0


RequestKey = tuple[str, str, str, int, str]  # listener, route, method, status, code
FaultKey = tuple[str, str, str, str]  # code, severity, upstream, route


class MetricStore:
    """Everything that is counted."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._application_codes: set[str] = set()
        self._failing: dict[tuple[str, str], float] = {}
        self.requests: dict[RequestKey, RequestSeries] = {}
        self.faults: dict[FaultKey, int] = {}
        self.fault_exemplars: dict[FaultKey, Exemplar] = {}
        self.recoveries: defaultdict[str, Histogram] = defaultdict(Histogram)
        self.retries: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.retries_by_route: defaultdict[str, int] = defaultdict(int)
        self.retries_skipped: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.timeouts: defaultdict[str, int] = defaultdict(int)
        self.transitions: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self.successes = 0
        self.failures = 0

    def count(self, outcome: Outcome) -> None:
        """Count a request that has ended."""
        fault = outcome.fault
        code = "" if fault is None else self._label(fault)
        method = outcome.method if outcome.method in METHODS else "_OTHER"
        key = (outcome.listener, outcome.route, method, outcome.status, code)
        series = self.requests.get(key)
        if series is None:
            series = self._new_series(key)
        bucket = series.durations.observe(outcome.duration_s)
        series.request_bytes += outcome.request_bytes
        series.response_bytes += outcome.response_bytes
        if outcome.trace.sampled:
            series.durations.exemplars[bucket] = _exemplar(outcome, outcome.duration_s)
        if fault is None and not self._failing:
            self.successes += 1
            return
        self._count_result(outcome, fault, code)

    def count_fault(
        self, code: str, severity: str, upstream: str, route: str
    ) -> FaultKey:
        """Count a fault; return its key."""
        key = (code, severity, upstream, route)
        if key not in self.faults and len(self.faults) >= self._max_series:
            key = (code, severity, OVERFLOW, OVERFLOW)
        self.faults[key] = self.faults.get(key, 0) + 1
        return key

    def _count_result(self, outcome: Outcome, fault: Fault | None, code: str) -> None:
        if outcome.status >= _SERVER_ERROR:
            self.failures += 1
        else:
            self.successes += 1
        if fault is None:
            self._recover(outcome)
            return
        severity = fault.spec.severity.name
        key = self.count_fault(code, severity, outcome.upstream, outcome.route)
        self.fault_exemplars[key] = _exemplar(outcome, 1.0)
        self._failing.setdefault((outcome.route, code), outcome.start_s)
        if fault.timeout is not None:
            self.timeouts[fault.timeout.value] += 1
        if outcome.retry_skipped:
            self.retries_skipped[outcome.upstream, outcome.retry_skipped] += 1

    def _recover(self, outcome: Outcome) -> None:
        """A success ends every failure of its route."""
        ended = [key for key in self._failing if key[0] == outcome.route]
        for key in ended:
            since_s = self._failing.pop(key)
            now_s = outcome.start_s + outcome.duration_s
            self.recoveries[key[1]].observe(max(0.0, now_s - since_s))

    def _label(self, fault: Fault) -> str:
        """Return the code as a label; applications may invent only so many."""
        code = fault.spec.code
        if (
            fault.spec.status
            or fault.spec.proxy_error
            or code in self._application_codes
        ):
            return code
        if len(self._application_codes) >= _MAX_APPLICATION_CODES:
            return OTHER_CODE
        self._application_codes.add(code)
        return code

    def _new_series(self, key: RequestKey) -> RequestSeries:
        if len(self.requests) >= self._max_series:
            listener, _, method, status, code = key
            key = (listener, OVERFLOW, method, status // 100 * 100, code and OTHER_CODE)
            known = self.requests.get(key)
            if known is not None:
                return known
        series = self.requests[key] = RequestSeries()
        return series


def _exemplar(outcome: Outcome, value: float) -> Exemplar:
    return Exemplar(outcome.trace.trace_id, value, outcome.start_wall_ns)
