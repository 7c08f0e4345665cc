"""Lines go out in order and whole; a stream that blocks costs no caller."""

from __future__ import annotations

import os
import threading
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.record.line_writer import LineWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stuck(StringIO):
    """A stream whose reader stands still until `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.is_entered = threading.Event()

    def write(self, text: str) -> int:
        self.is_entered.set()
        self.gate.wait()
        return super().write(text)


class Gone(StringIO):
    """A stream that takes nothing."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(text)


@settings(deadline=None, max_examples=30)  # Each starts a thread.
@given(st.lists(st.text(alphabet="abc", max_size=5), max_size=30))
def test_every_line_goes_out_once_and_in_order(lines: list[str]) -> None:
    stream = StringIO()
    writer = LineWriter(stream, str)
    for line in lines:
        writer.put(line)
    writer.close(10.0)
    assert stream.getvalue() == "".join(line + "\n" for line in lines)
    assert (writer.written, writer.dropped, writer.lost) == (len(lines), 0, 0)


def test_without_a_line_there_is_no_thread() -> None:
    before = threading.active_count()
    writer = LineWriter(StringIO(), str)
    assert threading.active_count() == before
    writer.close(0.0)


def test_while_it_is_stuck_lines_are_dropped_and_counted() -> None:
    """The caller never waits, and what had room goes out later."""
    stream = Stuck()
    writer = LineWriter(stream, str, max_lines=3)
    writer.put("first")
    stream.is_entered.wait()  # It is being written: out of the queue.
    for number in range(10):
        writer.put(str(number))
    assert writer.dropped == 7
    stream.gate.set()
    writer.close(10.0)
    assert stream.getvalue().split() == ["first", "0", "1", "2"]


def test_it_gives_up_at_the_end_when_nobody_reads() -> None:
    stream = Stuck()
    writer = LineWriter(stream, str)
    writer.put("first")
    stream.is_entered.wait()
    writer.put("second")
    writer.close(0.01)
    assert writer.dropped == 1
    stream.gate.set()


def test_what_a_stream_refuses_is_counted_as_lost() -> None:
    writer = LineWriter(Gone(), str)
    writer.put("a")
    writer.close(10.0)
    assert (writer.written, writer.lost) == (0, 1)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    os.close(ends[0])


def test_a_non_blocking_pipe_gets_every_byte(pipe: tuple[int, int]) -> None:
    """Somebody else may make stdout non-blocking: it is waited for in pieces."""
    read_end, write_end = pipe
    os.set_blocking(write_end, False)
    line = "x" * 200_000  # More than the pipe holds.
    with os.fdopen(write_end, "w") as stream:
        writer = LineWriter(stream, str)
        writer.put(line)
        got = 0
        while got < len(line) + 1:
            got += len(os.read(read_end, 65536))
        writer.close(10.0)
    assert got == len(line) + 1
    assert writer.written == 1
