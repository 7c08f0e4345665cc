"""One thing to tell about one group, as it was at that moment."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.alerting.matching import Seen


class Kind(Enum):
    """Why it is told."""

    FIRING = "firing"
    WORSE = "worse"  # Than it was told before.
    REPEAT = "repeat"  # It goes on, long after it was told.
    RESOLVED = "resolved"
    FORGOTTEN = "forgotten"  # Its group has made room: nobody knows how it ends.
    TEST = "test"

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more is to come."""
        return self in (Kind.RESOLVED, Kind.FORGOTTEN)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is known of the group; no header, body or query of a client is in it."""

    kind: Kind
    group: str  # Its fingerprint.
    severity: str
    code: str
    title: str
    fix: str
    state: str
    detail: str = ""
    route: str = ""
    upstream: str = ""
    endpoint: str = ""
    count: int = 0
    rate_per_s: float = 0.0
    share_ratio: float = 0.0  # Of the route's requests, in the last minute.
    first_ns: int = 0
    last_ns: int = 0
    lasted_s: float = 0.0  # From the first failure of the episode.
    fault_id: str = ""  # Of an example.
    trace_id: str = ""
    rules: tuple[str, ...] = ()

    @property
    def rank(self) -> int:
        """Return its severity as a number: 0 is the worst."""
        return rank_of(self.severity)


def rank_of(severity: str) -> int:
    """Return 0 of "P0", 3 of "P3"."""
    return int(severity[1])


def notice_of(kind: Kind, seen: Seen, rules: tuple[str, ...]) -> Notice:
    """Return what is to be told of a group now."""
    group, now_s = seen.group, seen.now_s
    key, example = group.key, group.examples.tell()
    fault = None if example is None else example.outcome.fault
    trace_id = 0 if example is None else example.outcome.trace.trace_id
    recovery_s = group.recovery_s if kind is Kind.RESOLVED else None
    return Notice(
        kind=kind,
        group=group.id,
        severity=group.severity.name,
        code=key.code,
        title=group.spec.title,
        fix=group.spec.fix,
        state=seen.state.value,
        detail="" if fault is None else fault.detail,
        route=key.route,
        upstream=key.upstream,
        endpoint=key.endpoint,
        count=group.count,
        rate_per_s=round(seen.rate_per_s, 3),
        share_ratio=round(seen.share_ratio, 4),
        first_ns=group.first_ns,
        last_ns=group.last_ns,
        lasted_s=round(group.age_s(now_s) if recovery_s is None else recovery_s, 3),
        fault_id="" if example is None else example.id,
        trace_id=f"{trace_id:032x}" if trace_id else "",
        rules=rules,
    )
