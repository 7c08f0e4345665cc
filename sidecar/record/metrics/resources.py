"""What the cgroup allows, as Prometheus series: the meter's last reading, no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from sidecar.descriptors import most_clients

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.record.recorder import Recorder


def resource_metrics(recorder: Recorder) -> Iterator[Metric]:
    """Yield every family; one without a limit has no sample."""
    usage = recorder.meter.usage
    for name, text, value in (
        (
            "sidecar_cgroup_memory_limit_bytes",
            "Lowest memory limit of the cgroup and those above it.",
            usage.memory_limit_bytes,
        ),
        (
            "sidecar_cgroup_memory_kernel_bytes",
            "What the kernel holds for the cgroup, sockets above all.",
            usage.kernel_bytes,
        ),
        ("sidecar_cgroup_cpu_limit_cores", "Quota of CPU.", usage.cpus),
    ):
        family = GaugeMetricFamily(name, text)
        if value is not None:
            family.add_metric([], value)
        yield family
    yield from _throttling(recorder)
    yield _capacity(recorder)


def _throttling(recorder: Recorder) -> Iterator[Metric]:
    throttling = recorder.meter.throttling
    yield CounterMetricFamily(
        "sidecar_cgroup_cpu_periods",
        "Periods of the quota in which something ran.",
        throttling.periods,
    )
    yield CounterMetricFamily(
        "sidecar_cgroup_cpu_throttled_periods",
        "Those of them in which the quota was used up.",
        throttling.throttled_periods,
    )
    yield CounterMetricFamily(
        "sidecar_cgroup_cpu_throttled_seconds",
        "How long there was no CPU for that reason.",
        throttling.throttled_s,
    )


def _capacity(recorder: Recorder) -> Metric:
    snapshot = recorder.snapshot
    capacity = GaugeMetricFamily(
        "sidecar_capacity",
        "So many at once at most: clients, and requests in flight.",
        labels=["of"],
    )
    capacity.add_metric(["clients"], most_clients(snapshot))
    if (most := snapshot.overload.in_flight) is not None:
        capacity.add_metric(["in_flight"], most)
    return capacity
