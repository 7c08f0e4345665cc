"""What keys do to what is shown: no terminal is needed to know."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.terminal.board import Board, Choice, Kind, Quit
from sidecar.terminal.keys import names_of
from tests.terminal.samples import group, row, seen


def board(**what: int) -> Board:
    shown = Board()
    shown.see(seen(**what))
    return shown


def press(shown: Board, *keys: str) -> Board:
    for key in keys:
        shown.press(key)
    return shown


def test_routes_in_trouble_come_first() -> None:
    """An open breaker, then the least good, then the busiest."""
    shown = Board()
    rows = [
        row("idle", success_ratio=None, requests_per_s=0.0, breaker="off"),
        row("busy", requests_per_s=9.0),
        row("failing", success_ratio=0.2),
        row("shut", breaker="open", success_ratio=None),
    ]
    shown.see(replace(seen(), traffic=rows))
    assert [r["route"] for r in shown.rows] == ["shut", "failing", "busy", "idle"]


def test_groups_that_go_on_come_first_the_worst_and_newest_of_them_above() -> None:
    shown = Board()
    groups = [
        group(1, state="recovered", severity="P0"),
        group(2, severity="P2"),
        group(3),
        group(4),
    ]
    shown.see(replace(seen(), groups=groups))
    assert [g["id"] for g in shown.groups] == ["g4", "g3", "g2", "g1"]


def test_the_mark_moves_from_routes_to_groups_and_stays_within() -> None:
    shown = press(board(routes=2, groups=1), "j", "down")
    assert shown.chosen == Choice(Kind.GROUP, "g0")
    assert press(shown, "j", "G").chosen == Choice(Kind.GROUP, "g0")
    assert press(shown, "k").chosen == Choice(Kind.ROUTE, "r1")
    assert press(shown, "g", "up").chosen == Choice(Kind.ROUTE, "r0")
    assert press(shown, "tab").chosen == Choice(Kind.GROUP, "g0")
    assert press(shown, "tab").chosen == Choice(Kind.ROUTE, "r0")


def test_the_mark_stays_on_its_row_when_the_order_changes() -> None:
    shown = press(board(), "j")
    busy = [row("r1", requests_per_s=99.0), row("r0"), row("r2")]
    shown.see(replace(seen(), traffic=busy))
    assert shown.chosen == Choice(Kind.ROUTE, "r1")
    press(shown, "s", "s", "s", "s")
    assert (shown.order_name, shown.chosen) == ("name", Choice(Kind.ROUTE, "r1"))


def test_a_search_leaves_what_has_the_words() -> None:
    shown = press(board(routes=3, groups=2), "/", "R", "1")
    assert [r["route"] for r in shown.rows] == ["r1"]
    press(shown, "enter")
    assert (shown.search, shown.is_typing) == ("R1", False)
    assert len(press(shown, "escape").rows) == 3
    assert press(shown, "/", "r", "x", "backspace").search == "r"
    assert press(shown, "escape").search == ""


def test_while_words_are_typed_q_is_a_letter() -> None:
    shown = press(board(), "/", "q")
    assert shown.search == "q"
    with pytest.raises(Quit):
        press(shown, "enter", "q")


def test_paused_the_picture_stands() -> None:
    shown = press(board(routes=1), "p")
    shown.see(seen(routes=3))
    assert len(shown.rows) == 1
    press(shown, "p").see(seen(routes=3))
    assert len(shown.rows) == 3


def test_what_is_opened_is_left_again() -> None:
    shown = press(board(), "enter")
    assert shown.opened == Choice(Kind.ROUTE, "r0")
    assert press(shown, "j").offset == 1
    assert press(shown, "escape").opened is None
    assert shown.offset == 0


@given(
    st.lists(
        st.sampled_from(
            ["j", "k", "enter", "escape", "/", "r", "1", "s", "p", "?", "tab", "G",
             "g", "backspace", "page_up", "page_down", "é", "unknown"]
        ),
        max_size=40,
    ),
    st.integers(0, 3),
    st.integers(0, 3),
)  # fmt: skip
def test_whatever_is_pressed_the_mark_is_on_a_row(
    pressed: list[str], routes: int, groups: int
) -> None:
    shown = press(board(routes=routes, groups=groups), *pressed)
    assert (shown.chosen in shown.choices) or not shown.choices


def test_what_is_typed_at_once_is_several_keys() -> None:
    assert names_of(b"j\x1b[A\x1bOB\x1b[5~\r\x7f\xc3\xa9\x1b") == [
        "j", "up", "down", "page_up", "enter", "backspace", "é", "escape",
    ]  # fmt: skip


@pytest.mark.parametrize("sequence", [b"\x1b[1;5A", b"\x1b[24~", b"\x01"])
def test_a_key_without_a_meaning_is_not_its_characters(sequence: bytes) -> None:
    assert names_of(sequence) == []
