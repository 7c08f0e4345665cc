"""Lines to a stream, written by a thread: a stream that blocks costs no request.

    put --> bounded queue --> thread: format, join, one write a batch

When the reader of stdout stands still, the thread stands still in its write, the
queue fills, further lines are dropped and counted, and traffic goes on.

A stream with a file descriptor is written to by that, past Python's buffer: the
buffer has a lock, and a thread that waits in it for ever would take the whole
process down at its end.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

T = TypeVar("T")

MAX_LINES = 10_000
_GATHER_S = 0.02  # One write for what comes within this time.
_MAX_BATCH = 500
_LOOK_S = 0.1


class LineWriter(Generic[T]):
    """Formats and writes in its own thread, which starts with the first line."""

    def __init__(
        self,
        stream: TextIO,
        format_line: Callable[[T], str],
        max_lines: int = MAX_LINES,
    ) -> None:
        self._stream = stream
        self._fd = _fd_of(stream)
        self._format = format_line
        self._max_lines = max_lines
        self._queue: deque[T] = deque()
        self._wake = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0  # Written by the caller's thread alone.
        self.lost = 0  # Written by the writer's: the stream took them no more.
        self.written = 0

    def __repr__(self) -> str:
        """Return its state in a line."""
        return (
            f"<LineWriter queued={len(self._queue)} written={self.written}"
            f" dropped={self.dropped} lost={self.lost}>"
        )

    def put(self, item: T) -> None:
        """Write `item` some time soon, if there is room."""
        if len(self._queue) >= self._max_lines:
            self.dropped += 1
            return
        self._queue.append(item)
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def close(self, timeout_s: float) -> None:
        """Write what is left, but wait no longer than `timeout_s`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._is_closing.set()
        self._wake.set()
        thread.join(timeout_s)
        if thread.is_alive():  # It never touches the queue again that matters.
            self.dropped += len(self._queue)

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._run, name="access-log", daemon=True
        )
        self._thread.start()

    def _run(self) -> None:
        while not (self._is_closing.is_set() and not self._queue):
            self._wake.wait()
            self._is_closing.wait(_GATHER_S)
            self._wake.clear()  # Before looking: a line put later wakes again.
            while self._queue:
                self._write_batch()

    def _write_batch(self) -> None:
        count = min(len(self._queue), _MAX_BATCH)
        text = "".join(self._format(self._queue.popleft()) + "\n" for _ in range(count))
        try:
            if self._fd is None:
                self._stream.write(text)
                self._stream.flush()
            else:
                self._write_all(self._fd, text.encode("utf-8", "backslashreplace"))
            self.written += count
        except (OSError, ValueError):  # Closed, or gone.
            self.lost += count

    def _write_all(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:  # Somebody else made it non-blocking.
                select.select((), (fd,), (), _LOOK_S)


def _fd_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None  # In memory, as in tests.
