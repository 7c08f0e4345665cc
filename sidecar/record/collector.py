"""The numbers as Prometheus series, made when somebody scrapes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar as PromExemplar

import sidecar
from sidecar.policy.breaker import State
from sidecar.record.recorder import rss_bytes
from sidecar.record.store import BOUNDS_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.record.store import Exemplar, Histogram
    from sidecar.runtime import Runtime

_Buckets = list[Any]  # The stubs do not know that an exemplar may be None.
_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class SidecarCollector(Collector):
    """All series of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        yield from self._requests()
        yield from self._faults()
        yield from self._policies()
        yield from self._pools()
        yield from self._process()

    def _requests(self) -> Iterator[Metric]:
        store = self._runtime.recorder.store
        durations = HistogramMetricFamily(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the end of its response.",
            labels=[
                "listener",
                "http_route",
                "http_request_method",
                "http_response_status_code",
                "error_type",
            ],
        )
        sizes = [
            CounterMetricFamily(name, text, labels=["listener", "http_route"])
            for name, text in (
                ("sidecar_request_bytes", "Body bytes that came from clients."),
                ("sidecar_response_bytes", "Body bytes that went to clients."),
            )
        ]
        totals: dict[tuple[str, str], list[int]] = {}
        overall = [0] * (len(BOUNDS_S) + 1)
        sum_s = 0.0
        for (listener, route, method, status, code), series in store.requests.items():
            labels = [listener, route, method, str(status), code]
            durations.add_metric(
                labels, _buckets(series.durations), series.durations.sum_s
            )
            total = totals.setdefault((listener, route), [0, 0])
            total[0] += series.request_bytes
            total[1] += series.response_bytes
            counts = series.durations.counts
            overall = [a + b for a, b in zip(overall, counts, strict=True)]
            sum_s += series.durations.sum_s
        for labels_of, counts in totals.items():
            for family, value in zip(sizes, counts, strict=True):
                family.add_metric(list(labels_of), value)
        yield durations
        yield from sizes
        response_time = HistogramMetricFamily(
            "app_response_time_seconds",
            "Response time of the application, proxy included.",
        )
        response_time.add_metric([], _cumulated(overall), sum_s)
        yield response_time
        done = store.successes + store.failures
        rate = store.successes / done if done else 1.0
        yield GaugeMetricFamily(
            "app_request_success_rate",
            "Requests not answered with 5xx, since start.",
            rate,
        )
        active = GaugeMetricFamily(
            "http_server_active_requests", "Requests in flight.", labels=["http_route"]
        )
        for state in self._runtime.routes:
            active.add_metric([state.route.name], state.in_flight)
        yield active

    def _faults(self) -> Iterator[Metric]:
        store = self._runtime.recorder.store
        faults = CounterMetricFamily(
            "app_316_fault",
            "Failures by 316 code.",
            labels=["error_code", "severity", "component", "route"],
        )
        for key, value in store.faults.items():
            faults.add_metric(list(key), value)
            exemplar = store.fault_exemplars.get(key)
            if exemplar is not None:
                sample = faults.samples[-1]
                faults.samples[-1] = sample._replace(exemplar=_exemplar(exemplar))
        yield faults
        recovery = HistogramMetricFamily(
            "app_fault_recovery_seconds",
            "From a route's first fault of a code to its first success after it.",
            labels=["error_code"],
        )
        for code, histogram in store.recoveries.items():
            recovery.add_metric([code], _buckets(histogram), histogram.sum_s)
        yield recovery
        timeouts = CounterMetricFamily(
            "sidecar_timeouts", "Limits of time that were reached.", labels=["kind"]
        )
        for kind, count in store.timeouts.items():
            timeouts.add_metric([kind], count)
        yield timeouts

    def _policies(self) -> Iterator[Metric]:
        runtime, store = self._runtime, self._runtime.recorder.store
        retries = CounterMetricFamily(
            "sidecar_retries", "Attempts made again.", labels=["upstream", "reason"]
        )
        for key, count in store.retries.items():
            retries.add_metric(list(key), count)
        yield retries
        skipped = CounterMetricFamily(
            "sidecar_retries_skipped",
            "Failures that were not tried again, and why.",
            labels=["upstream", "reason"],
        )
        for key, count in store.retries_skipped.items():
            skipped.add_metric(list(key), count)
        yield skipped
        state = GaugeMetricFamily(
            "sidecar_breaker_state",
            "0 closed, 1 half open, 2 open.",
            labels=["route", "upstream"],
        )
        for route in runtime.routes:
            if route.breaker is not None:
                names = [route.route.name, route.route.upstream]
                state.add_metric(names, _STATES[route.breaker.state])
        yield state
        moves = CounterMetricFamily(
            "sidecar_breaker_transitions",
            "Changes of state of a breaker.",
            labels=["route", "upstream", "from", "to"],
        )
        for names_of, count in store.transitions.items():
            moves.add_metric(list(names_of), count)
        yield moves

    def _pools(self) -> Iterator[Metric]:
        connections = GaugeMetricFamily(
            "sidecar_pool_connections",
            "Connections to an upstream.",
            labels=["upstream", "state"],
        )
        pending = GaugeMetricFamily(
            "sidecar_pool_pending", "Requests that wait for one.", labels=["upstream"]
        )
        budget = GaugeMetricFamily(
            "sidecar_retry_budget_left",
            "Retries that could be made now.",
            labels=["upstream"],
        )
        now_s = self._runtime.clock.now_s()
        for name, upstream in self._runtime.upstreams.items():
            endpoints = upstream.pool.endpoints
            connections.add_metric([name, "idle"], sum(len(e.idle) for e in endpoints))
            connections.add_metric([name, "busy"], sum(e.busy for e in endpoints))
            pending.add_metric([name], upstream.pool.pending)
            budget.add_metric([name], upstream.budget.balance(now_s))
        yield connections
        yield pending
        yield budget

    def _process(self) -> Iterator[Metric]:
        import psutil  # noqa: PLC0415 - only when somebody scrapes

        recorder, snapshot = self._runtime.recorder, self._runtime.snapshot
        process = psutil.Process()
        times = process.cpu_times()
        since_s = max(1e-3, self._runtime.clock.wall_ns() / 1e9 - process.create_time())
        yield GaugeMetricFamily(
            "app_memory_usage_bytes", "Resident memory of the proxy.", rss_bytes()
        )
        yield GaugeMetricFamily(
            "app_cpu_usage_percent",
            "CPU of the proxy since its start, in percent of one core.",
            100 * (times.user + times.system) / since_s,
        )
        yield GaugeMetricFamily(
            "sidecar_loop_lag_seconds",
            "How late the event loop is.",
            recorder.loop_lag_s,
        )
        yield CounterMetricFamily(
            "sidecar_log_lines_dropped",
            "Log lines that nobody took in time.",
            recorder.lines.dropped,
        )
        yield InfoMetricFamily(
            "sidecar_build", "This program.", {"version": sidecar.__version__}
        )
        yield InfoMetricFamily(
            "sidecar_config",
            "The configuration in force.",
            {"version": snapshot.version, "source": snapshot.source},
        )


def _buckets(histogram: Histogram) -> _Buckets:
    plain = _cumulated(histogram.counts)
    return [
        (bound, count, _exemplar(found) if found else None)
        for index, (bound, count, _) in enumerate(plain)
        for found in [histogram.exemplars.get(index)]
    ]


def _cumulated(counts: list[int]) -> _Buckets:
    total = 0
    buckets: _Buckets = []
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, total, None))
    return buckets


def _exemplar(exemplar: Exemplar) -> PromExemplar:
    return PromExemplar(
        {"trace_id": f"{exemplar.trace_id:032x}"},
        exemplar.value,
        exemplar.wall_ns / 1e9,
    )
