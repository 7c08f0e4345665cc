"""Series of the application's own check; none while there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import (
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from sidecar.policy.health import HealthState
from sidecar.record.metrics.families import add_histogram, counter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.record.application import ApplicationRecord


def application_metrics(record: ApplicationRecord) -> Iterator[Metric]:
    """Yield every family."""
    healthy = GaugeMetricFamily(
        "sidecar_application_healthy",
        "1: the application passes its check; 0: it does not, or has not yet.",
    )
    if record.tracker is not None:
        healthy.add_metric([], float(record.tracker.state is HealthState.HEALTHY))
    yield healthy
    memory = GaugeMetricFamily(
        "sidecar_application_memory_bytes",
        "Resident memory of the processes of the application, if it is looked at.",
    )
    if record.memory_bytes is not None:
        memory.add_metric([], record.memory_bytes)
    yield memory
    yield counter(
        "sidecar_application_checks",
        "Checks of the application: passed, failed, absent, silent or unasked.",
        ["result"],
        record.results,
    )
    durations = HistogramMetricFamily(
        "sidecar_application_check_duration_seconds",
        "How long the checks of the application took.",
        labels=[],
    )
    if record.tracker is not None:
        add_histogram(durations, [], record.durations)
    yield durations
    yield counter(
        "sidecar_application_recoveries",
        "Runs of the recovery hook: succeeded, failed or skipped.",
        ["result"],
        record.recoveries,
    )
