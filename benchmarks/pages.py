"""What a whole run writes into the pages, between `<!-- bench -->` and its end.

So the tables of README and `docs/performance.md` are those of `docs/bench.json`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmarks.report import contest_table, figure_table, idle_figures

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Report

_BLOCKS = {
    name: re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    for name in ("bench", "overload", "resources")
}


def write(report: Report, root: Path, ours: str) -> None:
    """Write the tables of a run into the pages below `root`."""
    first = report.rows[0].load if report.rows else ""
    short = [row for row in report.rows if row.load == first]
    whole = f"{contest_table(report.rows, ours)}\n\n{figure_table(report.figures)}"
    idle = {figure.name for figure in idle_figures(report.rows, first, ours)}
    told = [figure for figure in report.figures if figure.name not in idle]
    brief = f"{contest_table(short, ours)}\n\n{figure_table(told)}"
    for path, tables in (
        (root / "README.md", brief),
        (root / "docs" / "performance.md", whole),
    ):
        text = path.read_text(encoding="utf-8")
        path.write_text(placed(text, tables), encoding="utf-8")


def write_overload(tables: str, root: Path) -> None:
    """Write the tables of the overload into the page below `root`."""
    path = root / "docs" / "performance.md"
    text = path.read_text(encoding="utf-8")
    path.write_text(placed(text, tables, "overload"), encoding="utf-8")


def placed(text: str, tables: str, block: str = "bench") -> str:
    """Return a page with these tables in the place of those that it has."""
    return _BLOCKS[block].sub(lambda found: f"{found[1]}{tables}\n{found[2]}", text)
