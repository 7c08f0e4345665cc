"""A fault in a line: when, what, where, how it ended, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from sidecar.terminal.words import place_of, severity_text, text, time_of_day

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDEST_CODE: Final = 24  # Of most; longer ones push what follows.


def line_of(record: dict[str, Any], *, is_of_route: bool = False) -> Text:
    """Return it, without its end; in a list of one route it need not be told."""
    line = Text(no_wrap=True)
    line.append(f"{time_of_day(record['time'])} ", "dim")
    line.append_text(severity_text(record["severity"]))
    line.append(" ").append_text(text(f"{record['code']:<{_WIDEST_CODE}}", "bold"))
    line.append("  ").append_text(
        text("  ".join(_facts(record, is_of_route=is_of_route)))
    )
    return line.append_text(text(f"  -> {record['fix']}", "italic"))


def _facts(record: dict[str, Any], *, is_of_route: bool) -> Iterator[str]:
    if not is_of_route:
        yield place_of(record)
    if record["status"]:
        yield str(record["status"])
    tries = len(record["attempts"])
    if tries > 1:
        yield f"{tries} tries"
    if record["detail"]:
        yield str(record["detail"])
