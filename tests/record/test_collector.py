"""Series as Prometheus reads them: both formats parse, and never too many."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import exposition, parser
from prometheus_client.openmetrics import exposition as open_exposition
from prometheus_client.openmetrics import parser as open_parser
from prometheus_client.registry import CollectorRegistry

from sidecar.faults.catalogue import FaultCode, application_spec
from sidecar.policy.breaker import State
from sidecar.record.metrics.collector import SidecarCollector
from sidecar.record.metrics.store import MIN_SERIES
from sidecar.record.otlp.log_export import LogShipper
from sidecar.record.otlp.tracing import Tracer
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime
from tests.support.clock import FakeClock
from tests.support.outcomes import TRACE_ID, failed, outcome, snapshot

if TYPE_CHECKING:
    from prometheus_client.samples import Sample

NAMES = {
    "app_316_fault_total",
    "app_fault_recovery_seconds_bucket",
    "app_memory_usage_bytes",
    "app_cpu_usage_percent",
    "app_request_success_rate",
    "app_response_time_seconds_bucket",
    "http_server_request_duration_seconds_bucket",
    "http_server_active_requests",
    "sidecar_request_bytes_total",
    "sidecar_response_bytes_total",
    "sidecar_retries_total",
    "sidecar_retries_skipped_total",
    "sidecar_retry_budget_left",
    "sidecar_breaker_state",
    "sidecar_breaker_transitions_total",
    "sidecar_pool_connections",
    "sidecar_pool_requests",
    "sidecar_pool_limit",
    "sidecar_timeouts_total",
    "sidecar_malformed_codes_total",
    "sidecar_loop_lag_seconds",
    "sidecar_event_loop_tasks",
    "sidecar_build_info",
    "sidecar_config_info",
    "sidecar_log_lines_total",
    "sidecar_log_lines_dropped_total",
    "sidecar_spans_exported_total",
    "sidecar_spans_dropped_total",
    "sidecar_spans_queued",
    "sidecar_log_records_exported_total",
    "sidecar_log_records_dropped_total",
    "sidecar_log_records_queued",
}


class Bench:
    """A recorder and its collector, with so many routes and this cap."""

    def __init__(self, max_series: int = 2000, routes: int = 2) -> None:
        configured = snapshot(
            f"metrics: {{max_series: {max_series}}}, access_log: {{mode: 'off'}},"
            "tracing: {queue_spans: 1}",  # No request is that small: no thread.
            routes,
        )
        clock = self.clock = FakeClock()
        self.recorder = Recorder(configured, clock)
        self.recorder.tracer = Tracer(configured)
        none = replace(configured.log_export, queue=0)  # No thread, likewise.
        self.recorder.book.logs = LogShipper(replace(configured, log_export=none))
        runtime = Runtime(configured, clock, Random(1), self.recorder)
        self.recorder.watch(runtime)
        self._registry = CollectorRegistry()
        self._registry.register(SidecarCollector(self.recorder, clock, lambda: runtime))

    def text(self) -> str:
        return exposition.generate_latest(self._registry).decode()

    def open_text(self) -> str:
        text: bytes = open_exposition.generate_latest(self._registry)  # type: ignore[no-untyped-call]  # Its.
        return text.decode()

    def samples(self) -> list[Sample]:
        families = parser.text_string_to_metric_families(self.text())
        return [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the one series with these labels."""
        [found] = [
            sample.value
            for sample in self.samples()
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return float(found)


def eventful() -> Bench:
    """Return one to which everything that is counted has happened."""
    bench = Bench()
    recorder = bench.recorder
    recorder.record(failed(FaultCode.TIMEOUT_ERR, retry_skipped="body"))
    recorder.record(outcome())
    recorder.book.look(bench.clock.now_s() + 120.0)  # It has been over for long.
    recorder.retried("all", "app", "316-CONN-RESET")
    recorder.transition("all", "app", State.CLOSED, State.OPEN, "5 in a row")
    recorder.malformed_code()
    return bench


def test_every_promised_name_is_there() -> None:
    assert {sample.name for sample in eventful().samples()} >= NAMES


def test_the_text_means_what_happened() -> None:
    bench = eventful()
    labels = {
        "error_code": "316-TIMEOUT-ERR",
        "severity": "P1",
        "component": "app",
        "route": "all",
    }
    assert bench.value("app_316_fault_total", **labels) == 1
    assert bench.value("sidecar_timeouts_total", kind="request") == 1
    assert bench.value("sidecar_retries_total", reason="316-CONN-RESET") == 1
    assert bench.value("sidecar_retries_skipped_total", reason="body") == 1
    assert bench.value("app_response_time_seconds_count") == 2
    assert bench.value("app_request_success_rate") == 0.5
    assert bench.value("app_fault_recovery_seconds_count") == 1
    assert bench.value("sidecar_malformed_codes_total") == 1
    move = {"from": "closed", "to": "open"}
    assert bench.value("sidecar_breaker_transitions_total", **move) == 1
    assert bench.value("sidecar_breaker_state", route="all") == 0


def test_openmetrics_carries_trace_ids() -> None:
    """On the latency bucket and on the fault of a request."""
    families: Any = open_parser.text_string_to_metric_families(eventful().open_text())  # type: ignore[no-untyped-call]  # Its.
    marked = {
        sample.name: sample.exemplar.labels
        for family in families
        for sample in family.samples
        if sample.exemplar
    }
    ids = {"trace_id": f"{TRACE_ID:032x}"}
    assert marked["http_server_request_duration_seconds_bucket"] == ids
    assert marked["app_316_fault_total"] == ids


def test_both_formats_have_the_same_series() -> None:
    bench = eventful()
    families: Any = open_parser.text_string_to_metric_families(bench.open_text())  # type: ignore[no-untyped-call]  # Its.
    one = {(s.name, *sorted(s.labels.items())) for f in families for s in f.samples}
    assert one == {(s.name, *sorted(s.labels.items())) for s in bench.samples()}


CODES = [
    *FaultCode,
    *filter(None, (application_spec(f"316-ORDER-N{n}") for n in range(80))),
]


def storm(bench: Bench, seed: int, size: int) -> None:
    """Let so many things of all kinds happen."""
    rng, recorder = Random(seed), bench.recorder
    states = list(State)
    for _ in range(size):
        fields: dict[str, Any] = {
            "listener": rng.choice(["inbound", "outbound"]),
            "route": rng.choice(["", "all", *(f"r{n}" for n in range(60))]),
            "upstream": rng.choice(["app", *(f"u{n}" for n in range(20))]),
            "method": rng.choice(["GET", "POST", "PUT", "BREW"]),
            "status": rng.randrange(0, 1000),
        }
        what = rng.randrange(4)
        if what == 0:
            recorder.record(outcome(**fields))
        elif what == 1:
            skipped = rng.choice(["", "body", "budget", "method"])
            recorder.record(failed(rng.choice(CODES), **fields, retry_skipped=skipped))
        elif what == 2:
            reason = rng.choice([str(rng.randrange(400, 600)), "316-CONN-RESET"])
            recorder.retried(fields["route"], fields["upstream"], reason)
        else:
            before, after = rng.sample(states, 2)
            places = fields["route"], fields["upstream"]
            recorder.transition(*places, before, after, "why")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 1 << 32),
    st.integers(0, 4000),
    st.sampled_from([MIN_SERIES, 2000]),
    st.sampled_from([1, 300]),
)
def test_never_more_series_than_the_cap(
    seed: int, size: int, max_series: int, routes: int
) -> None:
    bench = Bench(max_series, routes)
    storm(bench, seed, size)
    assert len(bench.samples()) <= max_series
