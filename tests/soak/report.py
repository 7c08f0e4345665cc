"""A soak's outcome, for people: a table, and the sentences of what went wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from tests.soak.ledger import is_calm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.run import Report

_SHOWN = 30


def lines(report: Report) -> Iterator[str]:
    """Yield the lines of the report."""
    yield from _requests(report)
    yield from _chaos(report)
    yield from _left(report)
    found = report.violations
    yield ""
    yield f"VIOLATIONS: {len(found)}" if found else "no violation"
    yield from (f"  {sentence}" for sentence in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"  and {len(found) - _SHOWN} more"


def _requests(report: Report) -> Iterator[str]:
    by_kind: dict[str, Counter[str]] = {}
    for sent in report.sent:
        by_kind.setdefault(sent.kind, Counter())[sent.code or sent.out] += 1
    yield f"requests: {len(report.sent)}"
    for kind, outcomes in sorted(by_kind.items()):
        counts = ", ".join(f"{name} {count}" for name, count in outcomes.most_common())
        yield f"  {kind:13} {outcomes.total():7}  {counts}"
    calm = sum(is_calm(sent, report.chaos) for sent in report.sent)
    yield f"  in calm {calm}: none of these may fail"


def _chaos(report: Report) -> Iterator[str]:
    yield "done to the origin (stall: the machine stood still):"
    times: dict[str, list[float]] = {}
    for event in report.chaos:
        times.setdefault(event.kind, []).append(event.end_s - event.start_s)
    for kind, all_s in sorted(times.items()):
        yield f"  {kind:13} {len(all_s):7}  {sum(all_s):.1f} s in all"


def _left(report: Report) -> Iterator[str]:
    yield "in the sidecar:     at the start, at the end"
    start, end = asdict(report.start), asdict(report.end)
    for name, count in start.items():
        yield f"  {name.replace('_', ' '):20} {count:6} {end[name]:6}"
    warm_mib, end_mib = report.warm_bytes / 2**20, report.end_bytes / 2**20
    yield f"  {'MiB, since it is warm':20} {warm_mib:5.1f} {end_mib:6.1f}"
