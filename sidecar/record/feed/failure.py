"""A request that failed, and how things stood at that moment.

One is made for each failure, in a storm 10,000 times a second: a plain class, which
mypyc makes cheap. What is told of it is made when somebody reads it: `fault_feed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sidecar.faults.spec import Severity
    from sidecar.model import Outcome
    from sidecar.record.feed.events import Event


class Failure:
    """What is kept at the time of a failure.

    Attributes:
        outcome: Of the request, with its fault.
        severity: Of the entry of the catalogue, or one level up in a storm.
        facts: Of host and process; shared, never changed.
        more: Facts of this one alone.
        group: The fingerprint of those that are like it.
        events: The last of its upstream, up to then.
        seq: Counts up as failures are kept; 0: this one was not.
    """

    __slots__ = ("events", "facts", "group", "more", "outcome", "seq", "severity")

    def __init__(
        self,
        outcome: Outcome,
        severity: Severity,
        facts: dict[str, Any],
        group: str = "",
        events: tuple[Event, ...] = (),
    ) -> None:
        self.outcome = outcome
        self.severity = severity
        self.facts = facts
        self.group = group
        self.events = events
        self.more: dict[str, Any] | None = None
        self.seq = 0

    def __repr__(self) -> str:
        """Return what it is in a line."""
        return f"<Failure {self.id} group={self.group} seq={self.seq}>"

    @property
    def id(self) -> str:
        """Return the id of its fault."""
        fault = self.outcome.fault
        return "" if fault is None else fault.fault_id

    @property
    def ended_ns(self) -> int:
        """Return the time of day when it was over."""
        return self.outcome.start_wall_ns + int(self.outcome.duration_s * 1e9)
