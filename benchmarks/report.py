"""What was measured, as values: rows, ratios, verdicts, table and JSON. Pure.

Two figures hold on a noisy machine where others do not: CPU per request, and
its ratio to another proxy's of the same round, moments apart. So a ratio is the
median of the rounds' ratios and not the ratio of two medians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

DIRECT = "(no proxy)"
TIMES = "\N{MULTIPLICATION SIGN}"
BASE = "nginx"
CPU_TARGETS = (("nginx", 2.5), ("caddy", 0.5))  # At most so many times its CPU.

_MIB = 1 << 20
_HEADINGS = (
    "load",
    "proxy",
    "CPU µs/request",
    f"{TIMES} {BASE}",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "resident MiB",
    "verdict",
)
_FIGURE_HEADINGS = ("figure", "measured", "target", "verdict")


@dataclass(frozen=True, slots=True)
class Round:
    """One proxy under load for some seconds."""

    requests: int
    duration_s: float
    cpu_s: float  # Of the proxy's process tree; 0 where there is no proxy.
    p50_s: float
    p99_s: float
    resident_bytes: int
    errors: int

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU per request."""
        return self.cpu_s * 1e6 / self.requests if self.requests else 0.0

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.duration_s if self.duration_s else 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """One proxy under one load, over all rounds."""

    load: str
    proxy: str
    version: str
    rounds: tuple[Round, ...]
    absent: str = ""  # Why it did not take part; then there are no rounds.
    idle_cpu_ratio: float = 0.0  # Of one core, used between its own rounds.

    @property
    def errors(self) -> int:
        """Requests that failed."""
        return sum(each.errors for each in self.rounds)

    def median(self, figure: Callable[[Round], float]) -> float | None:
        """Return the median of a figure over the rounds, if there are any."""
        return median(map(figure, self.rounds)) if self.rounds else None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, and what it must not exceed (or reach) where there is a target."""

    name: str
    value: float | None  # None: it could not be measured, for the reason in `note`.
    unit: str
    limit: float | None = None
    is_limit_allowed: bool = True  # Whether the limit itself still meets the target.
    note: str = ""
    is_at_least: bool = False  # More is better: the target is to be reached.

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None if that cannot be told."""
        if self.value is None or self.limit is None:
            return None
        if self.is_at_least:
            return self.value >= self.limit
        if self.is_limit_allowed:
            return self.value <= self.limit
        return self.value < self.limit

    @property
    def target(self) -> str:
        """The target as people write it."""
        if self.limit is None:
            return ""
        sign = "≤" if self.is_limit_allowed else "<"
        if self.is_at_least:
            sign = "≥"
        return f"{sign} {self.limit:g} {self.unit}"

    @property
    def verdict(self) -> str:
        """One word on it, or why there is none."""
        if self.value is None:
            return f"not measured: {self.note}"
        return {True: "met", False: "MISSED", None: ""}[self.is_met]


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run found."""

    made_at: str  # ISO 8601, UTC.
    machine: dict[str, str]
    settings: dict[str, object]
    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)


def ratio(row: Row, base: Row | None) -> float | None:
    """Return how many times the CPU of `base` a request costs in `row`."""
    if base is None:
        return None
    ratios = [
        mine.cpu_us / theirs.cpu_us
        for mine, theirs in zip(row.rounds, base.rounds, strict=False)
        if theirs.cpu_us and mine.cpu_us
    ]
    return median(ratios) if ratios else None


def idle_cpu_ratio(rounds: Iterable[Round], used_s: float, elapsed_s: float) -> float:
    """Return the share of a core that a proxy used while others had the load.

    Work put off to a quieter time, as an exporter does, is in no round: this
    shows it.
    """
    own = list(rounds)
    idle_s = elapsed_s - sum(each.duration_s for each in own)
    idle_cpu_s = used_s - sum(each.cpu_s for each in own)
    return max(0.0, idle_cpu_s / idle_s) if idle_s > 0 else 0.0


def row_of(rows: Iterable[Row], load: str, proxy: str) -> Row | None:
    """Return the row of a proxy under a load."""
    found = (row for row in rows if (row.load, row.proxy) == (load, proxy))
    return next(found, None)


def cpu_figures(rows: Sequence[Row], load: str, ours: str) -> list[Figure]:
    """Return our CPU per request against the targets, under one load."""
    mine = row_of(rows, load, ours)
    if mine is None:
        return []
    return [_cpu_figure(rows, mine, peer, limit) for peer, limit in CPU_TARGETS]


def idle_figures(rows: Sequence[Row], load: str, ours: str) -> list[Figure]:
    """Return what our proxy used while it had nothing to do, if it ran."""
    mine = row_of(rows, load, ours)
    if mine is None or not mine.rounds:
        return []
    name = f"{ours}: CPU between its rounds"
    return [Figure(name, mine.idle_cpu_ratio * 100, "% of a core")]


def _cpu_figure(rows: Sequence[Row], mine: Row, peer: str, limit: float) -> Figure:
    theirs = row_of(rows, mine.load, peer)
    value, note = ratio(mine, theirs), ""
    if errors := mine.errors + (theirs.errors if theirs else 0):
        value, note = None, f"{errors} requests failed"
    elif value is None:
        absent = mine.absent or (theirs.absent if theirs else "")
        note = absent or f"no {peer} to compare with"
    return Figure(
        f"CPU per request, {mine.load}", value, f"{TIMES} {peer}", limit, note=note
    )


def contest_table(rows: Sequence[Row], ours: str) -> str:
    """Return the rows as an aligned Markdown table; verdicts on the first load."""
    cells: list[Sequence[str]] = [_HEADINGS]
    first = rows[0].load if rows else ""
    for row in rows:
        figures = cpu_figures(rows, first, ours) if row.load == first else []
        cells.append(_cells(row, rows, figures if row.proxy == ours else []))
    return aligned(cells, left=(0, 1, 8))


def absences(rows: Sequence[Row]) -> list[str]:
    """Return who did not take part, and why, each of them once."""
    return list(
        dict.fromkeys(f"{row.proxy}: {row.absent}" for row in rows if row.absent)
    )


def figure_table(figures: Sequence[Figure]) -> str:
    """Return the figures as an aligned Markdown table."""
    cells: list[Sequence[str]] = [_FIGURE_HEADINGS]
    for each in figures:
        value = "-" if each.value is None else f"{_number(each.value)} {each.unit}"
        cells.append((each.name, value, each.target, _remark(each)))
    return aligned(cells, left=(0, 3))


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Return cells as a Markdown table; columns not in `left` align to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(_padded(row, widths, left)) + " |" for row in rows]
    rule = ["-" * width + ("-" if n in left else ":") for n, width in enumerate(widths)]
    lines.insert(1, "|-" + "|-".join(rule) + "|")
    return "\n".join(lines)


def as_json(report: Report, ours: str) -> dict[str, Any]:
    """Return the report as plain data: figures first, every round below."""
    return {
        "made_at": report.made_at,
        "machine": report.machine,
        "settings": report.settings,
        "figures": [_figure_json(each) for each in report.figures],
        "ours": ours,
        "rows": [_row_json(row, report.rows) for row in report.rows],
    }


def _cells(row: Row, rows: Sequence[Row], figures: Sequence[Figure]) -> list[str]:
    name = f"{row.proxy} {row.version}".strip()
    if row.absent:
        return [row.load, name, *["-"] * 6, "absent"]
    return [
        row.load,
        name,
        _number(row.median(lambda each: each.cpu_us) or None),
        _number(ratio(row, row_of(rows, row.load, BASE))),
        f"{row.median(lambda each: each.per_s) or 0.0:,.0f}",
        _number(row.median(lambda each: each.p50_s * 1e3)),
        _number(row.median(lambda each: each.p99_s * 1e3)),
        _number(row.median(lambda each: each.resident_bytes / _MIB) or None),
        _row_verdict(row, figures),
    ]


def _row_verdict(row: Row, figures: Sequence[Figure]) -> str:
    if row.errors:
        return f"{row.errors} requests failed"
    return ", ".join(
        f"{each.verdict} {each.target}" for each in figures if each.is_met is not None
    )


def _remark(figure: Figure) -> str:
    verdict = figure.verdict
    if figure.value is None or not figure.note:
        return verdict
    return f"{verdict} ({figure.note})" if verdict else figure.note


def _padded(
    row: Sequence[str], widths: Sequence[int], left: Sequence[int]
) -> Iterable[str]:
    for n, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if n in left else cell.rjust(width)


def _number(value: float | None) -> str:
    """Return three digits that count; a dash for none."""
    if value is None:
        return "-"
    if value >= 100:  # noqa: PLR2004 - three digits before the point are enough
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - likewise


def _figure_json(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "value": figure.value,
        "unit": figure.unit,
        "target": figure.target,
        "is_met": figure.is_met,
        "note": figure.note,
    }


def _row_json(row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "load": row.load,
        "proxy": row.proxy,
        "version": row.version,
        "absent": row.absent,
        "errors": row.errors,
        "cpu_us": row.median(lambda each: each.cpu_us) or None,
        "cpu_ratio_to_nginx": ratio(row, row_of(rows, row.load, BASE)),
        "requests_per_s": row.median(lambda each: each.per_s),
        "p50_s": row.median(lambda each: each.p50_s),
        "p99_s": row.median(lambda each: each.p99_s),
        "resident_bytes": row.median(lambda each: each.resident_bytes) or None,
        "idle_cpu_ratio": row.idle_cpu_ratio,
        "rounds": [_round_json(each) for each in row.rounds],
    }


def _round_json(each: Round) -> dict[str, Any]:
    return {
        "requests": each.requests,
        "duration_s": each.duration_s,
        "cpu_us": each.cpu_us or None,
        "p50_s": each.p50_s,
        "p99_s": each.p99_s,
        "resident_bytes": each.resident_bytes or None,
        "errors": each.errors,
    }
