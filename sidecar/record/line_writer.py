"""Lines to a stream, written by a thread: a stream that blocks costs no request.

The queue is bounded. When the reader of stdout stands still, lines are dropped
and counted, and traffic goes on.
"""

from __future__ import annotations

import json
import queue
import threading
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_LINES = 10_000
_STOP = None


class LineWriter:
    """Formats and writes in its own thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[Callable[[], dict[str, Any]] | None] = queue.Queue(
            _MAX_LINES
        )
        self._thread: threading.Thread | None = None
        self.dropped = 0

    def write(self, make: Callable[[], dict[str, Any]]) -> None:
        """Write what `make` returns, some time soon, as one line of JSON."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="access-log", daemon=True
            )
            self._thread.start()
        try:
            self._queue.put_nowait(make)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float) -> None:
        """Write what is left, but wait no longer than `timeout_s`."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            self._queue.put(_STOP, timeout=timeout_s)
        except queue.Full:
            return
        thread.join(timeout_s)

    def _run(self) -> None:
        while (make := self._queue.get()) is not _STOP:
            try:
                self._stream.write(json.dumps(make(), ensure_ascii=False) + "\n")
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # Closed, or gone.
                self.dropped += 1
