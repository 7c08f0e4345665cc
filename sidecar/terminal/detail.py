"""A row in full: a route with its last faults, or a group with its last record.

An attempt is a bar in the time that the whole request took:

    1  10.0.0.1:8080  316-CONN-RESET    ████                   12 ms
    2  10.0.0.2:8080  200                        ██████████    31 ms
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from sidecar.demo.numbers import in_ms
from sidecar.terminal.board import Kind
from sidecar.terminal.line import line_of
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
    from collections.abc import Iterator

    from rich.text import Text

    from sidecar.terminal.board import Choice, Row

_NAME: Final = 10
_LEAST_BAR: Final = 10
_SPARK: Final = 60
_RECORD: Final = (
    "detail", "fix", "phase", "processed", "origin", "method", "path_template",
    "retry_skipped_reason", "timeout_kind", "fault_id", "trace_id", "span_id",
    "request_id", "breaker_state",
)  # fmt: skip


def lines_of(opened: Choice, whole: Row | None, width: int) -> list[Text]:
    """Return the lines, as many as there are.

    Args:
        opened: What is shown in full.
        whole: What there is to know of it; None: that is on its way.
        width: Columns that there are.
    """
    if whole is None:
        return [text("loading")]
    if "error" in whole:
        return [text(whole["error"], "red")]
    tell = _route if opened.kind is Kind.ROUTE else _group
    return list(tell(whole, width))


def _route(whole: Row, width: int) -> Iterator[Text]:
    row, history = whole["row"], whole["history"]
    if row is None or history is None:
        yield text("this route is no more", "red")
        return
    head = text(route_name(row["route"]), "bold")
    yield head.append_text(text(f"  {row['listener']} > {row['upstream']}", "not bold"))
    yield _fact("traffic", f"{per_s(row['requests_per_s'])} req/s, "
                f"{row['in_flight']} in flight", width)[0]  # fmt: skip
    times = (f"{name} {in_ms(row[f'{name}_s'])}" for name in ("p50", "p95", "p99"))
    yield _fact("times", ", ".join(times), width)[0]
    yield _name("breaker").append_text(breaker_text(row["breaker"]))
    room = min(_SPARK, width - _NAME)
    for name in ("requests", "failures"):
        yield _name(name).append(sparkline(history[name], room), "cyan")
    yield text("last faults" if whole["records"] else "no faults", "bold underline")
    for record in whole["records"]:
        yield line_of(record, is_of_route=True)


def _group(whole: Row, width: int) -> Iterator[Text]:
    group, record = whole["group"], whole["record"]
    head = severity_text(group["severity"])
    head.append_text(text(f" {group['code']}", "bold"))
    yield head.append_text(text(f"  {group['title']}  {place_of(group)}"))
    since, until = time_of_day(group["first_seen"]), time_of_day(group["last_seen"])
    told = (
        f"{group['state']}, {group['count']} from {since} to {until}, "
        f"{per_s(group['rate_per_s'])}/s {group['trend']}, "
        f"{group['share_of_traffic']:.0%} of the route"
    )
    yield from _fact("group", told, width)
    if record is not None:
        yield text(f"last record, {time_of_day(record['time'])}", "bold underline")
        yield from _record(record, width)


def _record(record: Row, width: int) -> Iterator[Text]:
    for name in _RECORD:
        if record.get(name):
            yield from _fact(name.replace("_", " "), str(record[name]), width)
    yield from timeline(record, width)
    if record.get("events"):
        yield text("events of its upstream", "bold underline")
    for event in reversed(record.get("events", ())):
        words = f"{event['kind']} {event['subject']}: {event['detail']}"
        yield text(f"{time_of_day(event['time'])} {words}")


def timeline(record: dict[str, Any], width: int) -> Iterator[Text]:
    """Yield a line for each attempt, with a bar when it was."""
    attempts = record["attempts"]
    if not attempts:
        return
    whole_ms = max(
        record["duration_ms"], *(each["at_ms"] + each["ms"] for each in attempts)
    )
    yield text(f"attempts, in {whole_ms:.0f} ms", "bold underline")
    names = [
        (f"{a['n']}  {a['endpoint']}", a["code"] or str(a["status"])) for a in attempts
    ]
    wide = [max(len(name[column]) for name in names) for column in (0, 1)]
    room = max(_LEAST_BAR, width - sum(wide) - len(" 10000 ms") - 4)
    for (name, end), attempt in zip(names, attempts, strict=True):
        style = "red" if attempt["code"] else "green"
        line = text(f"{name:<{wide[0]}}  ").append_text(
            text(f"{end:<{wide[1]}}  ", style)
        )
        line.append(_bar(attempt["at_ms"], attempt["ms"], whole_ms, room), style)
        yield line.append(f" {attempt['ms']:.0f} ms", "dim")


def _bar(at_ms: float, ms: float, whole_ms: float, room: int) -> str:
    """Return a bar of one column at least."""
    scale = room / whole_ms if whole_ms else 0.0
    start = min(round(at_ms * scale), room - 1)
    end = max(start + 1, min(round((at_ms + ms) * scale), room))
    return " " * start + "█" * (end - start) + " " * (room - end)


def _name(name: str) -> Text:
    return text(f"{name:<{_NAME}}", "dim")


def _fact(name: str, value: str, width: int) -> list[Text]:
    """Return a fact, in as many lines as it needs."""
    shown = text(value).plain
    pieces = textwrap.wrap(shown, max(1, width - max(_NAME, len(name) + 1))) or [""]
    first = _name(name) if len(name) < _NAME else text(f"{name} ", "dim")
    rest = [text(" " * first.cell_len + piece) for piece in pieces[1:]]
    return [first.append(pieces[0]), *rest]
