"""The record of a failure, and the last thousand of them.

One failure is one record: the log line, the span event and the feed all show
what `record_of` returns. It is made when somebody reads it; what is kept at the
time of the failure is its outcome and the state of the process.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

from sidecar.record.context import build
from sidecar.record.moments import iso_time, milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.model import Attempt, Outcome
    from sidecar.record.feed.failure import Failure

KEPT = 1000


class FaultFeed:
    """A ring of the last failures.

    Attributes:
        last_seq: Of the latest one; a store that outlives the process sets it.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[Failure] = deque(maxlen=kept)
        self.last_seq = 0

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._ring)

    def __iter__(self) -> Iterator[Failure]:
        """Yield them, the newest first."""
        return reversed(self._ring)

    def add(self, failure: Failure) -> None:
        """Keep a failure; the oldest one makes room."""
        self.last_seq += 1
        failure.seq = self.last_seq
        self._ring.append(failure)

    def newest(
        self, limit: int = KEPT, *, code: str = "", route: str | None = None
    ) -> list[dict[str, Any]]:
        """Return records, the newest first.

        Args:
            limit: How many at most.
            code: Only of this 316 code; empty: of any.
            route: Only of this route ("" is that of no route); None: of any.
        """
        found = self._matching(code, route)
        return [record_of(failure) for failure in islice(found, limit)]

    def after(self, seq: int) -> list[Failure]:
        """Return those that were kept later than `seq`, the oldest first."""
        found = []
        for failure in reversed(self._ring):
            if failure.seq <= seq:
                break
            found.append(failure)
        return found[::-1]

    def find(self, fault_id: str) -> dict[str, Any] | None:
        """Return the record with that id, while it is kept."""
        failure = self.failure(fault_id)
        return None if failure is None else record_of(failure)

    def failure(self, fault_id: str) -> Failure | None:
        """Return the failure with that id, while it is kept."""
        return next((one for one in self if one.id == fault_id), None)

    def _matching(self, code: str, route: str | None) -> Iterator[Failure]:
        for failure in reversed(self._ring):
            fault = failure.outcome.fault
            if code and (fault is None or fault.spec.code != code):
                continue
            if route is None or failure.outcome.route == route:
                yield failure


def record_of(failure: Failure) -> dict[str, Any]:
    """Return the whole record. It holds no header value, no body and no query."""
    outcome, fault = failure.outcome, failure.outcome.fault
    assert fault is not None  # noqa: S101 - for the type checker
    spec = fault.spec
    return {
        "event": "316_FAULT",
        "fault_id": fault.fault_id,
        "time": iso_time(failure.ended_ns),
        "code": spec.code,
        "title": spec.title,
        "severity": failure.severity.name,
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
        "group": failure.group,
        "method": outcome.method,
        "path_template": outcome.path_template,
        "status": outcome.status,
        "duration_ms": milliseconds(outcome.duration_s),
        "attempts": [_attempt(attempt, outcome) for attempt in outcome.attempts],
        "retry_skipped_reason": outcome.retry_skipped,
        "timeout_kind": "" if fault.timeout is None else fault.timeout.value,
        "trace_id": _hex(outcome.trace.trace_id, 32),
        "span_id": _hex(outcome.trace.span_id, 16),
        "request_id": outcome.request_id,
        **headers_of(outcome),
        **({"stack": list(fault.stack)} if fault.stack else {}),
        **failure.facts,
        **(failure.more or {}),
    }


def full_record_of(failure: Failure) -> dict[str, Any]:
    """Return the record with what is told of one failure alone.

    The last events of its upstream, and what this program is made of.
    """
    return {
        **record_of(failure),
        "events": [event.as_record() for event in failure.events],
        "build": build(),
    }


def headers_of(outcome: Outcome) -> dict[str, dict[str, str]]:
    """Return the request fields that may be told, if there are any."""
    return {"headers": dict(outcome.headers)} if outcome.headers else {}


def fault_id(wall_ns: int, chance: int) -> str:
    """Return an id that sorts by time and is unlikely to come twice.

    Args:
        wall_ns: The time of day.
        chance: 32 random bits.
    """
    return f"{wall_ns // 1_000_000:012x}{chance:08x}"


def _hex(number: int, digits: int) -> str:
    """Return an id; empty where there is none, as for a failure of no request."""
    return f"{number:0{digits}x}" if number else ""


def _attempt(attempt: Attempt, outcome: Outcome) -> dict[str, Any]:
    told = {
        "n": attempt.n,
        "endpoint": attempt.endpoint,
        "code": "" if attempt.fault is None else attempt.fault.code,
        "status": attempt.status,
        "phase": attempt.phase.value,
        "processed": attempt.processed.value,
        "at_ms": milliseconds(attempt.start_s - outcome.start_s),
        "ms": milliseconds(attempt.duration_s),
        "reused": attempt.is_reused,
    }
    if attempt.connection_served:
        told["connection_age_ms"] = milliseconds(attempt.connection_age_s)
        told["connection_served"] = attempt.connection_served
    return told
