"""Spans by OTLP: a server span a request, a client span an attempt.

They are made when the request has ended, with the very ids that went upstream
in `traceparent`, so a request pays for its span only if that is sampled or it
failed. A thread of the SDK exports them; its queue is bounded, so a collector
that is slow, down or full costs spans, never requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.model import Attempt, Outcome
    from sidecar.settings.snapshot import Snapshot

_SERVER_ERROR = 500


class Tracer:
    """Exports spans; the SDK is loaded with the first of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._sdk: _Sdk | None = None

    def record(self, outcome: Outcome) -> None:
        """Export the spans of a request."""
        if self._sdk is None:
            self._sdk = _Sdk(self._snapshot)
        self._sdk.export(outcome)

    def close(self, timeout_s: float) -> None:
        """Export what is queued; give up after `timeout_s`."""
        if self._sdk is not None:
            self._sdk.close(timeout_s)


class _Sdk:
    """OpenTelemetry, once it is loaded."""

    def __init__(self, snapshot: Snapshot) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - heavy, and often not needed
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.util.instrumentation import (  # noqa: PLC0415
            InstrumentationScope,
        )

        self._trace = trace
        self._span = ReadableSpan
        self._resource = Resource.create({"service.name": snapshot.service})
        self._scope = InstrumentationScope("sidecar")
        self._processor = BatchSpanProcessor(
            _exporter(snapshot), max_queue_size=snapshot.tracing.queue_spans
        )

    def export(self, outcome: Outcome) -> None:
        trace, context = self._trace, outcome.trace
        server = self._context(context.trace_id, context.span_id)
        parent = None
        if context.parent_id:
            parent = self._context(context.trace_id, context.parent_id, is_remote=True)
        offset_ns = outcome.start_wall_ns - int(outcome.start_s * 1e9)
        for attempt in outcome.attempts:
            start_ns = offset_ns + int(attempt.start_s * 1e9)
            self._end(
                name=outcome.method,
                context=self._context(context.trace_id, attempt.span_id),
                parent=server,
                kind=trace.SpanKind.CLIENT,
                attributes=_attempt_attributes(outcome, attempt),
                status=self._status(is_error=attempt.fault is not None),
                start_time=start_ns,
                end_time=start_ns + int(attempt.duration_s * 1e9),
            )
        self._end(
            name=f"{outcome.method} {outcome.path_template}".strip(),
            context=server,
            parent=parent,
            kind=trace.SpanKind.SERVER,
            attributes=_server_attributes(outcome),
            events=self._events(outcome),
            status=self._status(is_error=outcome.status >= _SERVER_ERROR),
            start_time=outcome.start_wall_ns,
            end_time=outcome.start_wall_ns + int(outcome.duration_s * 1e9),
        )

    def close(self, timeout_s: float) -> None:
        self._processor.force_flush(int(timeout_s * 1000))
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # The SDK's.

    def _end(self, **fields: Any) -> None:
        span = self._span(
            resource=self._resource, instrumentation_scope=self._scope, **fields
        )
        self._processor.on_end(span)

    def _context(self, trace_id: int, span_id: int, *, is_remote: bool = False) -> Any:
        trace = self._trace
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)  # A failure always is.
        return trace.SpanContext(trace_id, span_id, is_remote, flags)

    def _status(self, *, is_error: bool) -> Any:
        code = self._trace.StatusCode
        return self._trace.Status(code.ERROR if is_error else code.UNSET)

    def _events(self, outcome: Outcome) -> Any:
        from opentelemetry.sdk.trace import Event  # noqa: PLC0415 - loaded already

        fault = outcome.fault
        if fault is None:
            return ()
        attributes = {
            "fault.id": fault.fault_id,
            "fault.code": fault.spec.code,
            "fault.severity": fault.spec.severity.name,
            "fault.phase": fault.phase.value,
            "fault.processed": fault.processed.value,
            "fault.detail": fault.detail,
        }
        end_ns = outcome.start_wall_ns + int(outcome.duration_s * 1e9)
        return (Event("316_FAULT", attributes, end_ns),)


def _exporter(snapshot: Snapshot) -> Any:
    endpoint = snapshot.tracing.endpoint
    if snapshot.tracing.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import (  # noqa: PLC0415 - heavy
            trace_exporter as grpc_exporter,
        )

        return grpc_exporter.OTLPSpanExporter(endpoint=endpoint)
    from opentelemetry.exporter.otlp.proto.http import (  # noqa: PLC0415 - heavy
        trace_exporter as http_exporter,
    )

    return http_exporter.OTLPSpanExporter(endpoint=endpoint)


def _server_attributes(outcome: Outcome) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "http.request.method": outcome.method,
        "http.response.status_code": outcome.status,
        "url.path": outcome.path.decode("latin-1"),
        "server.address": outcome.authority.decode("latin-1"),
        "client.address": outcome.client,
        "sidecar.route": outcome.route,
    }
    if outcome.path_template:
        attributes["http.route"] = outcome.path_template
    if outcome.fault is not None:
        attributes["error.type"] = outcome.fault.spec.code
        attributes["sidecar.fault.id"] = outcome.fault.fault_id
    return attributes


def _attempt_attributes(outcome: Outcome, attempt: Attempt) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "http.request.method": outcome.method,
        "server.address": attempt.endpoint,
        "sidecar.upstream": outcome.upstream,
    }
    if attempt.n > 1:
        attributes["http.request.resend_count"] = attempt.n - 1
    if attempt.status:
        attributes["http.response.status_code"] = attempt.status
    if attempt.fault is not None:
        attributes["error.type"] = attempt.fault.code
    return attributes
