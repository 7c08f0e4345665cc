"""A failure, or a line of the own log, as an OpenTelemetry log record.

    body          title: detail
    severity      FATAL, ERROR, WARN, INFO, for P0 to P3
    trace, span   those of its request, whose span tells the same fault id
    attributes    the record, named as in the event of that span

Of an own line there are body and severity alone.

Imported with the first record, in the exporter's thread: the SDK is heavy.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord

from sidecar.record.feed.fault_feed import record_of
from sidecar.record.otlp.log_export import OwnLine
from sidecar.record.otlp.spans import fault_attributes, fault_names, resource_of, scope

if TYPE_CHECKING:
    from sidecar.model import TraceContext
    from sidecar.record.feed.failure import Failure

_NUMBERS: Final = {
    "P0": SeverityNumber.FATAL,
    "P1": SeverityNumber.ERROR,
    "P2": SeverityNumber.WARN,
    "P3": SeverityNumber.INFO,
}
_OF_LEVELS: Final = {
    logging.DEBUG: SeverityNumber.DEBUG,
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
    logging.CRITICAL: SeverityNumber.FATAL,
}


class LogMaker:
    """Makes the log records of one service.

    Args:
        service: Its name.
        is_traced: The span of every failure is exported, too.
    """

    def __init__(self, service: str, *, is_traced: bool) -> None:
        self._resource = resource_of(service)
        self._scope = scope()
        self._is_traced = is_traced

    def logs_of(self, told: Failure | OwnLine) -> list[ReadableLogRecord]:
        """Return the one log record of it."""
        log = _own(told) if isinstance(told, OwnLine) else self._failure(told)
        return [ReadableLogRecord(log, self._resource, self._scope)]

    def _failure(self, failure: Failure) -> LogRecord:
        record = record_of(failure)
        name = record.pop("event")
        return LogRecord(
            timestamp=failure.ended_ns,
            observed_timestamp=failure.ended_ns,
            context=self._context(failure.outcome.trace),
            severity_text=record["severity"],
            severity_number=_NUMBERS[record["severity"]],
            body=f"{record['title']}: {record['detail']}",
            attributes=fault_names(failure) | fault_attributes(record),
            event_name=name,
        )

    def _context(self, of: TraceContext) -> Context:
        """Return the span of the request; that of none, where there was no request."""
        is_sampled = of.trace_id and (of.sampled or self._is_traced)
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if is_sampled else 0)
        told = trace.SpanContext(of.trace_id, of.span_id, False, flags)
        return trace.set_span_in_context(trace.NonRecordingSpan(told), Context())


def _own(line: OwnLine) -> LogRecord:
    return LogRecord(
        timestamp=line.wall_ns,
        observed_timestamp=line.wall_ns,
        context=Context(),
        severity_text=logging.getLevelName(line.level),
        severity_number=_OF_LEVELS.get(line.level, SeverityNumber.UNSPECIFIED),
        body=line.text,
    )
