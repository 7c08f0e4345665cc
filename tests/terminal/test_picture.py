"""The picture fits its terminal, whatever is in it."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from sidecar.terminal.board import Board, Choice, Kind
from sidecar.terminal.detail import lines_of, timeline
from sidecar.terminal.line import line_of
from sidecar.terminal.picture import picture
from sidecar.terminal.words import sparkline
from tests.terminal.samples import group, record, row, seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.text import Text

SIZES = [(80, 24), (80, 25), (120, 40), (240, 80), (60, 14), (40, 12), (20, 5), (80, 3)]
OF_GROUP = {"group": group(), "record": record()}
OF_ROUTE = {
    "row": row(),
    "history": {"requests": [1, 2, 3], "failures": [0, 0, 1]},
    "records": [record()] * 30,
}


def board(**what: int) -> Board:
    shown = Board()
    shown.see(seen(**what))
    return shown


def drawn(shown: Board, size: tuple[int, int], **more: Any) -> list[str]:
    console = Console(
        width=size[0], height=size[1], file=StringIO(), force_terminal=True, **more
    )
    with console.capture() as captured:
        console.print(picture(shown, size))
    return captured.get().splitlines()


def plain(lines: Iterable[Text]) -> list[str]:
    return [line.plain.rstrip() for line in lines]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", [0, 1, 3, 100], ids=str)
def test_nothing_is_wider_or_higher_than_the_terminal(
    size: tuple[int, int], count: int
) -> None:
    shown = board(routes=count, groups=count, out=count)
    views = [shown, Board(problem="nobody is there")]
    helped = board(routes=count)
    helped.press("?")
    for kind, whole in ((Kind.ROUTE, OF_ROUTE), (Kind.GROUP, OF_GROUP)):
        opened = board(routes=count)
        opened.opened, opened.whole = Choice(kind, "r0"), whole
        views.append(opened)
    for view in [*views, helped]:
        lines = drawn(view, size, color_system=None)
        assert len(lines) <= size[1]
        assert max(map(cell_len, lines), default=0) <= size[0]


def test_80_by_24_has_all_that_matters() -> None:
    shown = "\n".join(drawn(board(routes=20, groups=9), (80, 24), color_system=None))
    for words in (
        "shop  0.1.0  ready  config a8accf008a47",
        "ejected  app > 10.0.0.1:8080",
        "5.0 req/s  90% good  20 in flight  p95 200 ms",
        "routes by worst 1-9 of 20",
        "r0                           2.5  100%    4 ms   20 ms   90 ms   1 closed",
        "P1 316-CONN-RESET  all > 10.0.0.1:8080  ongoing 12:00:08  x 7, 0.5/s rising",
        "   Look at the application's log at this time.",
        "q quit",
    ):
        assert words in shown


def test_what_is_chosen_is_on_the_screen_also_without_colour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a hundred, and marked by reverse video, which is no colour."""
    monkeypatch.setenv("NO_COLOR", "1")
    shown = board(routes=100, groups=100)
    for key in ("tab", "G"):
        shown.press(key)
    lines = drawn(shown, (80, 24), color_system="standard")
    [chosen] = [line for line in lines if "\x1b[7m" in line or ";7m" in line]
    assert shown.chosen is not None
    assert "316-CONN-RESET" in chosen
    assert not any(re.search(r"\x1b\[(\d+;)*[349]\d", line) for line in lines)


def test_a_lost_connection_is_told_and_the_last_picture_stays() -> None:
    shown = board()
    shown.problem = "no connection: http://127.0.0.1:15000: refused"
    text = "\n".join(drawn(shown, (80, 24), color_system=None))
    assert "no connection" in text
    assert "r0" in text


def test_attempts_are_bars_in_the_time_of_the_whole() -> None:
    assert plain(timeline(record(), 80)) == [
        "attempts, in 100 ms",
        "1  10.0.0.1:8080  316-CONN-RESET  ███████" + " " * 30 + " 20 ms",
        "2  10.0.0.2:8080  502             " + " " * 22 + "█" * 15 + " 40 ms",
    ]


def test_no_attempt_is_no_timeline_and_no_time_is_one_column() -> None:
    assert plain(timeline(record(attempts=[]), 80)) == []
    none = record(duration_ms=0.0, attempts=[record()["attempts"][0] | {"ms": 0.0}])
    assert plain(timeline(none, 80))[1].count("█") == 1


def test_a_group_tells_its_last_record_with_what_finds_its_span() -> None:
    text = "\n".join(plain(lines_of(Choice(Kind.GROUP, "g1"), OF_GROUP, 80)))
    assert "7 from 11:59:00 to 12:00:01, 0.5/s rising, 25% of the route" in text
    assert "trace id  c7f4e22736d2731a11283a85bd511b8e" in text


def test_a_fault_is_a_line_with_its_fix() -> None:
    assert line_of(record()).plain == (
        "12:00:01 P1 316-RETRY-EXHAUSTED       all > 10.0.0.2:8080  502  2 tries  "
        "2 attempts  -> See attempts."
    )


def test_what_a_client_planted_is_shown_and_not_obeyed() -> None:
    evil = record(detail="\x1b[2J\r\nP0 316-FAKE", route="\x9b31m")
    line = line_of(evil).plain
    assert line.isprintable()
    assert "\\x1b[2J\\r\\nP0 316-FAKE" in line


def test_bars_are_relative_to_the_highest() -> None:
    assert sparkline([0, 1, 4, 8], 3) == "▁▄█"
    assert sparkline([0, 0], 5) == "  "
    assert sparkline([], 5) == sparkline([1], 0) == ""
