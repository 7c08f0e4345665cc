"""The last failures, in full."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.model import Attempt, Outcome

_KEPT = 1000


class FaultFeed:
    """A ring of records; what a record costs is paid when it is read."""

    def __init__(self, facts: Callable[[], dict[str, Any]]) -> None:
        self._facts = facts
        self._ring: deque[tuple[Outcome, dict[str, Any]]] = deque(maxlen=_KEPT)

    def add(self, outcome: Outcome) -> None:
        """Keep a request that failed, with the state of the process at the time."""
        self._ring.append((outcome, self._facts()))

    def newest(self) -> list[dict[str, Any]]:
        """Return the records, the newest first."""
        return [record_of(*entry) for entry in reversed(self._ring)]


def record_of(outcome: Outcome, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the record of a failure: the same in log, span and feed.

    It holds no header value, no body and no query.
    """
    fault = outcome.fault
    assert fault is not None  # noqa: S101 - for the type checker
    spec = fault.spec
    return {
        "event": "316_FAULT",
        "fault_id": fault.fault_id,
        "time": iso_time(outcome.start_wall_ns),
        "code": spec.code,
        "severity": spec.severity.name,
        "layer": spec.layer.value,
        "trigger": spec.trigger.value,
        "fix": spec.fix,
        "detail": fault.detail,
        "origin": fault.origin.value,
        "phase": fault.phase.value,
        "processed": fault.processed.value,
        "listener": outcome.listener,
        "route": outcome.route,
        "upstream": outcome.upstream,
        "endpoint": outcome.attempts[-1].endpoint if outcome.attempts else "",
        "method": outcome.method,
        "path_template": outcome.path_template,
        "status": outcome.status,
        "duration_ms": round(outcome.duration_s * 1000, 3),
        "attempts": [_attempt(attempt) for attempt in outcome.attempts],
        "retry_skipped_reason": outcome.retry_skipped,
        "timeout_kind": "" if fault.timeout is None else fault.timeout.value,
        "trace_id": f"{outcome.trace.trace_id:032x}",
        "span_id": f"{outcome.trace.span_id:016x}",
        "request_id": outcome.request_id,
        **facts,
    }


def iso_time(wall_ns: int) -> str:
    """Return RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(wall_ns / 1e9, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "n": attempt.n,
        "endpoint": attempt.endpoint,
        "code": "" if attempt.fault is None else attempt.fault.code,
        "status": attempt.status,
        "phase": attempt.phase.value,
        "processed": attempt.processed.value,
        "ms": round(attempt.duration_s * 1000, 3),
        "reused": attempt.is_reused,
    }
