"""Objectives that can hardly be meant: no alert could come of them, or always one."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from sidecar.settings.compile import effective_slo, effective_timeouts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings import models
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_, Source

FASTEST_BURN: Final = 14.4  # Of `observe.objectives`.
# Of `record.metrics.histogram`: what took longer is seen as this long.
HIGHEST_BOUND_S: Final = 10.0


def find_slo_warnings(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield what is wrong with the objectives, each where it is written."""
    told: set[tuple[Path_, str]] = set()
    for index, route in enumerate(settings.routes):
        own: Path_ = ("routes", index, "slo")
        request_s = effective_timeouts(settings, route).request_s
        for keys, message in _findings(effective_slo(settings, route), request_s):
            places = [(*own, *keys), ("defaults", "slo", *keys), own]
            at = next(place for place in (*places, own[:2]) if place in source.places)
            if (at, message) not in told:  # Of `defaults`: once is enough.
                told.add((at, message))
                yield source.problem(at, message)


def _findings(
    slo: models.SloSettings, request_s: float | None
) -> Iterator[tuple[tuple[str, ...], str]]:
    yield from ((("success",), text) for text in _of_success(slo.success))
    latencies = [(name, value) for name, value in slo.latency if value is not None]
    for name, limit_s in latencies:
        at = ("latency", name)
        if request_s is not None and limit_s >= request_s:
            yield (
                at,
                f"is never missed: timeouts.request ({request_s:g} s) ends requests"
                " before",
            )
        elif limit_s >= HIGHEST_BOUND_S:
            yield (
                at,
                f"is never missed: durations are measured up to {HIGHEST_BOUND_S:g} s",
            )
    for (lower, low_s), (higher, high_s) in pairwise(latencies):
        if low_s > high_s:
            message = f"is under {lower} ({low_s:g} s), which so says nothing"
            yield ("latency", higher), message


def _of_success(ratio: float | None) -> Iterator[str]:
    if ratio is None:
        return
    if ratio == 1:
        yield "100 % leaves no room for a failure: each one would be an alert"
    elif FASTEST_BURN * (1 - ratio) >= 1:
        lowest = 100 * (1 - 1 / FASTEST_BURN)
        yield f"is under {lowest:.1f} %: even if all fails, the fastest alert is silent"
