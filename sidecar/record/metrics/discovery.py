"""The part of the series that tells where endpoints come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client.core import Metric

    from sidecar.record.sources import UpstreamState


def discovery_metrics(
    upstreams: Iterable[tuple[str, UpstreamState]], now_s: float
) -> Iterator[Metric]:
    """Yield the families; endpoints that are written down have their number alone."""
    endpoints, updates, ages = _discovery_families()
    for name, upstream in upstreams:
        endpoints.add_metric([name, "used"], len(upstream.pool.endpoints))
        finding = upstream.finding
        if finding is None:
            continue
        endpoints.add_metric([name, "unused"], finding.unused)
        for result, count in finding.counts.items():
            updates.add_metric([name, result], count)
        if finding.answered_s is not None:
            ages.add_metric([name], now_s - finding.answered_s)
    yield from (endpoints, updates, ages)


def _discovery_families() -> tuple[
    GaugeMetricFamily, CounterMetricFamily, GaugeMetricFamily
]:
    return (
        GaugeMetricFamily(
            "sidecar_discovery_endpoints",
            "Endpoints: used, or found and not used (not ready, another zone).",
            labels=["upstream", "state"],
        ),
        CounterMetricFamily(
            "sidecar_discovery_updates",
            "Answers about the endpoints of an upstream: changed, unchanged, failed.",
            labels=["upstream", "result"],
        ),
        GaugeMetricFamily(
            "sidecar_discovery_age_seconds",
            "How long ago a good answer about the endpoints came.",
            labels=["upstream"],
        ),
    )
