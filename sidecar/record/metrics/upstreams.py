"""Series of upstreams: connections, requests, caps, budgets, how endpoints stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from sidecar.policy.outlier import Standing
from sidecar.record.sources import connections_of, total_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sidecar.record.sources import UpstreamState

_PENDING: dict[str, Callable[[UpstreamState], int]] = {
    "waiting": lambda upstream: upstream.pool.pending,
    "in_flight": lambda upstream: upstream.requests.count,
    "uploading": lambda upstream: upstream.uploads.count,
    "stalled": lambda upstream: upstream.stalled.count,
}


def upstream_metrics(
    shown: Iterable[tuple[str, UpstreamState]], now_s: float
) -> Iterator[Metric]:
    """Yield every family, each with the upstreams that there is room for."""
    connections, pending, limits, budget, ends, endpoints, panic = _upstream_families()
    for name, upstream in shown:
        idle, busy = connections_of(upstream)
        connections.add_metric([name, "idle"], idle)
        connections.add_metric([name, "busy"], busy)
        for state, count in _PENDING.items():
            pending.add_metric([name, state], total_of(upstream, count))
        settings = upstream.settings
        if not settings.is_original:  # They hold for each destination.
            limits.add_metric([name, "connections"], settings.max_connections)
            limits.add_metric([name, "pending"], settings.max_pending)
            limits.add_metric([name, "requests"], settings.max_requests)
            limits.add_metric([name, "uploads"], settings.max_uploads)
            limits.add_metric([name, "stalled"], settings.max_stalled)
        budget.add_metric([name], upstream.budget.balance(now_s))
        for file, end_s in upstream.connector.expiries.items():
            ends.add_metric([name, file], end_s)
        standings = [health.standing_at(now_s) for health in upstream.healths]
        for standing in Standing:
            endpoints.add_metric([name, standing.value], standings.count(standing))
        outlier = upstream.outlier
        is_panic = outlier is not None and outlier.is_panic(upstream.healths, now_s)
        panic.add_metric([name], int(is_panic))
    yield from (connections, pending, limits, budget, ends, endpoints, panic)


def _upstream_families() -> tuple[GaugeMetricFamily, ...]:
    return (
        GaugeMetricFamily(
            "sidecar_pool_connections",
            "Connections to an upstream.",
            labels=["upstream", "state"],
        ),
        GaugeMetricFamily(
            "sidecar_pool_requests",
            "Requests for an upstream: in flight, of these waiting for a connection, "
            "with a body still to come, or with a client that does not read.",
            labels=["upstream", "state"],
        ),
        GaugeMetricFamily(
            "sidecar_pool_limit",
            "Caps of an upstream.",
            labels=["upstream", "of"],
        ),
        GaugeMetricFamily(
            "sidecar_retry_budget_left",
            "Retries that could be made now.",
            labels=["upstream"],
        ),
        GaugeMetricFamily(
            "sidecar_certificate_not_after_seconds",
            "Unix time when the first certificate of a file that tls names ends.",
            labels=["upstream", "file"],
        ),
        GaugeMetricFamily(
            "sidecar_upstream_endpoints",
            "Endpoints of an upstream, by how they stand.",
            labels=["upstream", "state"],
        ),
        GaugeMetricFamily(
            "sidecar_upstream_panic",
            "1: so many endpoints are out that those are asked, too.",
            labels=["upstream"],
        ),
    )
