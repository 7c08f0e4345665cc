"""Families of Prometheus, from plain numbers."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily
from prometheus_client.samples import Exemplar as PromExemplar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.core import HistogramMetricFamily

    from sidecar.record.metrics.histogram import Exemplar, Histogram

_Buckets = list[Any]  # The stubs do not know that an exemplar may be None.


def counter(
    name: str, text: str, labels: list[str], values: Mapping[Any, int]
) -> CounterMetricFamily:
    """Return a counter with these values, by the values of their labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def add_histogram(
    family: HistogramMetricFamily, labels: list[str], histogram: Histogram
) -> None:
    """Add one: its counts become cumulative, as the format wants them."""
    total = 0
    buckets: _Buckets = []
    bounds = chain(map(str, histogram.bounds_s), ("+Inf",))
    for index, (bound, count) in enumerate(zip(bounds, histogram.counts, strict=True)):
        total += count
        found = histogram.exemplars.get(index)
        buckets.append((bound, total, prom_exemplar(found) if found else None))
    family.add_metric(labels, buckets, histogram.sum_s)


def prom_exemplar(exemplar: Exemplar) -> PromExemplar:
    """Return a request that stands for many, as the format wants it."""
    return PromExemplar(
        {"trace_id": f"{exemplar.trace_id:032x}"},
        exemplar.value,
        exemplar.wall_ns / 1e9,
    )
