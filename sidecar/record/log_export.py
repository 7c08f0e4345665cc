"""Records of failures as OTLP logs, beside the lines on stdout.

Each that is kept is one log record, with the trace and span of its request: a backend
leads from one to the other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sidecar.record.fault_feed import Failure
from sidecar.record.otel_env import LOGS, batching, service_name
from sidecar.record.shipping import Exporter, Shipper, hush_exporters, with_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.settings.snapshot import LogExport, Snapshot

_HTTP_PATH = "/v1/logs"


class LogShipper(Shipper[Failure]):
    """Queues failures, and sends their records."""

    def __init__(
        self,
        snapshot: Snapshot,
        make_exporter: Callable[[LogExport], Exporter] | None = None,
    ) -> None:
        self._logs = snapshot.log_export
        self._is_traced = snapshot.tracing.enabled
        self._service = service_name(snapshot.service, os.environ)
        self._make_exporter = make_exporter or otlp_exporter
        waits = batching(os.environ, LOGS)
        super().__init__("log records", self._logs.queue, waits, self._made)

    def _made(self) -> tuple[Exporter, Callable[[Failure], list[Any]]]:
        from sidecar.record.log_records import LogMaker  # noqa: PLC0415 - heavy

        exporter = self._make_exporter(self._logs)
        return exporter, LogMaker(self._service, is_traced=self._is_traced).logs_of


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
