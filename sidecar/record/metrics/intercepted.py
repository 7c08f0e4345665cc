"""Series of connections that were redirected here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, Metric

from sidecar.record.metrics.families import counter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.record.opaque import OpaqueCounts


def intercepted_metrics(counts: OpaqueCounts) -> Iterator[Metric]:
    """Yield every family."""
    yield counter(
        "sidecar_intercepted_connections",
        "Connections that were redirected here, and what told what they speak.",
        ["listener", "protocol", "decided_by"],
        counts.decisions,
    )
    yield counter(
        "sidecar_opaque_connections",
        "Connections that were passed on as they are, and how they ended.",
        ["listener", "result"],
        counts.ends,
    )
    yield counter(
        "sidecar_opaque_bytes",
        "Bytes of these, from clients (in) and to them (out).",
        ["listener", "direction"],
        counts.bytes,
    )
    still_open = GaugeMetricFamily(
        "sidecar_opaque_open", "How many of these are open.", labels=["listener"]
    )
    for listener, count in counts.open.items():
        still_open.add_metric([listener], count)
    yield still_open
