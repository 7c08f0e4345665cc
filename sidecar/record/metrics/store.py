"""The numbers, kept as plain integers until somebody scrapes them.

Label values come from the configuration and the catalogue only. And there is a
hard cap on how many series they may become: a set of labels is admitted while
there is room for all of its series, later ones are counted under "_other". The
room for "_other" itself is set aside from the start.

    max_series = _FIXED + 4/5 here ( room for label sets + _RESERVED )
                        + 1/5 live state
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, find
from sidecar.model import Limit, Origin, TimeoutKind
from sidecar.policy.outlier import Standing
from sidecar.record.metrics.histogram import (
    DURATION_BOUNDS_S,
    RECOVERY_BOUNDS_S,
    Exemplar,
    Histogram,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.model import Fault, Outcome
    from sidecar.policy.outlier import Reason

OVERFLOW: Final = "_other"
OTHER_CODE: Final = FaultCode.OTHER.spec.code
METHODS: Final = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
)
_MAX_APPLICATION_CODES: Final = 64
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400
_MAX_STATUS_CLASS: Final = 6  # What is above is no HTTP status; it counts as 600.

# Buckets, the one above all bounds, sum and count.
_DURATION_SERIES: Final = len(DURATION_BOUNDS_S) + 3
_RECOVERY_SERIES: Final = len(RECOVERY_BOUNDS_S) + 3
_REQUEST_SERIES: Final = _DURATION_SERIES + 2  # And the bytes of both directions.
_RESERVED: Final = (
    2 * (_MAX_STATUS_CLASS + 1) * _REQUEST_SERIES  # Two listeners.
    + 2 * len(FaultCode) + _MAX_APPLICATION_CODES  # Faults keep code and severity.
    + _RECOVERY_SERIES
    + 4  # Retries, and retries not made; ejections and avoidances.
    + 6  # Moves between three states of a breaker.
)  # fmt: skip
_FIXED: Final = (
    _DURATION_SERIES  # Of all requests together.
    + len(TimeoutKind)
    + len(Limit)
    + 35  # Success rate, process, build, log, OTLP, to spare; live "_other".
    + 24  # Intercepted connections: two listeners, and few words.
    + 16  # Levels of overload, and what was refused, by resource and kind.
    + 12  # The fault feed: groups, records kept and not kept.
)  # fmt: skip
_STORE_SHARE: Final = 0.8
MIN_SERIES: Final = 1000  # A cap below could not be kept: so much is there in any case.

# An attempt tells its code only; these mean one limit of time each.
_TIMEOUT_OF_CODE: Final = {
    FaultCode.TIMEOUT_TRY.spec.code: TimeoutKind.PER_TRY,
    FaultCode.TIMEOUT_READ.spec.code: TimeoutKind.PER_TRY_IDLE,
    FaultCode.TIMEOUT_WRITE.spec.code: TimeoutKind.UPSTREAM_WRITE,
    FaultCode.CONN_TIMEOUT.spec.code: TimeoutKind.CONNECT,
    FaultCode.DNS_TIMEOUT.spec.code: TimeoutKind.DNS,
}

RequestKey = tuple[str, str, str, int, str]  # listener, route, method, status, code
FaultKey = tuple[str, str, str, str]  # code, severity, upstream, route


def shares_of(max_series: int) -> tuple[int, int]:
    """Split a cap on series: for what is counted here, and for live state."""
    left = max(MIN_SERIES, max_series) - _FIXED
    counted = int(left * _STORE_SHARE)
    return counted, left - counted


class RequestSeries:
    """Requests alike in route, method, status and code."""

    __slots__ = ("durations", "failures", "request_bytes", "response_bytes")

    def __init__(self) -> None:
        self.durations = Histogram(DURATION_BOUNDS_S)
        self.failures = 0  # As users feel them.
        self.request_bytes = 0
        self.response_bytes = 0


class MetricStore:
    """Everything that is counted. Belongs to one event loop."""

    def __init__(self, max_series: int) -> None:
        self._room = shares_of(max_series)[0] - _RESERVED
        self._application_codes: set[str] = set()
        self._failing: set[str] = set()  # Routes that had no success since.
        # Of successes: route: method: status. A route has but one listener.
        self._plain: dict[str, dict[str, dict[int, RequestSeries]]] = {}
        self.requests: dict[RequestKey, RequestSeries] = {}
        self.faults: dict[FaultKey, int] = {}
        self.fault_exemplars: dict[FaultKey, Exemplar] = {}
        self.recoveries: dict[str, Histogram] = {}
        self.retries: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.retries_by_route: defaultdict[str, int] = defaultdict(int)
        self.retries_skipped: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.timeouts: defaultdict[str, int] = defaultdict(int)
        self.transitions: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self.ejections: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.avoidances: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.limit_hits: defaultdict[str, int] = defaultdict(int)
        self.malformed_codes = 0
        self.reloads = {"applied": 0, "unchanged": 0, "rejected": 0}
        self.admin_refused: dict[str, int] = {}  # By reason, of few.
        self.failures = 0  # As users feel them.
        # Told the route and when, of the first success after a failure.
        self.on_success: Callable[[str, float], None] | None = None

    @property
    def successes(self) -> int:
        """Return how many requests did not fail for the user, whoever erred."""
        done = (sum(series.durations.counts) for series in self.requests.values())
        return sum(done) - self.failures

    def count_plain(  # noqa: PLR0917 - keywords would cost each request 0.2 us
        self,
        route: str,
        method: str,
        status: int,
        duration_s: float,
        request_bytes: int,
        response_bytes: int,
    ) -> bool:
        """Count a success like others before it; return whether it was like them."""
        if self._failing and route in self._failing:
            return False  # It ends a failure, and that is counted with its outcome.
        try:
            series = self._plain[route][method][status]
        except KeyError:
            return False
        durations = series.durations
        durations.counts[bisect_left(DURATION_BOUNDS_S, duration_s)] += 1
        durations.sum_s += duration_s
        series.request_bytes += request_bytes
        series.response_bytes += response_bytes
        return True

    def count_success(self, outcome: Outcome) -> None:
        """Count a request that ended without a fault, whatever there is to it."""
        route = outcome.route
        try:
            series = self._plain[route][outcome.method][outcome.status]
        except KeyError:
            series = self._remember(outcome)
        duration_s = outcome.duration_s
        bucket = series.durations.observe(duration_s)
        series.request_bytes += outcome.request_bytes
        series.response_bytes += outcome.response_bytes
        if outcome.trace.sampled:
            series.durations.exemplars[bucket] = _exemplar(outcome, duration_s)
        if self._failing and route in self._failing:
            self._failing.discard(route)
            if self.on_success is not None:
                self.on_success(route, outcome.start_s + duration_s)

    def count_failure(
        self, outcome: Outcome, fault: Fault, severity: str, count: int = 1
    ) -> None:
        """Count `count` requests that met a fault, it, and what comes with it."""
        code = self.label_of(fault.spec.code)
        series = self._series_of(outcome, code)
        bucket = series.durations.observe(outcome.duration_s)
        series.durations.counts[bucket] += count - 1
        series.durations.sum_s += outcome.duration_s * (count - 1)
        series.request_bytes += outcome.request_bytes * count
        series.response_bytes += outcome.response_bytes * count
        if outcome.trace.sampled:
            series.durations.exemplars[bucket] = _exemplar(outcome, outcome.duration_s)
        if _is_felt(outcome.status, fault):
            self.failures += count
            series.failures += count
        key = self.count_fault(code, severity, outcome.upstream, outcome.route, count)
        self.fault_exemplars[key] = _exemplar(outcome, 1.0)
        self._failing.add(outcome.route)
        if fault.timeout is not None:
            self.timeouts[fault.timeout.value] += 1
        if outcome.retry_skipped:
            pair = (outcome.upstream, outcome.retry_skipped)
            self.retries_skipped[self._room_for(self.retries_skipped, pair)] += 1

    def count_fault(
        self, code: str, severity: str, upstream: str, route: str, count: int = 1
    ) -> FaultKey:
        """Count a fault; return its key."""
        key = (self.label_of(code), severity, upstream, route)
        if key not in self.faults and not self._take(1):
            key = (key[0], severity, OVERFLOW, OVERFLOW)
        self.faults[key] = self.faults.get(key, 0) + count
        return key

    def count_retry(self, route: str, upstream: str, reason: str) -> None:
        """Count an attempt that is made again, and the limit of time that ended it.

        The last attempt is not made again: its limit is the request's.
        """
        self.retries_by_route[route] += 1
        kind = _TIMEOUT_OF_CODE.get(reason)
        if kind is not None:
            self.timeouts[kind.value] += 1
        if reason.startswith("316-"):
            reason = self.label_of(reason)
        self.retries[self._room_for(self.retries, (upstream, reason))] += 1

    def count_transition(
        self, route: str, upstream: str, before: str, after: str
    ) -> None:
        """Count a change of state of a breaker."""
        key = (route, upstream, before, after)
        if key not in self.transitions and not self._take(1):
            key = (OVERFLOW, OVERFLOW, before, after)
        self.transitions[key] += 1

    def count_move(self, upstream: str, after: Standing, reason: Reason) -> None:
        """Count an endpoint that is ejected or avoided from now on.

        By upstream: endpoints come and go, and would be series without end.
        """
        if after is Standing.HEALTHY:
            return
        is_ejected = after is Standing.EJECTED
        counts = self.ejections if is_ejected else self.avoidances
        counts[self._room_for(counts, (upstream, reason.value))] += 1

    def requests_of(self, route: str) -> int:
        """Return how many requests of a route have ended."""
        return sum(
            sum(series.durations.counts)
            for key, series in self.requests.items()
            if key[1] == route
        )

    def requests_by_route(self) -> dict[str, int]:
        """Return how many requests of each route have ended."""
        totals: defaultdict[str, int] = defaultdict(int)
        for key, series in self.requests.items():
            totals[key[1]] += sum(series.durations.counts)
        return dict(totals)

    def label_of(self, code: str) -> str:
        """Return the code as a label; applications may invent only so many."""
        if code in self._application_codes or find(code) is not None:
            return code
        if len(self._application_codes) >= _MAX_APPLICATION_CODES:
            return OTHER_CODE
        self._application_codes.add(code)
        return code

    def count_recovery(self, code: str, duration_s: float) -> None:
        """Count that failures of a code are over, and how long they went on."""
        label = self.label_of(code)
        histogram = self.recoveries.get(label)
        if histogram is None and not self._take(_RECOVERY_SERIES):
            label = OTHER_CODE
            histogram = self.recoveries.get(label)
        if histogram is None:
            histogram = self.recoveries[label] = Histogram(RECOVERY_BOUNDS_S)
        histogram.observe(duration_s)

    def _remember(self, outcome: Outcome) -> RequestSeries:
        """Find the series of a success for this and the next time."""
        series = self._series_of(outcome, "")
        by_method = self._plain.setdefault(outcome.route, {})
        if outcome.method in METHODS:  # Clients invent methods without end.
            by_method.setdefault(outcome.method, {})[outcome.status] = series
        return series

    def _series_of(self, outcome: Outcome, code: str) -> RequestSeries:
        method = outcome.method if outcome.method in METHODS else "_OTHER"
        key = (outcome.listener, outcome.route, method, outcome.status, code)
        series = self.requests.get(key)
        if series is not None:
            return series
        if not self._take(_REQUEST_SERIES):
            status_class = min(outcome.status // 100, _MAX_STATUS_CLASS) * 100
            key = (outcome.listener, OVERFLOW, "_OTHER", status_class, "")
            series = self.requests.get(key)
            if series is not None:
                return series
        series = self.requests[key] = RequestSeries()
        return series

    def _room_for(
        self, counts: dict[tuple[str, str], int], key: tuple[str, str]
    ) -> tuple[str, str]:
        if key in counts or self._take(1):
            return key
        return OVERFLOW, OVERFLOW

    def _take(self, series: int) -> bool:
        if self._room < series:
            return False
        self._room -= series
        return True


def _is_felt(status: int, fault: Fault) -> bool:
    """Tell what went wrong for the user from what the client did to itself."""
    is_ours = fault.origin is not Origin.CLIENT
    return status >= _SERVER_ERROR or (is_ours and status < _CLIENT_ERROR)


def _exemplar(outcome: Outcome, value: float) -> Exemplar:
    return Exemplar(outcome.trace.trace_id, value, outcome.start_wall_ns)
