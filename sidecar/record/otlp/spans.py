"""An outcome as OpenTelemetry spans: one for the request, one for each attempt.

    SERVER  GET /orders/*          parent: the caller's span
      CLIENT  GET   (attempt 1)    the ids that went upstream in `traceparent`
      CLIENT  GET   (attempt 2)    http.request.resend_count = 1

Imported with the first span, in the exporter's thread: the SDK is heavy. Names
of attributes are those of the HTTP semantic conventions, 1.23. `url.full` of an
attempt is left out: it could hold a query, and what was rewritten is not known.
"""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceState

import sidecar
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.fault_feed import record_of
from sidecar.record.metrics.store import METHODS

if TYPE_CHECKING:
    from sidecar.model import Attempt, Outcome

_SERVER_ERROR = 500
_CLIENT_ERROR = 400
# Failures go out though nobody sampled them, so every span that leaves is marked.
_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)
_OK = Status(StatusCode.UNSET)
_ERROR = Status(StatusCode.ERROR)


class SpanMaker:
    """Makes the spans of one service."""

    def __init__(self, service: str) -> None:
        self._resource = resource_of(service)
        self._scope = scope()

    def spans_of(self, told: Outcome | Failure) -> list[ReadableSpan]:
        """Return the spans of a request, that of the request first."""
        failure = told if isinstance(told, Failure) else None
        outcome = told.outcome if isinstance(told, Failure) else told
        return [
            self._server(outcome, failure),
            *(self._client(outcome, each, failure) for each in outcome.attempts),
        ]

    def _server(self, outcome: Outcome, failure: Failure | None) -> ReadableSpan:
        context = outcome.trace
        parent = None
        if context.parent_id:
            parent = _context(outcome, context.parent_id, is_remote=True)
        end_ns = outcome.start_wall_ns + int(outcome.duration_s * 1e9)
        return ReadableSpan(
            name=f"{_name_of(outcome.method)} {outcome.path_template}".rstrip(),
            context=_context(outcome, context.span_id),
            parent=parent,
            resource=self._resource,
            attributes=_server_attributes(outcome, failure),
            events=() if failure is None else (_event(failure, end_ns),),
            kind=SpanKind.SERVER,
            status=_ERROR if _is_error(outcome) else _OK,
            start_time=outcome.start_wall_ns,
            end_time=end_ns,
            instrumentation_scope=self._scope,
        )

    def _client(
        self, outcome: Outcome, attempt: Attempt, failure: Failure | None
    ) -> ReadableSpan:
        after_ns = int((attempt.start_s - outcome.start_s) * 1e9)
        start_ns = outcome.start_wall_ns + after_ns
        is_error = attempt.fault is not None or attempt.status >= _CLIENT_ERROR
        return ReadableSpan(
            name=_name_of(outcome.method),
            context=_context(outcome, attempt.span_id),
            parent=_context(outcome, outcome.trace.span_id),
            resource=self._resource,
            attributes=_client_attributes(outcome, attempt, failure),
            kind=SpanKind.CLIENT,
            status=_ERROR if is_error else _OK,
            start_time=start_ns,
            end_time=start_ns + int(attempt.duration_s * 1e9),
            instrumentation_scope=self._scope,
        )


def resource_of(service: str) -> Resource:
    """Return what tells: this service, here."""
    return Resource.create({"service.name": service, "host.name": platform.node()})


def scope() -> InstrumentationScope:
    """Return which program of it tells."""
    return InstrumentationScope("sidecar", sidecar.__version__)


def fault_names(failure: Failure) -> dict[str, str]:
    """Return what finds a failure: the same on its spans and its log record."""
    fault = failure.outcome.fault
    assert fault is not None  # noqa: S101 - for the type checker
    return {
        "sidecar.fault.id": fault.fault_id,
        "sidecar.fault.code": fault.spec.code,
        "sidecar.fault.group": failure.group,
        "sidecar.fault.severity": failure.severity.name,
    }


def fault_attributes(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as attributes; what is not plain goes as JSON."""
    return {f"fault.{key}": _plain(value) for key, value in record.items()}


def _context(outcome: Outcome, span_id: int, *, is_remote: bool = False) -> SpanContext:
    state = outcome.trace.state
    members = TraceState.from_header([state.decode("latin-1")]) if state else None
    return SpanContext(outcome.trace.trace_id, span_id, is_remote, _SAMPLED, members)


def _is_error(outcome: Outcome) -> bool:
    """Tell whether the server is to blame: a 4xx is the client's doing."""
    if outcome.status >= _SERVER_ERROR:
        return True
    return outcome.fault is not None and outcome.status < _CLIENT_ERROR


def _name_of(method: str) -> str:
    """Return the method for a span's name, which must have few values."""
    return method if method in METHODS else "HTTP"


def _method(outcome: Outcome) -> dict[str, Any]:
    if outcome.method in METHODS:
        return {"http.request.method": outcome.method}
    return {
        "http.request.method": "_OTHER",
        "http.request.method_original": outcome.method,
    }


def _server_attributes(outcome: Outcome, failure: Failure | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        **_method(outcome),
        **_address("server", outcome.authority.decode("latin-1")),
        "http.response.status_code": outcome.status,
        "http.request.body.size": outcome.request_bytes,
        "http.response.body.size": outcome.response_bytes,
        "url.path": outcome.path.decode("latin-1"),
        "url.scheme": "http",
        "client.address": outcome.client,
        "sidecar.listener": outcome.listener,
        "sidecar.route": outcome.route,
        "sidecar.upstream": outcome.upstream,
    }
    if outcome.path_template:
        attributes["http.route"] = outcome.path_template
    if outcome.request_id:
        attributes["sidecar.request_id"] = outcome.request_id
    if outcome.fault is not None:
        attributes["error.type"] = outcome.fault.spec.code
    return attributes if failure is None else attributes | fault_names(failure)


def _client_attributes(
    outcome: Outcome, attempt: Attempt, failure: Failure | None
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        **_method(outcome),
        **_address("server", attempt.endpoint),
        "sidecar.upstream": outcome.upstream,
        "sidecar.connection.reused": attempt.is_reused,
        "sidecar.attempt.phase": attempt.phase.value,
    }
    if attempt.n > 1:
        attributes["http.request.resend_count"] = attempt.n - 1
    if attempt.status:
        attributes["http.response.status_code"] = attempt.status
    if attempt.fault is not None:
        attributes["error.type"] = attempt.fault.code
        # The attempt failed as its code says; the fault is that of the request.
        attributes |= {} if failure is None else fault_names(failure)
    elif attempt.status >= _CLIENT_ERROR:
        attributes["error.type"] = str(attempt.status)
    return attributes


def _address(side: str, text: str) -> dict[str, Any]:
    """Return host and port as attributes; the port only if there is one."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or text.endswith("]"):
        host, port = text, ""
    attributes: dict[str, Any] = {}
    if host:
        attributes[f"{side}.address"] = host.strip("[]")
    if port:
        attributes[f"{side}.port"] = int(port)
    return attributes


def _event(failure: Failure, end_ns: int) -> Event:
    """Return the record of a failure."""
    record = record_of(failure)
    name = record.pop("event")
    return Event(name, fault_attributes(record), end_ns)


def _plain(value: Any) -> str | bool | int | float:
    if isinstance(value, str | bool | int | float):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
