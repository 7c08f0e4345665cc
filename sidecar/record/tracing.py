"""Traces by OTLP, without a request ever waiting for them.

    record --> bounded queue of outcomes --> thread: spans --> OTLP exporter

A request that is to be told costs one append; spans are made, and OpenTelemetry
is loaded, in the thread, with the very ids that went upstream. A collector that is
slow, down or full costs spans, which are counted, and never a request or the end
of the process: every wait for the thread has a limit.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from sidecar.record.fault_feed import Failure
from sidecar.record.otel_env import batching, service_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sidecar.model import Outcome
    from sidecar.settings.snapshot import Snapshot, Tracing

_log = logging.getLogger(__name__)

_HTTP_PATH = "/v1/traces"
_LAST_WORDS_S = 0.2  # For the thread to end, once its export was cut.


class Exporter(Protocol):
    """What the thread needs of an OTLP exporter."""

    def export(self, spans: Sequence[Any], /) -> Any:
        """Send spans; return an enum whose name is SUCCESS or not."""

    def shutdown(self) -> None:
        """Stop, also what is under way in another thread."""


@dataclass(slots=True)
class SpanCounts:
    """What became of spans; each number is written by one thread only."""

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


class Tracer:
    """Queues what is to be told, and tells it from its thread."""

    def __init__(
        self,
        snapshot: Snapshot,
        make_exporter: Callable[[Tracing], Exporter] | None = None,
    ) -> None:
        self._tracing = snapshot.tracing
        self._service = service_name(snapshot.service, os.environ)
        self._batching = batching(os.environ)
        self._make_exporter = make_exporter or otlp_exporter
        self._exporter: Exporter | None = None
        self._queue: deque[Outcome | Failure] = deque()
        self._put = 0  # Spans, ever; by the loop's thread.
        self._taken = 0  # By the exporter's.
        self._is_failing = False
        self._wake = threading.Event()
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.counts = SpanCounts()

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Tracer queued={self.queued_spans} {self.counts}>"

    @property
    def queued_spans(self) -> int:
        """How many spans wait to be made and sent."""
        return self._put - self._taken

    def record(self, told: Outcome | Failure) -> None:
        """Tell of a request, if there is room for its spans."""
        spans = _count_spans(told)
        if self._put - self._taken + spans > self._tracing.queue_spans:
            self.counts.queue_full += spans
            return
        self._put += spans
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
        self.counts.shut_down += self._put - self._taken
        self._queue.clear()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """Export until closed: a batch a second, or as fast as a full one fills."""
        make = self._load()
        while not (self._is_closing.is_set() and not self._queue):
            self._wake.wait()
            self._is_closing.wait(self._batching.delay_s)
            self._wake.clear()  # Before looking: what comes later wakes again.
            while self._queue:
                self._export_batch(make)
        if self._exporter is not None:
            self._exporter.shutdown()

    def _load(self) -> Callable[[Outcome | Failure], list[Any]]:
        """Load OpenTelemetry; without it, or with a bad endpoint, drop and count."""
        try:
            from sidecar.record.spans import (  # noqa: PLC0415 - heavy, often not needed
                SpanMaker,
            )

            self._exporter = self._make_exporter(self._tracing)
        except Exception:  # noqa: BLE001 - a missing package, a bad URL, a bad file
            _log.exception("no traces: the OTLP exporter cannot be made")
            return lambda _: []
        return SpanMaker(self._service).spans_of

    def _export_batch(self, make: Callable[[Outcome | Failure], list[Any]]) -> None:
        batch: list[Any] = []
        taken = 0
        while self._queue and taken < self._batching.max_spans:
            told = self._queue.popleft()
            taken += _count_spans(told)
            batch += make(told)
        if self._send(batch):
            self.counts.exported += taken
        else:
            self.counts.export_failed += taken
        self._taken += taken  # Only now: what is being sent still takes room.

    def _send(self, batch: list[Any]) -> bool:
        if self._exporter is None:
            return False
        try:
            is_sent = bool(self._exporter.export(batch).name == "SUCCESS")
        except Exception:  # noqa: BLE001 - whatever it is, the thread lives on
            _log.debug("the OTLP exporter raised", exc_info=True)
            is_sent = False
        if is_sent is self._is_failing and not self._is_closing.is_set():
            self._is_failing = not is_sent
            if is_sent:
                _log.info("the collector takes spans again")
            else:
                _log.warning("the collector takes no spans: they are dropped")
        return is_sent


def otlp_exporter(tracing: Tracing) -> Exporter:
    """Return the exporter; what is not configured it takes from OTEL_EXPORTER_*."""
    # It tells each of its tries; the tracer tells when it begins and ends to fail.
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)
    if tracing.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - heavy
            trace_exporter as by_grpc,
        )

        return by_grpc.OTLPSpanExporter(endpoint=tracing.endpoint)
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415 - heavy
        trace_exporter as by_http,
    )

    return by_http.OTLPSpanExporter(endpoint=with_path(tracing.endpoint))


def with_path(endpoint: str | None) -> str | None:
    """Return where traces are posted to, for the base address of a collector."""
    if endpoint is None or urlsplit(endpoint).path not in ("", "/"):
        return endpoint
    return endpoint.rstrip("/") + _HTTP_PATH


def _count_spans(told: Outcome | Failure) -> int:
    outcome = told.outcome if isinstance(told, Failure) else told
    return 1 + len(outcome.attempts)
