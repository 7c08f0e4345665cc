"""The table, drawn: CPU per request large, what else matters beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from benchmarks.report import BASE, CPU_TARGETS, DIRECT, TIMES, ratio, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.report import Report, Round, Row

_OURS, _OTHERS, _INK, _FAINT = "#d9480f", "#a9b4c0", "#20262d", "#6b7580"
_MIB = 1 << 20
_PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
_WHOLE_ABOVE = 100  # Digits beyond say nothing.


def draw(report: Report, path: Path, ours: str) -> None:
    """Draw the first load of the report to `path`, if there is anything to draw."""
    rows = _drawable(report.rows)
    if not rows:
        return
    figure = Figure(figsize=(12, 5.6), dpi=150, layout="constrained")
    panels = figure.subplot_mosaic(
        [["cpu", "rate"], ["cpu", "tail"], ["cpu", "memory"]], width_ratios=[1.7, 1]
    )
    _draw_cpu(panels["cpu"], rows, ours)
    _draw_small(panels, rows, ours)
    title = f"{rows[0].load}, {report.settings['connections']} connections"
    figure.suptitle(title, fontsize=14, fontweight="bold", color=_INK)
    figure.supxlabel(_footnote(report), fontsize=8.5, color=_FAINT)
    figure.savefig(path)


def _drawable(rows: Sequence[Row]) -> list[Row]:
    """Return the first load's rows of proxies that ran, the cheapest first."""
    first = rows[0].load if rows else ""
    ran = [row for row in rows if row.load == first and row.proxy != DIRECT]
    return sorted((row for row in ran if _cpu_us(row)), key=_cpu_us)


def _draw_cpu(axes: Axes, rows: Sequence[Row], ours: str) -> None:
    _bars(axes, rows, _cpu_us, ours)
    base = row_of(rows, rows[0].load, BASE)
    right = max(each.cpu_us for row in rows for each in row.rounds)
    for n, row in enumerate(rows):
        spread = [each.cpu_us for each in row.rounds]
        axes.plot(spread, [n] * len(spread), ".", color=_INK, alpha=0.35, markersize=5)
        times = ratio(row, base)
        compared = f"   {times:.2f} {TIMES} {BASE}" if times else ""
        text = f"{_cpu_us(row):.1f} µs{compared}"
        at = max(spread) + right * 0.02
        axes.text(at, n, text, va="center", fontweight="bold", bbox=_PAPER)
    _draw_targets(axes, rows)
    axes.set_xlim(0, right * 1.35)
    axes.set_title(
        "CPU of the proxy per request (a dot is a round)", loc="left", fontsize=11
    )


def _draw_targets(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the lines that our bar must not pass, named below the bars."""
    for n, (peer, limit) in enumerate(CPU_TARGETS):
        row = row_of(rows, rows[0].load, peer)
        if row is None:
            continue
        at = _cpu_us(row) * limit
        axes.axvline(at, color=_INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1.5)
        label = f" at most {limit:g} {TIMES} {peer}"
        below = len(rows) - 0.45 + 0.17 * n
        axes.text(at, below, label, color=_INK, fontsize=8.5, bbox=_PAPER)


def _draw_small(panels: dict[str, Axes], rows: Sequence[Row], ours: str) -> None:
    for name, title, figure in (
        ("rate", "Requests per second", lambda each: each.per_s),
        ("tail", "p99 latency, ms", lambda each: each.p99_s * 1e3),
        ("memory", "Resident memory, MiB", lambda each: each.resident_bytes / _MIB),
    ):
        _draw_panel(panels[name], rows, _median_of(figure), ours)
        panels[name].set_title(title, loc="left", fontsize=11)


def _draw_panel(
    axes: Axes, rows: Sequence[Row], value: Callable[[Row], float], ours: str
) -> None:
    _bars(axes, rows, value, ours)
    right = max(map(value, rows))
    for n, row in enumerate(rows):
        number = value(row)
        text = f"{number:,.0f}" if number > _WHOLE_ABOVE else f"{number:.1f}"
        axes.text(number + right * 0.02, n, text, va="center", fontsize=9)
    axes.set_xlim(0, right * 1.2)


def _bars(
    axes: Axes, rows: Sequence[Row], value: Callable[[Row], float], ours: str
) -> None:
    colours = [_OURS if row.proxy == ours else _OTHERS for row in rows]
    axes.barh(range(len(rows)), [value(row) for row in rows], 0.62, color=colours)
    axes.set_yticks(range(len(rows)), [row.proxy for row in rows])
    axes.invert_yaxis()
    axes.tick_params(length=0, labelcolor=_INK)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _footnote(report: Report) -> str:
    versions = ", ".join(
        f"{row.proxy} {row.version}" for row in _drawable(report.rows) if row.version
    )
    rounds = f"median of {report.settings['rounds']} interleaved rounds"
    return f"{versions}; {rounds}; {report.machine.get('processor', '')}"


def _cpu_us(row: Row) -> float:
    return row.median(lambda each: each.cpu_us) or 0.0


def _median_of(figure: Callable[[Round], float]) -> Callable[[Row], float]:
    return lambda row: row.median(figure) or 0.0
