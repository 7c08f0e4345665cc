"""Series of the embedded alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from sidecar.record.metrics.families import counter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from sidecar.record.feed.alert_counts import AlertCounts


def alert_metrics(counts: AlertCounts) -> Iterator[Metric]:
    """Yield every family; without `alerts` in the file they are empty."""
    yield GaugeMetricFamily(
        "sidecar_alerts_firing",
        "Groups of failures that a rule of alerts means now.",
        counts.firing,
    )
    yield counter(
        "sidecar_alert_notices",
        "Notices by what came of them: sent, retried, failed, silenced, dropped.",
        ["receiver", "result"],
        counts.notices,
    )
    queue = GaugeMetricFamily(
        "sidecar_alert_queue",
        "Notices that wait, or are under way.",
        labels=["receiver"],
    )
    success = GaugeMetricFamily(
        "sidecar_alert_last_success_seconds",
        "Unix time when a receiver last took a message.",
        labels=["receiver"],
    )
    for receiver, waiting in counts.waiting.items():
        queue.add_metric([receiver], waiting)
    for receiver, time_s in counts.succeeded_s.items():
        success.add_metric([receiver], time_s)
    yield queue
    yield success
