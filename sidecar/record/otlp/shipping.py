"""What is told by OTLP, sent without a request ever waiting for it.

    record --> bounded queue --> thread: spans or log records --> OTLP exporter

What is to be told costs one append; what the exporter takes is made, and OpenTelemetry
is loaded, in the thread. A collector that is slow, down or full costs what it should
have had, which is counted, and never a request or the end of the process: every wait
for the thread has a limit.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.record.otlp.environment import Batching

T = TypeVar("T")

_log = logging.getLogger(__name__)

_LAST_WORDS_S = 0.2  # For the thread to end, once its export was cut.
# Items for a collector that took none. The exporter encodes a batch anew with each of
# its tries, and what the last one fails with is lost: few are cheap to try with.
_PROBE_ITEMS = 32


class Exporter(Protocol):
    """What the thread needs of an OTLP exporter."""

    def export(self, batch: Sequence[Any], /) -> Any:
        """Send; return an enum whose name is SUCCESS or not."""

    def shutdown(self) -> None:
        """Stop, also what is under way in another thread."""


@dataclass(slots=True)
class ShippingCounts:
    """What became of what was to be sent."""

    exported: int = 0
    queue_full: int = 0
    export_failed: int = 0
    shut_down: int = 0

    def dropped(self) -> dict[str, int]:
        """Return how many were dropped, by reason."""
        return {
            "queue_full": self.queue_full,
            "export_failed": self.export_failed,
            "shutdown": self.shut_down,
        }


class Shipper(Generic[T]):
    """Queues what is to be told, and tells it from its thread.

    Args:
        words: What is sent, for people; also the name of the thread.
        most: How many may wait, by `size_of`.
        batching: How they are gathered.
        load: Makes the exporter, and what makes what it takes; called in the thread.
    """

    def __init__(
        self,
        words: str,
        most: int,
        batching: Batching,
        load: Callable[[], tuple[Exporter, Callable[[T], list[Any]]]],
    ) -> None:
        self._words = words
        self._most = most
        self._batching = batching
        self._load = load
        self._exporter: Exporter | None = None
        self._queue: deque[T] = deque()
        self._put = 0  # Ever; by the loop's thread.
        self._taken = 0  # By the exporter's.
        self._is_failing = False
        self._counting = threading.Lock()  # Held for an addition, never for a wait.
        self._is_given_up = False
        self._wake = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.counts = ShippingCounts()

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<{type(self).__name__} queued={self.queued} {self.counts}>"

    @property
    def queued(self) -> int:
        """How many wait to be made and sent."""
        return self._put - self._taken

    def size_of(self, told: T) -> int:  # noqa: ARG002 - others look at it
        """Return how many the exporter gets for it."""
        return 1

    def record(self, told: T) -> None:
        """Tell it, if there is room."""
        size = self.size_of(told)
        if self._put - self._taken + size > self._most:
            self.counts.queue_full += size
            return
        self._put += size
        self._queue.append(told)
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def close(self, timeout_s: float) -> None:
        """Send what is queued; cut it off after `timeout_s`."""
        thread = self._thread
        if thread is None:
            return
        self._is_closing.set()
        self._wake.set()
        thread.join(timeout_s)
        if not thread.is_alive():
            return
        exporter = self._exporter
        if exporter is not None:
            exporter.shutdown()  # Ends the waiting between its tries.
        thread.join(_LAST_WORDS_S)
        with self._counting:  # What is being sent is counted here, or there.
            self._is_given_up = True
            self.counts.shut_down += self._put - self._taken

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._words, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Export until closed: a batch a second, or as fast as a full one fills."""
        make = self._loaded()
        while self._queue or not self._is_closing.is_set():
            self._wake.wait()
            self._is_closing.wait(self._batching.delay_s)
            self._wake.clear()  # Before looking: what comes later wakes again.
            while self._queue:
                if self._is_given_up:
                    return
                self._export_batch(make)
        if self._exporter is not None:
            self._exporter.shutdown()

    def _loaded(self) -> Callable[[T], list[Any]]:
        """Load OpenTelemetry; without it, or with a bad endpoint, drop and count."""
        try:
            self._exporter, make = self._load()
        except Exception:  # noqa: BLE001 - a missing package, a bad URL, a bad file
            _log.exception("no %s: the OTLP exporter cannot be made", self._words)
            return lambda _: []
        return make

    def _export_batch(self, make: Callable[[T], list[Any]]) -> None:
        batch: list[Any] = []
        taken = lost = 0
        most = self._batching.max_items
        if self._is_failing:
            most = min(most, _PROBE_ITEMS)
        while self._queue and taken < most:
            told = self._queue.popleft()
            size = self.size_of(told)
            taken += size
            made = self._told_as(make, told)
            lost += size if made is None else 0
            batch += made or []
        is_sent = self._send(batch)
        with self._counting:
            self._count(taken, lost if is_sent else taken)

    @staticmethod
    def _told_as(make: Callable[[T], list[Any]], told: T) -> list[Any] | None:
        """Return what one thing is sent as; a bug of ours must not end the thread."""
        try:
            return make(told)
        except Exception:  # noqa: BLE001 - what cannot be told is logged
            _log.exception("%r could not be told by OTLP", told)
            return None

    def _count(self, taken: int, lost: int) -> None:
        if self._is_given_up:
            return
        self.counts.exported += taken - lost
        self.counts.export_failed += lost
        self._taken += taken  # Only now: what is being sent still takes room.

    def _send(self, batch: list[Any]) -> bool:
        if self._exporter is None:
            return False
        try:
            is_sent = bool(self._exporter.export(batch).name == "SUCCESS")
        except Exception:  # noqa: BLE001 - whatever it is, the thread lives on
            _log.debug("the OTLP exporter raised", exc_info=True)
            is_sent = False
        if is_sent is self._is_failing:
            self._is_failing = not is_sent
            if not self._is_closing.is_set():
                self._tell_change(is_sent=is_sent)
        return is_sent

    def _tell_change(self, *, is_sent: bool) -> None:
        if is_sent:
            _log.info("the collector takes %s again", self._words)
        else:
            _log.warning("the collector takes no %s: they are dropped", self._words)


def hush_exporters() -> None:
    """Let them not tell each try: we tell when they begin to fail, and end."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)


def with_path(endpoint: str | None, path: str) -> str | None:
    """Return where a signal is posted to, for the base address of a collector."""
    if endpoint is None or urlsplit(endpoint).path not in ("", "/"):
        return endpoint
    return endpoint.rstrip("/") + path
