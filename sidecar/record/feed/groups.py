"""All groups of failures, and which one a failure belongs to.

    add        find the group, or begin one       each failure: its cost is a storm's
    succeeded  of a route: what failed may be over
    look       tell what is over                  each second, and each failure
                                                  after some quiet

The table is bounded. The group that is over, and was so for longest, makes room for
a new one; if none is over, the one that was seen longest ago. What goes is counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from sidecar.record.feed.group import MINUTE, SLICE_S, Group, Key, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sidecar.faults.spec import Severity
    from sidecar.model import Fault, Outcome

MAX_GROUPS: Final = 500
_UNEXPECTED: Final = "316-OP-FAIL"


def _cause(outcome: Outcome, fault: Fault) -> str:
    code = fault.spec.code
    if code == _UNEXPECTED:
        return fault.detail  # Type and place of an exception: words of ours.
    for attempt in outcome.attempts:
        met = attempt.fault
        if met is not None and met.code != code:
            return met.code
    if fault.timeout is not None:
        return fault.timeout.value
    return str(outcome.status) if outcome.status else ""


class FaultGroups:
    """All groups.

    Args:
        requests_by_route: Tells how many requests of each route have ended.
        quiet_s: How long one must have been without a failure to be over.
        most: How many groups at once.

    Attributes:
        evicted: Groups that made room.
        evicted_faults: And how many failures they had counted.
        anywhere: Upstreams that are wherever a connection was meant to go.
        on_recovered: Called with each group that is over, once.
    """

    def __init__(
        self,
        requests_by_route: Callable[[], dict[str, int]],
        quiet_s: float = 60.0,
        most: int = MAX_GROUPS,
    ) -> None:
        self._requests_by_route = requests_by_route
        self._quiet_s = quiet_s
        self._most = most
        # Latest seen last, but for those that were seen since they were put there.
        # A plain tuple finds what its Key is under, and is cheaper.
        self._groups: OrderedDict[tuple[str, ...], Group] = OrderedDict()
        self._waiting: dict[str, list[Group]] = {}  # For a success, by route.
        self._on: dict[str, Group] = {}  # Those that were not over yet, by id.
        self.anywhere: frozenset[str] = frozenset()
        self.on_recovered: Callable[[Group], None] | None = None
        # By slice: the requests of each route up to then.
        self._traffic: deque[tuple[int, dict[str, int]]] = deque(maxlen=MINUTE + 1)
        self.evicted = 0
        self.evicted_faults = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._groups)

    def use(self, quiet_s: float) -> None:
        """Take groups for over after another time without a failure.

        Those that were taken for over are it still, until they fail again.
        """
        self._quiet_s = quiet_s
        for group in self._on.values():
            group.quiet_s = quiet_s

    def __iter__(self) -> Iterator[Group]:
        """Yield them, the latest seen first."""
        return iter(
            sorted(self._groups.values(), key=lambda each: each.last_s, reverse=True)
        )

    def find(self, fingerprint: str) -> Group | None:
        """Return the group with that fingerprint."""
        found = (one for one in self._groups.values() if one.id == fingerprint)
        return next(found, None)

    def add(
        self,
        outcome: Outcome,
        fault: Fault,
        severity: Severity,
        now_s: float,
        count: int = 1,
    ) -> Group:
        """Count failures that are like this one; return their group.

        Args:
            outcome: Of one of them.
            fault: What it met.
            severity: Of it, now.
            now_s: Now.
            count: How many there are.
        """
        endpoint, attempts = "", outcome.attempts
        # An address that the application chose would make groups without end.
        if attempts and not (self.anywhere and outcome.upstream in self.anywhere):
            endpoint = attempts[-1].endpoint
        key = (
            fault.spec.code,
            outcome.route,
            outcome.upstream,
            endpoint,
            fault.phase._value_,  # As `value`, which costs 0.1 us in Python 3.11.
            _cause(outcome, fault),
        )
        wall_ns = outcome.start_wall_ns + int(outcome.duration_s * 1e9)
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) >= self._most:
                self._make_room(now_s)
            group = Group(
                Key(*key), fault.spec, severity, now_s, wall_ns, quiet_s=self._quiet_s
            )
            self._groups[key] = group
            self._on[group.id] = group
        elif group.is_told_over or now_s - group.last_s >= group.quiet_s:
            self._tell_if_over(group, now_s)  # Before it begins anew.
            group.is_told_over = False
            self._on[group.id] = group
        group.add(severity, now_s, wall_ns, count)
        group.quiet_s = self._quiet_s  # Of its next end; the last was by the former.
        if not group.awaits_success:
            group.awaits_success = True
            self._waiting.setdefault(outcome.route, []).append(group)
        return group

    def succeeded(self, route: str, now_s: float) -> None:
        """A request of a route went well; told of the first one after a failure."""
        for group in self._waiting.pop(route, ()):
            group.awaits_success = False
            group.succeeded(now_s)

    def traffic(self) -> dict[str, int]:
        """Return how many requests of each route have ended; once for many groups."""
        return self._requests_by_route()

    def share_of_traffic(
        self, group: Group, now_s: float, traffic: dict[str, int]
    ) -> float:
        """Return which part of its route's requests met it in the last minute."""
        route = group.key.route
        if not route:
            return 0.0
        minute_ago = int(now_s / SLICE_S) - MINUTE
        before = 0
        for number, requests in self._traffic:
            if number <= minute_ago:
                before = requests.get(route, 0)
        seen = traffic.get(route, 0) - before
        return min(1.0, group.last_minute(now_s) / seen) if seen > 0 else 0.0

    def look(self, now_s: float) -> None:
        """Tell what is over, and remember the requests of each route, once a slice."""
        for group in list(self._on.values()):
            self._tell_if_over(group, now_s)
        now = int(now_s / SLICE_S)
        if not self._traffic or self._traffic[-1][0] != now:
            self._traffic.append((now, self._requests_by_route()))

    def _tell_if_over(self, group: Group, now_s: float) -> None:
        if group.id in self._on and group.state_at(now_s) is State.RECOVERED:
            del self._on[group.id]
            group.is_told_over = True
            if self.on_recovered is not None:
                self.on_recovered(group)

    def _make_room(self, now_s: float) -> None:
        gone = next(iter(self._groups.values()))
        # Moved here, and not with each failure: that would be too dear in a storm.
        while gone.last_s > gone.ordered_s:
            self._groups.move_to_end(gone.key)
            gone.ordered_s = max(now_s, gone.last_s)
            gone = next(iter(self._groups.values()))
        for group in self._groups.values():
            if now_s - group.ordered_s < self._quiet_s:
                break  # Those that follow were seen later still.
            if group.state_at(now_s) is State.RECOVERED:
                gone = group
                break
        del self._groups[gone.key]
        self._on.pop(gone.id, None)
        self.evicted += 1
        self.evicted_faults += gone.count
        waiting = self._waiting.get(gone.key.route)
        if waiting is not None and gone in waiting:
            waiting.remove(gone)
            if not waiting:
                del self._waiting[gone.key.route]
