"""Traces by OTLP: requests that are sampled, and all that fail.

Spans are made with the very ids that went upstream.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sidecar.record.feed.failure import Failure
from sidecar.record.otlp.environment import TRACES, batching, service_name
from sidecar.record.otlp.shipping import Exporter, Shipper, hush_exporters, with_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.model import Outcome
    from sidecar.settings.snapshot import Snapshot, Tracing

_HTTP_PATH = "/v1/traces"


class Tracer(Shipper["Outcome | Failure"]):
    """Queues requests that are to be told, and sends their spans."""

    def __init__(
        self,
        snapshot: Snapshot,
        make_exporter: Callable[[Tracing], Exporter] | None = None,
    ) -> None:
        tracing = snapshot.tracing
        self._tracing = tracing
        self._service = service_name(snapshot.service, os.environ)
        self._make_exporter = make_exporter or otlp_exporter
        waits = batching(os.environ, TRACES)
        super().__init__("spans", tracing.queue_spans, waits, self._made)

    def size_of(self, told: Outcome | Failure) -> int:
        """Return how many spans a request is: itself, and its attempts."""
        outcome = told.outcome if isinstance(told, Failure) else told
        return 1 + len(outcome.attempts)

    def _made(self) -> tuple[Exporter, Callable[[Outcome | Failure], list[Any]]]:
        from sidecar.record.otlp.spans import SpanMaker  # noqa: PLC0415 - heavy, and seldom

        exporter = self._make_exporter(self._tracing)
        return exporter, SpanMaker(self._service).spans_of


def otlp_exporter(tracing: Tracing) -> Exporter:
    """Return the exporter; what is not configured it takes from OTEL_EXPORTER_*."""
    hush_exporters()
    if tracing.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - heavy
            trace_exporter as by_grpc,
        )

        return by_grpc.OTLPSpanExporter(endpoint=tracing.endpoint)
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415 - heavy
        trace_exporter as by_http,
    )

    return by_http.OTLPSpanExporter(endpoint=with_path(tracing.endpoint, _HTTP_PATH))
