"""The live view: a screen that fits its terminal, drawn anew twice a second.

    what and how long           1 line
    each route                  a line a route
    the last faults             2 lines each: code and route, the fix
    what to try                 a line each

Whatever does not fit is left out from below: first commands, then faults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sidecar.demo.numbers import NO_ROUTE, Met, Row, in_ms, totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from sidecar.demo.hints import Hint

_DOES = {
    "catalogue": "healthy",
    "prices": "fails 30 %; retried",
    "orders": "fails 30 %; a POST",
    "report": "slower than 400 ms",
    "stock": "one of two refuses",
    "payments": "resets connections",
    "legacy": "nobody listens",
    "events": "streams",
    NO_ROUTE: "404: no such route",
}
STATES = {"closed": "green", "half_open": "yellow", "open": "bold red", "off": "dim"}
SEVERITIES = {"P0": "bold red", "P1": "red", "P2": "yellow", "P3": "dim"}
_NUMBERS = (("sent", 5), ("good", 4), ("retries", 7), ("~p50", 7), ("~p95", 7))
_FAULT_LINES = 2
_MOST_FAULTS = 8
_FEW_HINTS = 4  # That faults leave room for in a small terminal.
_GOOD, _POOR = 0.999, 0.8


def picture(
    found: Sequence[Row],
    met: Sequence[Met],
    tries: Sequence[Hint],
    ran_s: float,
    size: tuple[int, int],
) -> Group:
    """Return the screen.

    Args:
        found: The routes.
        met: The last failures, the newest first.
        tries: Commands, the best first.
        ran_s: How long the demo has run, in seconds.
        size: Columns and lines that there are.
    """
    width, height = size
    parts: list[RenderableType] = [_title(found, ran_s), _routes(found)]
    left = height - 2 - len(found)
    faults = max(0, min(_MOST_FAULTS, (left - 2 - _FEW_HINTS) // _FAULT_LINES))
    if faults:
        parts += [_head("last faults"), *_faults(met[:faults])]
        left -= 1 + _FAULT_LINES * len(met[:faults])
    commands = max(0, min(len(tries), left - 1))
    if commands:
        parts += [_head("try, in another terminal"), *_tries(tries[:commands])]
    for part in parts:
        if isinstance(part, Text):
            part.truncate(width, overflow="ellipsis")
    return Group(*parts)


def _title(found: Sequence[Row], ran_s: float) -> Text:
    text = Text("sidecar demo  ", "bold", no_wrap=True)
    text.append(totals(found, ran_s), "not bold")
    return text.append("  Ctrl-C ends", "dim not bold")


def _head(words: str) -> Text:
    return Text(words, "bold underline", no_wrap=True)


def _routes(found: Sequence[Row]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("route", no_wrap=True, min_width=10)
    for name, width in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("breaker", no_wrap=True, min_width=9)
    table.add_column("what it does", style="dim", no_wrap=True, overflow="ellipsis")
    for row in found:
        table.add_row(
            row.name,
            str(row.requests),
            success_text(row.success_ratio),
            Text(str(row.retries), "cyan" if row.retries else "dim"),
            in_ms(row.p50_s),
            in_ms(row.p95_s),
            Text(row.breaker.replace("_", " "), STATES.get(row.breaker, "")),
            _DOES.get(row.name, ""),
        )
    return table


def success_text(ratio: float | None) -> Text:
    """Return a share of good requests in its colour."""
    if ratio is None:
        return Text("-", "dim")
    style = "green" if ratio >= _GOOD else "yellow" if ratio >= _POOR else "red"
    return Text(f"{ratio:.0%}", style)


def _faults(met: Sequence[Met]) -> list[Text]:
    lines = []
    for one in met:
        record: dict[str, Any] = one.record
        line = Text(no_wrap=True)
        line.append(record["severity"], SEVERITIES.get(record["severity"], ""))
        line.append(f" {record['code']}", "bold")
        line.append(f"  {record['route'] or NO_ROUTE}  {record['status']}")
        line.append(f"  x {one.count}", "dim")
        lines += [line, Text(f"   {record['fix']}", "italic", no_wrap=True)]
    return lines


def _tries(tries: Sequence[Hint]) -> list[Text]:
    widest = max(len(hint.command) for hint in tries)
    return [
        Text(hint.command, "cyan", no_wrap=True).append(
            " " * (widest - len(hint.command)) + f"  # {hint.shows}", "dim"
        )
        for hint in tries
    ]


def screen() -> Live:
    """Return what puts pictures on the terminal's second screen, when told to."""
    return Live(console=Console(highlight=False), screen=True, auto_refresh=False)


def has_screen() -> bool:
    """Tell whether there is a terminal that can show a screen."""
    console = Console()
    return console.is_terminal and not console.is_dumb_terminal
