"""Server-sent events: whole input and any pieces of it give the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.terminal.sse import MAX_BYTES, EventParser, ServerEvent, TooLongError

STREAM = (
    b"retry: 2000\n\n: still here\n\nid: 7\nevent: fault\ndata: {}\n\n"
    b"data: a\r\ndata:b\r\n\r\nevent: none\n\nid: 8\rdata: \xc3\xa9\r\rdata: cut"
)
EVENTS = [
    ServerEvent("fault", "{}", "7"),
    ServerEvent("message", "a\nb", "7"),
    ServerEvent("message", "é", "8"),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_however_it_is_cut_the_events_are_the_same(cuts: list[int]) -> None:
    parser, found, edges = EventParser(), [], [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        found += parser.feed(STREAM[start:end])
    assert found == EVENTS


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 65536, b"data: x\n" * 8192])
def test_what_has_no_end_is_given_up(piece: bytes) -> None:
    parser = EventParser()
    for _ in range(MAX_BYTES // len(piece) - 1):
        parser.feed(piece)
    with pytest.raises(TooLongError):
        parser.feed(2 * piece)
