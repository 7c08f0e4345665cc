"""The numbers as Prometheus series, made when somebody scrapes.

`record.metrics.store` keeps counts within its share of the cap on series; here the rest
goes to what is so at the moment. Of very many routes or upstreams the first ones
are told one by one, the others together as "_other": a sum, or the worst.
"""

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

import sidecar
from sidecar.model import Limit
from sidecar.policy.breaker import State
from sidecar.record import process
from sidecar.record.metrics.alerts import alert_metrics
from sidecar.record.metrics.application import application_metrics
from sidecar.record.metrics.discovery import discovery_metrics
from sidecar.record.metrics.families import add_histogram, counter, prom_exemplar
from sidecar.record.metrics.histogram import DURATION_BOUNDS_S, Histogram
from sidecar.record.metrics.intercepted import intercepted_metrics
from sidecar.record.metrics.resources import resource_metrics
from sidecar.record.metrics.store import OVERFLOW, shares_of
from sidecar.record.metrics.upstreams import upstream_metrics
from sidecar.record.sources import breakers_of, in_flight_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sidecar.clock import Clock
    from sidecar.record.otlp.shipping import Shipper
    from sidecar.record.recorder import Recorder
    from sidecar.record.sources import RouteState, RuntimeState, UpstreamState

_STATES = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
_ROUTE_SERIES = 2
_UPSTREAM_SERIES = 21


class SidecarCollector(Collector):
    """All series of one sidecar."""

    def __init__(
        self, recorder: Recorder, clock: Clock, runtime: Callable[[], RuntimeState]
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._runtime = runtime  # Asked each time: a reload makes a new one.
        self._cpu = process.CpuMeter()
        self._success = process.SuccessRate()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family; some hundred samples between two of them."""
        yield from self._requests()
        yield from self._faults()
        yield from self._counters()
        yield from intercepted_metrics(self._recorder.opaque)
        yield from application_metrics(self._recorder.application)
        yield from self._routes()
        yield from upstream_metrics(self._shown_upstreams(), self._clock.now_s())
        yield from discovery_metrics(self._shown_upstreams(), self._clock.now_s())
        yield from self._process()
        yield from self._telemetry()

    def _requests(self) -> Iterator[Metric]:
        store = self._recorder.store
        durations = HistogramMetricFamily(
            "http_server_request_duration_seconds",
            "Time from the head of a request to the end of its response; "
            "http_route is the name of the route.",
            labels=[
                "listener",
                "http_route",
                "http_request_method",
                "http_response_status_code",
                "error_type",
            ],
        )
        totals: dict[tuple[str, str], list[int]] = {}
        overall = Histogram(DURATION_BOUNDS_S)
        for (listener, route, method, status, code), series in store.requests.items():
            labels = [listener, route, method, str(status), code]
            add_histogram(durations, labels, series.durations)
            _add_up(overall, series.durations)
            total = totals.setdefault((listener, route), [0, 0])
            total[0] += series.request_bytes
            total[1] += series.response_bytes
        yield durations
        yield from _bytes(totals)
        response_time = HistogramMetricFamily(
            "app_response_time_seconds",
            "Response time of the application, proxy included.",
        )
        add_histogram(response_time, [], overall)
        yield response_time
        rate = self._success.ratio(self._clock.now_s(), store.successes, store.failures)
        yield GaugeMetricFamily(
            "app_request_success_rate",
            "Share of the requests of the last minute that did not fail.",
            rate,
        )

    def _faults(self) -> Iterator[Metric]:
        store = self._recorder.store
        faults = CounterMetricFamily(
            "app_316_fault",
            "Failures by 316 code; component is the upstream.",
            labels=["error_code", "severity", "component", "route"],
        )
        for key, value in store.faults.items():
            exemplar = store.fault_exemplars.get(key)
            faults.add_metric(list(key), value)
            if exemplar is not None:
                sample = faults.samples[-1]
                faults.samples[-1] = sample._replace(exemplar=prom_exemplar(exemplar))
        yield faults
        recovery = HistogramMetricFamily(
            "app_fault_recovery_seconds",
            "From the first failure of a group of a route to the first success after "
            "its last, told when it has been quiet for faults.recovered_after.",
            labels=["error_code"],
        )
        for code, histogram in store.recoveries.items():
            add_histogram(recovery, [code], histogram)
        yield recovery
        yield from self._fault_feed()
        yield from alert_metrics(self._recorder.book.alerts)

    def _fault_feed(self) -> Iterator[Metric]:
        book = self._recorder.book
        yield GaugeMetricFamily(
            "sidecar_fault_groups",
            "Groups of failures that are alike.",
            len(book.groups),
        )
        yield CounterMetricFamily(
            "sidecar_fault_groups_evicted",
            "Groups that made room for others.",
            book.groups.evicted,
        )
        store = book.store
        yield CounterMetricFamily(
            "sidecar_fault_store_records",
            "Records written to faults.store.",
            0 if store is None else store.written,
        )
        yield counter(
            "sidecar_fault_records_dropped",
            "Records of failures that were counted, but not kept or told, and why.",
            ["reason"],
            {
                ("sampled",): book.sample.left_out,
                ("slow_listener",): book.hub.skipped,
                ("store_queue_full",): 0 if store is None else store.dropped,
                ("store_failed",): 0 if store is None else store.lost,
            },
        )

    def _counters(self) -> Iterator[Metric]:
        store = self._recorder.store
        yield counter(
            "sidecar_retries",
            "Attempts made again.",
            ["upstream", "reason"],
            store.retries,
        )
        yield counter(
            "sidecar_retries_skipped",
            "Failures that were not tried again, and why.",
            ["upstream", "reason"],
            store.retries_skipped,
        )
        yield counter(
            "sidecar_breaker_transitions",
            "Changes of state of a breaker.",
            ["route", "upstream", "from", "to"],
            store.transitions,
        )
        yield counter(
            "sidecar_upstream_ejections",
            "Endpoints that were ejected, and why.",
            ["upstream", "reason"],
            store.ejections,
        )
        yield counter(
            "sidecar_upstream_avoidances",
            "Endpoints that were avoided for a while, and why.",
            ["upstream", "reason"],
            store.avoidances,
        )
        yield counter(
            "sidecar_config_reloads",
            "How often the configuration was read again, and what came of it.",
            ["result"],
            {(result,): count for result, count in store.reloads.items()},
        )
        yield counter(
            "sidecar_timeouts",
            "Limits of time that ended a request or an attempt.",
            ["kind"],
            {(kind,): count for kind, count in store.timeouts.items()},
        )
        yield counter(
            "sidecar_limit_hits",
            "Limits on clients that were hit; named as their setting is.",
            ["limit"],
            {(limit.value,): store.limit_hits[limit.value] for limit in Limit},
        )
        yield counter(
            "sidecar_shed",
            "Refused requests and connections, by what the proxy was short of.",
            ["reason", "kind"],
            self._recorder.admission.counts,
        )
        yield CounterMetricFamily(
            "sidecar_malformed_codes",
            "Values of x-316-code of an application that are no code.",
            store.malformed_codes,
        )
        yield counter(
            "sidecar_admin_refused",
            "Requests to the admin API that were refused, and why.",
            ["reason"],
            {(reason,): count for reason, count in store.admin_refused.items()},
        )

    def _routes(self) -> Iterator[Metric]:
        routes = list(self._runtime().routes)
        room = self._live_room() // 2 // _ROUTE_SERIES
        now_s = self._clock.now_s()
        active = GaugeMetricFamily(
            "http_server_active_requests", "Requests in flight.", labels=["http_route"]
        )
        states = GaugeMetricFamily(
            "sidecar_breaker_state",
            "0 closed, 1 half open, 2 open.",
            labels=["route", "upstream"],
        )
        for state in routes[:room]:
            active.add_metric([state.route.name], in_flight_of(state))
            if state.breaker is not None:
                names = [state.route.name, state.route.upstream]
                states.add_metric(names, _worst([state], now_s))
        rest = routes[room:]
        if rest:
            active.add_metric([OVERFLOW], sum(map(in_flight_of, rest)))
            states.add_metric([OVERFLOW, OVERFLOW], _worst(rest, now_s))
        yield active
        yield states

    def _shown_upstreams(self) -> Iterable[tuple[str, UpstreamState]]:
        """Return as many as there is room for; a sum of caps would say nothing."""
        room = self._live_room() // 2 // _UPSTREAM_SERIES
        return list(self._runtime().upstreams.items())[:room]

    def _live_room(self) -> int:
        """Return the part of the cap on series that is for live state."""
        return shares_of(self._recorder.snapshot.max_series)[1]

    def _process(self) -> Iterator[Metric]:
        now_s, age_s = self._clock.now_s(), process.age_s(self._clock.wall_ns())
        yield GaugeMetricFamily(
            "app_memory_usage_bytes",
            "Resident memory of the proxy.",
            process.rss_bytes(),
        )
        yield GaugeMetricFamily(
            "app_cpu_usage_percent",
            "CPU of the proxy since the last scrape, in percent of one core.",
            self._cpu.percent(now_s, process.cpu_s(), age_s),
        )
        yield from resource_metrics(self._recorder)
        yield GaugeMetricFamily(
            "sidecar_loop_lag_seconds",
            "How late the event loop was at worst, in the last ten seconds or so.",
            self._recorder.worst_loop_lag_s,
        )
        levels = GaugeMetricFamily(
            "sidecar_overload_level",
            "0 enough, 1 retries are refused, 2 first tries, too.",
            labels=["resource"],
        )
        for resource, level in self._recorder.admission.levels().items():
            levels.add_metric([resource], level)
        yield levels
        yield GaugeMetricFamily(
            "sidecar_event_loop_tasks",
            "Tasks of the event loop; those of this scrape included.",
            process.event_loop_tasks(),
        )
        yield GaugeMetricFamily(
            "sidecar_uptime_seconds", "How long the proxy has run.", age_s
        )
        snapshot = self._recorder.snapshot
        yield InfoMetricFamily(
            "sidecar_build", "This program.", {"version": sidecar.__version__}
        )
        yield GaugeMetricFamily(
            "sidecar_config_last_reload_successful",
            "0: the file was rejected, and an older configuration is in force.",
            int(self._recorder.is_config_good),
        )
        yield InfoMetricFamily(
            "sidecar_config",
            "The configuration in force.",
            {"version": snapshot.version, "source": snapshot.source},
        )

    def _telemetry(self) -> Iterator[Metric]:
        lines, tracer = self._recorder.lines, self._recorder.tracer
        yield CounterMetricFamily(
            "sidecar_log_lines", "Lines written to the access log.", lines.written
        )
        yield counter(
            "sidecar_log_lines_dropped",
            "Lines that nobody took in time, or at all.",
            ["reason"],
            {("queue_full",): lines.dropped, ("write_failed",): lines.lost},
        )
        if tracer is not None:
            yield from _shipped("spans", "Spans", tracer)
        logs = self._recorder.book.logs
        if logs is not None:
            yield from _shipped("log_records", "Log records", logs)


def _shipped(name: str, words: str, shipper: Shipper[Any]) -> Iterator[Metric]:
    """Yield what became of what goes by OTLP."""
    yield CounterMetricFamily(
        f"sidecar_{name}_exported", f"{words} taken by OTLP.", shipper.counts.exported
    )
    yield counter(
        f"sidecar_{name}_dropped",
        f"{words} that were not exported, and why.",
        ["reason"],
        {(reason,): n for reason, n in shipper.counts.dropped().items()},
    )
    yield GaugeMetricFamily(
        f"sidecar_{name}_queued", f"{words} that wait.", shipper.queued
    )


def _bytes(totals: Mapping[tuple[str, str], list[int]]) -> Iterator[Metric]:
    for index, (name, text) in enumerate(
        (
            ("sidecar_request_bytes", "Body bytes that came from clients."),
            ("sidecar_response_bytes", "Body bytes that went to clients."),
        )
    ):
        values = {key: counts[index] for key, counts in totals.items()}
        yield counter(name, text, ["listener", "http_route"], values)


def _worst(states: list[RouteState], now_s: float) -> int:
    breakers = [breaker for state in states for breaker in breakers_of(state)]
    return max((_STATES[each.state_at(now_s)] for each in breakers), default=0)


def _add_up(total: Histogram, part: Histogram) -> None:
    total.counts = [a + b for a, b in zip(total.counts, part.counts, strict=True)]
    total.sum_s += part.sum_s
