"""Families of Prometheus, from plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily

if TYPE_CHECKING:
    from collections.abc import Mapping


def counter(
    name: str, text: str, labels: list[str], values: Mapping[Any, int]
) -> CounterMetricFamily:
    """Return a counter with these values, by the values of their labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family
