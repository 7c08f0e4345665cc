"""Goodput and its p99 over the load that is offered, for each proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from benchmarks.overload import DEADLINE_MS, MODES, OURS, PLAIN, TARGET_RATIO, UNGUARDED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from benchmarks.overload import Point

_INK, _FAINT = "#20262d", "#6b7580"
_LINES = {
    OURS: ("#d9480f", "-", 2.6),
    UNGUARDED: ("#e8a184", "--", 1.8),
    PLAIN: ("#7d8b99", "-", 1.8),
}


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw the curves to `path`."""
    figure = Figure(figsize=(12, 6.4), dpi=150, layout="constrained")
    panels = figure.subplots(2, len(MODES), sharex=True, height_ratios=[2, 1])
    for column, (mode, title) in enumerate(MODES.items()):
        mine = [point for point in points if point.mode == mode]
        _draw_goodput(panels[0][column], mine, title)
        _draw_tail(panels[1][column], mine)
    panels[0][0].legend(frameon=False, labelcolor=_INK, loc="lower left")
    figure.suptitle(
        f"Goodput (right within {DEADLINE_MS} ms), each against its own peak",
        fontsize=14, fontweight="bold", color=_INK,
    )  # fmt: skip
    figure.savefig(path)


def _draw_goodput(axes: Axes, points: Sequence[Point], title: str) -> None:
    for subject, mine in _by_subject(points):
        peak = max(point.good_per_s for point in mine) or 1.0
        colour, style, width = _LINES[subject]
        axes.plot(
            [point.times_capacity for point in mine],
            [100 * point.good_per_s / peak for point in mine],
            style, color=colour, linewidth=width, marker="o", markersize=4,
            label=f"{subject}, peak {peak:,.0f}/s",
        )  # fmt: skip
    limit = 100 * TARGET_RATIO
    axes.axhline(limit, color=_INK, linestyle=(0, (4, 3)), linewidth=1)
    axes.text(0.5, limit + 1.5, f"{limit:g} %", color=_INK, fontsize=8.5)
    axes.set_ylim(0, 108)
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_ylabel("% of its peak", color=_FAINT)
    _plain(axes)


def _draw_tail(axes: Axes, points: Sequence[Point]) -> None:
    for subject, mine in _by_subject(points):
        told = [point for point in mine if point.good_per_s]
        colour, style, width = _LINES[subject]
        axes.plot(
            [point.times_capacity for point in told],
            [point.p99_ms for point in told],
            style, color=colour, linewidth=width, marker="o", markersize=4,
        )  # fmt: skip
    axes.set_ylim(0, DEADLINE_MS * 1.05)
    axes.set_ylabel("p99 of the good, ms", color=_FAINT)
    axes.set_xlabel("offered, in times of what it can serve", color=_FAINT)
    _plain(axes)


def _by_subject(points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    found = ((s, [p for p in points if p.subject == s]) for s in _LINES)
    return [(subject, mine) for subject, mine in found if mine]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, labelcolor=_INK)
