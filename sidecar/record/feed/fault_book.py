"""All that is kept of failures and events, in one place.

    failed --> groups        counted, exactly
           --> sample        is this one kept whole?
           --> feed          the last thousand that are
           --> on_kept       the log line, the span
           --> store         all of them on disk, where that is wanted
           --> hub           those who listen
           --> logs          a collector, by OTLP, where that is wanted

Called on the event loop by the recorder, for failures and events alone.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from sidecar.record.feed.alert_counts import AlertCounts
from sidecar.record.feed.events import EventLog
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.fault_feed import FaultFeed
from sidecar.record.feed.fault_hub import FaultHub
from sidecar.record.feed.groups import FaultGroups
from sidecar.record.feed.sampling import StormSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.faults.spec import Severity
    from sidecar.model import Fault, Outcome
    from sidecar.record.context import Context
    from sidecar.record.feed.events import Event
    from sidecar.record.feed.fault_store import FaultStore
    from sidecar.record.otlp.log_export import LogShipper


class FaultBook:
    """Failures, their groups, and events.

    Args:
        context: Tells how things stand.
        requests_by_route: Tells how many requests of each route have ended.

    Attributes:
        on_kept: Called with each failure that is kept whole, at once, or at the end
            of its second.
        store: Where records are kept on disk; None: nowhere.
        store_problem: Why there is none though one was asked for.
        logs: Sends records by OTLP; None: nobody wants them.
    """

    def __init__(
        self, context: Context, requests_by_route: Callable[[], dict[str, int]]
    ) -> None:
        rng = random.Random()  # noqa: S311 - for samples, no secret
        self._context = context
        self._rng = rng
        self.feed = FaultFeed()
        self.groups = FaultGroups(requests_by_route)
        self.events = EventLog()
        self.hub = FaultHub()
        self.alerts = AlertCounts()
        self.sample: StormSample[Failure] = StormSample(rng)
        self._look_s = float("-inf")
        self.on_kept: list[Callable[[Failure], None]] = []
        self.store: FaultStore | None = None
        self.store_problem = ""
        self.logs: LogShipper | None = None

    def use_store(self, store: FaultStore) -> None:
        """Keep records there, too, and number on from the last one in it."""
        self.store = store
        self.feed.last_seq = max(self.feed.last_seq, store.last_seq)
        self._context.folder = store.folder

    def failed(
        self,
        outcome: Outcome,
        fault: Fault,
        severity: Severity,
        now_s: float,
        more: dict[str, Any] | None = None,
    ) -> Failure:
        """Keep a failure, or count it; return it.

        Args:
            outcome: Of the request, with its fault.
            fault: The same fault.
            severity: As it is now.
            now_s: On the steady clock.
            more: Further facts, of one of which the first in a second is always kept.
        """
        if now_s >= self._look_s:
            self.look(now_s)
        group = self.groups.add(outcome, fault, severity, now_s)
        latest = group.examples.last
        is_kept = self.sample.takes(group, is_wanted=more is not None)
        if is_kept:
            facts = self._context.of(outcome)
        elif latest is not None and self.sample.has(group):
            facts = latest.facts  # Of the same second.
        else:  # There are more groups than are kept in a second.
            facts = self._context.process()
        events = self.events.of_upstream(outcome.upstream)
        failure = Failure(outcome, severity, facts, group.id, events)
        failure.more = more
        group.examples.offer(failure, self._rng)
        if is_kept:
            group.examples.kept = failure
            self._keep(failure)
        else:
            self.sample.offer(failure)
        return failure

    def alike(
        self,
        outcome: Outcome,
        fault: Fault,
        severity: Severity,
        now_s: float,
        *,
        count: int,
    ) -> None:
        """Count failures that are like this one, of which nothing else is told."""
        self.groups.add(outcome, fault, severity, now_s, count)
        self.sample.left_out += count

    def happened(self, event: Event) -> None:
        """Keep an event, and tell of it."""
        self.events.add(event)
        if self.hub.listeners:
            self.hub.publish(event)

    def look(self, now_s: float) -> None:
        """Keep the sample of a second that is over; called as time goes by."""
        self._look_s = int(now_s) + 1.0
        for failure in self.sample.turn(now_s):
            self._keep(failure)
        self.groups.look(now_s)

    def find(self, fault_id: str) -> Failure | None:
        """Return a failure that is in memory, be it only as an example."""
        found = self.feed.failure(fault_id)
        if found is not None:
            return found
        return next((f for f in self._beside() if f.id == fault_id), None)

    def close(self, timeout_s: float) -> None:
        """Keep what is left; give up after `timeout_s`. No loop is needed."""
        for failure in self.sample.turn(-1.0):
            self._keep(failure)
        if self.store is not None:
            self.store.close(timeout_s)

    def _beside(self) -> Iterator[Failure]:
        yield from self.sample.pending
        for group in self.groups:
            yield from group.examples

    def _keep(self, failure: Failure) -> None:
        self.feed.add(failure)
        for tell in self.on_kept:
            tell(failure)
        if self.store is not None:
            self.store.put(failure)
        if self.logs is not None:
            self.logs.record(failure)
        if self.hub.listeners:
            self.hub.publish(failure)
