"""What the demo shows, drawn from the counts that `/metrics` is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.record.metrics.histogram import DURATION_BOUNDS_S, quantile_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.app import App

NO_ROUTE = "(no route)"


@dataclass(slots=True)
class Row:
    """One route."""

    name: str
    breaker: str = "off"
    requests: int = 0
    failed: int = 0
    retries: int = 0
    p50_s: float | None = None
    p95_s: float | None = None

    @property
    def success_ratio(self) -> float | None:
        """Share of the requests that did not fail; None of none."""
        return 1 - self.failed / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Met:
    """A code that a route met: how often, and the newest record of it."""

    count: int
    record: dict[str, Any]


def rows(app: App) -> list[Row]:
    """Return each route in the order of the file, then what matched none."""
    store, now_s = app.recorder.store, app.clock.now_s()
    found = {
        state.route.name: Row(
            state.route.name,
            state.breaker.state_at(now_s).value if state.breaker else "off",
            retries=store.retries_by_route[state.route.name],
        )
        for state in app.runtime.routes
    }
    found[""] = Row(NO_ROUTE)
    counts = {name: [0] * (len(DURATION_BOUNDS_S) + 1) for name in found}
    for (_, route, _, _, code), series in store.requests.items():
        row = found.get(route)
        if row is None:
            continue  # "_other": the demo has too few routes for that.
        total = sum(series.durations.counts)
        row.requests += total
        row.failed += total if code else 0
        both = zip(counts[route], series.durations.counts, strict=True)
        counts[route] = [a + b for a, b in both]
    for name, row in found.items():
        row.p50_s = quantile_s(DURATION_BOUNDS_S, counts[name], 0.5)
        row.p95_s = quantile_s(DURATION_BOUNDS_S, counts[name], 0.95)
    return list(found.values())


def last_faults(app: App, most: int) -> list[Met]:
    """Return the last failures, the newest first, each code of a route once."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in app.recorder.feed.newest():
        newest.setdefault((record["code"], record["route"]), record)
    counts: dict[tuple[str, str], int] = {}
    for (code, _, _, route), count in app.recorder.store.faults.items():
        counts[code, route] = counts.get((code, route), 0) + count
    return [Met(counts.get(key, 1), record) for key, record in newest.items()][:most]


def summary(app: App, ran_s: float) -> str:
    """Return what there is to say at the end."""
    found = rows(app)
    lines = [
        f"{'route':<12}{'requests':>9}{'failed':>8}{'retries':>9}{'p50':>9}{'p95':>9}"
        "  breaker"
    ]
    lines += [
        f"{row.name:<12}{row.requests:>9}{row.failed:>8}{row.retries:>9}"
        f"{in_ms(row.p50_s):>9}{in_ms(row.p95_s):>9}  {row.breaker}"
        for row in found
    ]
    lines += ["", totals(found, ran_s), ""]
    for (code, severity, _, route), count in sorted(app.recorder.store.faults.items()):
        lines.append(f"{count:>5} x {code:<26}{severity}  {route or NO_ROUTE}")
    return "\n".join(lines)


def totals(found: Sequence[Row], ran_s: float) -> str:
    """Return the sums in a line."""
    requests = sum(row.requests for row in found)
    failed = sum(row.failed for row in found)
    retries = sum(row.retries for row in found)
    return (
        f"{ran_s:.0f} s: {requests} requests, {failed} failed with a code, "
        f"{retries} retries"
    )


def in_ms(seconds: float | None) -> str:
    """Return a duration for a table."""
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
