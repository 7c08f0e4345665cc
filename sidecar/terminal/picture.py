"""The picture of a board, that fits its terminal.

    service, version, state                      1 line
    all traffic                                  1 line
    endpoints that are out                       a line each, three at most
    routes, in the order that is chosen          a line each
    groups of faults, what goes on first         2 lines each: what, and the fix
    keys                                         1 line

Routes and groups share what is left; what does not fit is scrolled to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sidecar.demo.numbers import in_ms
from sidecar.demo.view import success_text
from sidecar.terminal.board import Kind
from sidecar.terminal.detail import lines_of
from sidecar.terminal.words import (
    breaker_text,
    per_s,
    place_of,
    route_name,
    severity_text,
    sparkline,
    text,
    time_of_day,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from sidecar.terminal.board import Board, Row, Seen

_GROUP_LINES: Final = 2
_MOST_OUT: Final = 3
_MINUTE_S: Final = 60
_FULL_SPARK: Final = 30
_KEYS: Final = "q quit  j/k choose  Enter open  / search  s sort  p pause  ? help"
_OPENED_KEYS: Final = "Esc back  j/k scroll  p pause  q quit  ? help"
_HELP: Final = (
    ("j k, arrows, PgUp PgDn, g G", "choose a route or a group"),
    ("Tab", "to the groups, and back to the routes"),
    ("Enter", "open it: its last record, with a timeline of the attempts"),
    ("/", "search; Enter keeps the words, Esc forgets them"),
    ("s", "sort routes: worst, rate, p95, in flight, name"),
    ("p", "pause: let the picture stand"),
    ("q, Ctrl-C", "quit"),
)
_NUMBERS: Final = {"req/s": 6, "good": 5, "p50": 7, "p95": 7, "p99": 7}
_GIVE_WAY: Final = ("p99", "p50")  # In a narrow terminal.
_WIDE, _NUMBER_WIDTH = 76, 8


def picture(board: Board, size: tuple[int, int]) -> Group:
    """Return the screen.

    Args:
        board: What is shown.
        size: Columns and lines that there are.
    """
    width, height = size
    parts: list[RenderableType] = [*_head(board, width)]
    left = max(0, height - len(parts) - 1)  # The keys are below.
    if board.shows_help:
        body: Sequence[RenderableType] = [_help(left)] if left else []
    elif board.opened is not None:
        body = _opened(board, width, left)
    else:
        body = _body(board, width, left)
    parts += [*body, _foot(board)]
    for part in parts:
        if isinstance(part, Text):
            part.truncate(width, overflow="ellipsis")
    return Group(*parts[:height])


def _head(board: Board, width: int) -> list[Text]:
    seen = board.seen
    if seen is None:
        return [text("sidecar top", "bold"), _problem(board.problem or "connecting")]
    index = seen.index
    title = text(f"sidecar top  {index['service']}", "bold")
    title.append_text(text(f"  {index['version']}  ", "not bold"))
    is_ready = index["ready"]
    title.append("ready" if is_ready else "not ready", "green" if is_ready else "red")
    title.append_text(text(f"  config {index['config_version']}", "dim not bold"))
    if board.is_paused:
        title.append("  PAUSED", "bold yellow")
    second = _problem(board.problem) if board.problem else _total(seen, width)
    return [title, second]


def _problem(words: str) -> Text:
    return text(words, "bold red")


def _total(seen: Seen, width: int) -> Text:
    """Return the traffic of the last minute, and five minutes as bars."""
    total, rows = seen.total, max(1, int(_MINUTE_S / seen.interval_s))
    requests, failures = (total[name][-rows:] for name in ("requests", "failures"))
    done, span_s = sum(requests), max(1, len(requests)) * seen.interval_s
    in_flight = sum(row["in_flight"] for row in seen.traffic)
    line = text(f"{per_s(done / span_s)} req/s  ")
    line.append_text(success_text(1 - sum(failures) / done if done else None))
    last = next((p for p in reversed(total["p95_s"]) if p is not None), None)
    line.append(f" good  {in_flight} in flight  p95 {in_ms(last)}  ")
    spark = min(_FULL_SPARK, width - line.cell_len)
    return line.append(sparkline(total["requests"], spark), "cyan")


def _body(board: Board, width: int, height: int) -> list[RenderableType]:
    out = _out(board)
    left = height - len(out)
    groups_wanted = _GROUP_LINES * len(board.groups) + 1
    routes_wanted = len(board.rows) + 1
    for_groups = min(groups_wanted, max(left - routes_wanted, left // 2))
    shown: list[RenderableType] = [*out]
    shown += _routes(board, width, left - for_groups)
    return [*shown, *_groups(board, for_groups)]


def _out(board: Board) -> list[Text]:
    """Return the endpoints that are out."""
    ejected = board.ejected
    lines = []
    for upstream, endpoint in ejected[:_MOST_OUT]:
        line = text(f"{endpoint['state']:<8}", "yellow")
        line.append_text(text(f" {upstream} > {endpoint['address']}  ", "bold"))
        line.append_text(text(f"{endpoint['cause']}, {endpoint['left_s']:.0f} s left"))
        lines.append(line)
    if len(ejected) > _MOST_OUT:
        lines[-1] = text(f"and {len(ejected) - _MOST_OUT + 1} more endpoints", "yellow")
    return lines


def _window(count: int, chosen: int | None, room: int) -> range:
    """Return which rows are shown, for the chosen one to be among them."""
    room = max(0, min(room, count))
    first = 0 if chosen is None else max(0, min(chosen - room // 2, count - room))
    return range(first, first + room)


def _place(board: Board, kind: Kind, ids: Sequence[str]) -> int | None:
    chosen = board.chosen
    if chosen is None or chosen.kind is not kind or chosen.id not in ids:
        return None
    return ids.index(chosen.id)


def _routes(board: Board, width: int, height: int) -> list[RenderableType]:
    if height < 1:
        return []
    place = _place(board, Kind.ROUTE, [row["route"] for row in board.rows])
    shown = _window(len(board.rows), place, height - 1)
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold underline")
    heading = f"routes by {board.order_name}{_more(shown, len(board.rows))}"
    table.add_column(text(heading), no_wrap=True, min_width=22, overflow="ellipsis")
    missing = max(0, _WIDE - width + _NUMBER_WIDTH - 1) // _NUMBER_WIDTH
    numbers = [name for name in _NUMBERS if name not in _GIVE_WAY[:missing]]
    for name in numbers:
        wide = _NUMBERS[name]
        table.add_column(name, justify="right", no_wrap=True, min_width=wide)
    table.add_column("fly", justify="right", no_wrap=True, min_width=3)
    table.add_column("breaker", no_wrap=True, min_width=9)
    for index in shown:
        row = board.rows[index]
        table.add_row(*_cells(row, numbers), style="reverse" if index == place else "")
    return [table]


def _cells(row: Row, numbers: Sequence[str]) -> list[Text]:
    shown = {
        "req/s": text(per_s(row["requests_per_s"])),
        "good": success_text(row["success_ratio"]),
        **{name: text(in_ms(row[f"{name}_s"])) for name in ("p50", "p95", "p99")},
    }
    return [
        text(route_name(row["route"])),
        *(shown[name] for name in numbers),
        text(row["in_flight"], "" if row["in_flight"] else "dim"),
        breaker_text(row["breaker"]),
    ]


def _groups(board: Board, height: int) -> list[Text]:
    if height < 1:
        return []
    place = _place(board, Kind.GROUP, [group["id"] for group in board.groups])
    room = (height - 1) // _GROUP_LINES
    shown = _window(len(board.groups), place, room)
    more = _more(shown, len(board.groups))
    head = f"faults{more}" if board.groups else "no faults"
    lines = [text(head, "bold underline")]
    for index in shown:
        lines += _group(board.groups[index], is_chosen=index == place)
    return lines


def _group(group: Row, *, is_chosen: bool) -> list[Text]:
    line = severity_text(group["severity"])
    line.append_text(text(f" {group['code']}", "bold"))
    line.append_text(text(f"  {place_of(group)}"))
    line.append_text(text(f"  {group['state']} {time_of_day(group['last_seen'])}"))
    counts = f"  x {group['count']}, {per_s(group['rate_per_s'])}/s {group['trend']}"
    line.append_text(text(counts, "dim"))
    if is_chosen:
        line.stylize("reverse")
    return [line, text(f"   {group['fix']}", "italic")]


def _more(shown: range, count: int) -> str:
    if len(shown) == count:
        return ""
    return f" {shown.start + 1}-{shown.stop} of {count}" if shown else f" ({count})"


def _opened(board: Board, width: int, height: int) -> list[Text]:
    assert board.opened is not None  # noqa: S101 - for the type checker
    lines = lines_of(board.opened, board.whole, width)
    board.offset = max(0, min(board.offset, len(lines) - height))
    return lines[board.offset : board.offset + height]


def _help(height: int) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for key, meaning in _HELP[:height]:
        table.add_row(Text(key, "bold"), Text(meaning))
    return table


def _foot(board: Board) -> Text:
    if board.is_typing:
        return text(f"/{board.search}", "reverse")
    if board.shows_help:
        return Text("any key goes back", "dim")
    if board.opened is not None:
        return Text(_OPENED_KEYS, "dim")
    if board.search:
        return text(f"only with {board.search!r}: Esc shows all  {_KEYS}", "dim")
    return Text(_KEYS, "dim")
