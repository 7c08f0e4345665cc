"""What happened to the proxy and its upstreams, beside single failures.

Breakers move, endpoints are ejected, the configuration is reloaded, a drain begins:
whoever makes that happen says `recorder.event(kind, subject, detail)`. The last
thousand are kept; the last twenty of an upstream are told with each of its failures.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from sidecar.record.moments import iso_time

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT: Final = 1000
OF_UPSTREAM: Final = 20


@dataclass(slots=True)
class Event:
    """One of them."""

    wall_ns: int
    kind: str  # "breaker", "ejection", "reload", "drain", "start": one of few.
    subject: str  # A route, an endpoint, a file: what it happened to.
    detail: str
    upstream: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    seq: int = 0  # Counts up as they are kept.

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "seq": self.seq,
            "time": iso_time(self.wall_ns),
            "kind": self.kind,
            "subject": self.subject,
            "upstream": self.upstream,
            "detail": self.detail,
            **self.facts,
        }


class EventLog:
    """A ring of events."""

    def __init__(self, kept: int = KEPT) -> None:
        self._ring: deque[Event] = deque(maxlen=kept)
        self._seqs = count(1)
        # Replaced, never changed: a failure keeps the tuple of its moment.
        self._of_upstream: dict[str, tuple[Event, ...]] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._ring)

    def add(self, event: Event) -> None:
        """Keep an event; the oldest makes room."""
        event.seq = next(self._seqs)
        self._ring.append(event)
        if event.upstream:
            before = self._of_upstream.get(event.upstream, ())
            self._of_upstream[event.upstream] = (*before, event)[-OF_UPSTREAM:]

    def of_upstream(self, upstream: str) -> tuple[Event, ...]:
        """Return the last events of an upstream, the newest last."""
        return self._of_upstream.get(upstream, ())

    def newest(
        self,
        *,
        kind: str = "",
        upstream: str | None = None,
        since_ns: int = 0,
        before: int = 0,
    ) -> Iterator[Event]:
        """Yield events, the newest first.

        Args:
            kind: Only of this kind; empty: of any.
            upstream: Only of this upstream ("" is of none); None: of any.
            since_ns: None from before this time of day.
            before: Only with a smaller `seq`; 0: all.
        """
        for event in reversed(self._ring):
            if event.wall_ns < since_ns:
                continue
            if (before and event.seq >= before) or (kind and event.kind != kind):
                continue
            if upstream in (None, event.upstream):
                yield event

    def keep_upstreams(self, names: set[str]) -> None:
        """Forget the events of upstreams that are no more."""
        for name in self._of_upstream.keys() - names:
            del self._of_upstream[name]
