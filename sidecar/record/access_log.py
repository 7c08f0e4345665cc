"""Which requests get a line, and what is in it: one JSON object a line.

A line holds no query, no body, and of header values only those of the fields that
the configuration allows by name (`faults.headers`). The line of a failure is its
whole record (`fault_feed.record_of`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.model import Outcome
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.fault_feed import headers_of, record_of
from sidecar.record.moments import iso_time, milliseconds

if TYPE_CHECKING:
    from sidecar.settings.snapshot import AccessLog


@dataclass(slots=True)
class Transition:
    """A breaker moved."""

    wall_ns: int
    route: str
    upstream: str
    before: str
    after: str
    cause: str


@dataclass(slots=True)
class EndpointMove:
    """An endpoint was ejected or avoided, or came back."""

    wall_ns: int
    upstream: str
    endpoint: str
    before: str
    after: str
    reason: str
    cause: str


@dataclass(slots=True)
class LeftOut:
    """So many failures of a second have no line of their own."""

    wall_ns: int
    count: int


Loggable = Outcome | Failure | Transition | EndpointMove | LeftOut


def success_ratio(settings: AccessLog) -> float:
    """Return the share of the requests without a fault that get a line."""
    return {"all": 1.0, "sampled": settings.sample_ratio}.get(settings.mode, 0.0)


def line_of(item: Loggable) -> str:
    """Return the line, without its end."""
    if isinstance(item, Outcome):
        members = _request(item)
    elif isinstance(item, Failure):
        members = record_of(item) | _where(item.outcome)
    elif isinstance(item, Transition):
        members = _transition(item)
    elif isinstance(item, LeftOut):
        members = _left_out(item)
    else:
        members = _move(item)
    # ASCII: some readers take U+0085 and U+2028 for the end of a line.
    return json.dumps(members, separators=(",", ":"), default=str)


def _request(outcome: Outcome) -> dict[str, Any]:
    return {
        "event": "request",
        "time": iso_time(outcome.start_wall_ns),
        "listener": outcome.listener,
        "route": outcome.route,
        "upstream": outcome.upstream,
        "endpoint": outcome.attempts[-1].endpoint if outcome.attempts else "",
        "method": outcome.method,
        "status": outcome.status,
        "duration_ms": milliseconds(outcome.duration_s),
        "attempts": len(outcome.attempts),
        "trace_id": f"{outcome.trace.trace_id:032x}",
        "request_id": outcome.request_id,
        **headers_of(outcome),
        **_where(outcome),
    }


def _where(outcome: Outcome) -> dict[str, Any]:
    """Return what the log alone tells: it is for one request, not for a kind."""
    return {
        "path": outcome.path.decode("latin-1"),
        "authority": outcome.authority.decode("latin-1"),
        "client": outcome.client,
        "request_bytes": outcome.request_bytes,
        "response_bytes": outcome.response_bytes,
        "upgraded": outcome.is_upgraded,
    }


def _transition(move: Transition) -> dict[str, Any]:
    return {
        "event": "breaker",
        "time": iso_time(move.wall_ns),
        "route": move.route,
        "upstream": move.upstream,
        "from": move.before,
        "to": move.after,
        "cause": move.cause,
    }


def _left_out(rest: LeftOut) -> dict[str, Any]:
    return {
        "event": "316_FAULTS_LEFT_OUT",
        "time": iso_time(rest.wall_ns),
        "count": rest.count,
    }


def _move(move: EndpointMove) -> dict[str, Any]:
    return {
        "event": "endpoint",
        "time": iso_time(move.wall_ns),
        "upstream": move.upstream,
        "endpoint": move.endpoint,
        "from": move.before,
        "to": move.after,
        "reason": move.reason,
        "cause": move.cause,
    }
