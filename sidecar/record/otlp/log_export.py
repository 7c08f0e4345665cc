"""Records of failures, and the proxy's own log, as OTLP logs.

Each failure that is kept is one log record, with the trace and span of its request: a
backend leads from one to the other. Stdout and stderr have them all the same.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.record.otlp.environment import LOGS, batching, service_name
from sidecar.record.otlp.shipping import Exporter, Shipper, hush_exporters, with_path
from sidecar.record.own_log import OURS, OwnLogFormatter

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.record.feed.failure import Failure
    from sidecar.settings.snapshot import LogExport, Snapshot

_HTTP_PATH = "/v1/logs"


@dataclass(slots=True)
class OwnLine:
    """A line of this process's own log."""

    wall_ns: int
    level: int  # As `logging` has it.
    text: str


class LogShipper(Shipper["Failure | OwnLine"]):
    """Queues failures and own lines, and sends them as log records."""

    def __init__(
        self,
        snapshot: Snapshot,
        make_exporter: Callable[[LogExport], Exporter] | None = None,
    ) -> None:
        self._logs = snapshot.log_export
        self._is_traced = snapshot.tracing.enabled
        self._service = service_name(snapshot.service, os.environ)
        self._make_exporter = make_exporter or otlp_exporter
        self._handler: _Handler | None = None
        waits = batching(os.environ, LOGS)
        super().__init__("log records", self._logs.queue, waits, self._made)

    def listen(self, call_soon: Callable[..., object]) -> None:
        """Send this process's own log, too.

        Args:
            call_soon: Calls on the event loop, from whatever thread logs.
        """
        self._handler = _Handler(self, call_soon)
        logging.getLogger(OURS).addHandler(self._handler)

    def listen_no_more(self) -> None:
        """Let the log be."""
        if self._handler is not None:
            logging.getLogger(OURS).removeHandler(self._handler)

    def _made(self) -> tuple[Exporter, Callable[[Failure | OwnLine], list[Any]]]:
        from sidecar.record.otlp.log_records import LogMaker  # noqa: PLC0415 - heavy

        exporter = self._make_exporter(self._logs)
        return exporter, LogMaker(self._service, is_traced=self._is_traced).logs_of


class _Handler(logging.Handler):
    """Hands lines over, as they stand on stderr: with nothing in them to plant."""

    def __init__(self, shipper: LogShipper, call_soon: Callable[..., object]) -> None:
        super().__init__()
        self.setFormatter(OwnLogFormatter())
        self._shipper = shipper
        self._call_soon = call_soon

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one over; where the loop is at its end, nobody sends any more."""
        line = OwnLine(int(record.created * 1e9), record.levelno, self.format(record))
        with suppress(RuntimeError):
            self._call_soon(self._shipper.record, line)


def otlp_exporter(logs: LogExport) -> Exporter:
    """Return the exporter; what is not configured it takes from OTEL_EXPORTER_*."""
    hush_exporters()
    if logs.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - heavy
            _log_exporter as by_grpc,
        )

        return by_grpc.OTLPLogExporter(endpoint=logs.endpoint)
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415 - heavy
        _log_exporter as by_http,
    )

    return by_http.OTLPLogExporter(endpoint=with_path(logs.endpoint, _HTTP_PATH))
