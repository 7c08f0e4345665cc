"""Failures that are alike, gathered: how many, how often, and whether it is over.

    NEW --a minute--> ONGOING --a success, then some time of quiet--> RECOVERED
                         ^--(the same)-- REGRESSED <--the next failure---'

Counts are exact, whatever is kept of single failures. Nothing here looks at the
clock, and nothing ends by itself: what a group is, is worked out when it is read. Who
wants to hear of a recovery is told at the next look.

The table is bounded. The group that is over, and was so for longest, makes room for
a new one; if none is over, the one that was seen longest ago. What goes is counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.record.sampling import Examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from sidecar.faults.spec import FaultSpec, Severity
    from sidecar.model import Fault, Outcome
    from sidecar.record.fault_feed import Failure

MAX_GROUPS: Final = 500
SLICE_S: Final = 10.0
_MINUTE: Final = 6  # Slices.
_KEPT: Final = 2 * _MINUTE  # The minute before tells the trend.
NEW_S: Final = 60.0
_CHANGE: Final = 1.25  # Times as many as in the minute before: a trend.
_UNEXPECTED: Final = "316-OP-FAIL"


class Key(NamedTuple):
    """What failures of one group share: no value in it is a client's to choose."""

    code: str
    route: str
    upstream: str
    endpoint: str
    phase: str
    cause: str  # The first code among the attempts, a limit of time, or a status.

    @property
    def fingerprint(self) -> str:
        """Return a name that is the same in every sidecar, and after a restart."""
        return blake2b("\x1f".join(self).encode(), digest_size=8).hexdigest()


class State(Enum):
    """Where a group stands."""

    NEW = "new"
    ONGOING = "ongoing"
    RECOVERED = "recovered"
    REGRESSED = "regressed"


class Trend(Enum):
    """The last minute beside the one before."""

    RISING = "rising"
    STEADY = "steady"
    FALLING = "falling"


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


class Group:
    """Failures that share a key.

    Attributes:
        key: What they share.
        id: Its fingerprint.
        spec: The entry of the catalogue, of the latest one.
        severity: Of the latest one: a lasting storm counts one level up.
        count: How many there were, exactly.
        first_ns: Time of day of the first one, and `last_ns` of the latest.
        last_s: When the latest one was, on the steady clock.
        quiet_s: So long without a failure, and it may be over.
        examples: A few of them.
    """

    __slots__ = (
        "_began_s", "_slice", "_slices", "_succeeded_s", "_turns_s", "_was_over",
        "awaits_success", "count", "examples", "first_ns", "first_s", "id", "key",
        "last_ns", "last_s", "quiet_s", "recoveries_s", "regressions", "severity",
        "spec",
    )  # fmt: skip

    def __init__(
        self,
        key: Key,
        spec: FaultSpec,
        severity: Severity,
        now_s: float,
        wall_ns: int,
        *,
        quiet_s: float,
    ) -> None:
        self.key = key
        self.quiet_s = quiet_s
        self.id = key.fingerprint
        self.spec = spec
        self.severity = severity
        self.count = 0
        self.first_ns = self.last_ns = wall_ns
        self.first_s = self.last_s = self._began_s = now_s
        self.regressions = 0
        self.recoveries_s: deque[float] = deque(maxlen=_KEPT)  # Of former episodes.
        self.awaits_success = False
        self.examples: Examples[Failure] = Examples()
        self._succeeded_s: float | None = None  # The first one since `last_s`.
        self._was_over = False  # Before the present episode.
        self._slice = int(now_s / SLICE_S)
        self._turns_s = (self._slice + 1) * SLICE_S
        self._slices: deque[int] = deque([0] * _KEPT, _KEPT)  # The last: the present.

    def __repr__(self) -> str:
        """Return what it is in a line."""
        return f"<Group {self.id} {self.key.code} count={self.count}>"

    def add(self, severity: Severity, now_s: float, wall_ns: int, count: int) -> None:
        """Count failures."""
        is_quiet = now_s - self.last_s >= self.quiet_s
        if is_quiet and self.count and self._may_be_over:
            self.recoveries_s.append(self.recovery_s or 0.0)
            self.regressions += 1
            self._began_s, self._was_over = now_s, True
        if now_s >= self._turns_s:
            self._turn(now_s)
        self._slices[-1] += count
        self.count += count
        self.severity = severity
        self._succeeded_s = None
        self.last_s, self.last_ns = now_s, wall_ns

    def succeeded(self, now_s: float) -> None:
        """Its route has answered, for the first time since."""
        if self._succeeded_s is None:
            self._succeeded_s = now_s

    def state_at(self, now_s: float) -> State:
        """Return where it stands."""
        if now_s - self.last_s >= self.quiet_s and self._may_be_over:
            return State.RECOVERED
        if self._was_over:
            return State.REGRESSED
        return State.NEW if now_s - self._began_s < NEW_S else State.ONGOING

    @property
    def recovery_s(self) -> float | None:
        """Return how long the episode lasted, if it may be over.

        From its first failure to the first success of the route after its last.
        """
        if not self._may_be_over:
            return None
        end_s = self.last_s if self._succeeded_s is None else self._succeeded_s
        return max(0.0, end_s - self._began_s)

    def age_s(self, now_s: float) -> float:
        """Return how long ago the episode began."""
        return max(0.0, now_s - self._began_s)

    def last_minute(self, now_s: float) -> int:
        """Return how many there were in the last minute, to a slice of it."""
        return sum(self._recent(now_s)[_MINUTE:])

    def rate_per_s(self, now_s: float) -> float:
        """Return the mean of the last minute, or of its life if that is shorter."""
        window_s = min(
            _MINUTE * SLICE_S - SLICE_S + now_s % SLICE_S, now_s - self.first_s
        )
        return self.last_minute(now_s) / max(1.0, window_s)

    def trend_at(self, now_s: float) -> Trend:
        """Compare the last minute with the one before."""
        recent = self._recent(now_s)
        before, after = sum(recent[:_MINUTE]), sum(recent[_MINUTE:])
        if after > before * _CHANGE:
            return Trend.RISING
        return Trend.FALLING if after * _CHANGE < before else Trend.STEADY

    @property
    def _may_be_over(self) -> bool:
        """Tell whether nothing but time is missing.

        What is of no route has no success to wait for.
        """
        return self._succeeded_s is not None or not self.key.route

    def _turn(self, now_s: float) -> None:
        now = int(now_s / SLICE_S)
        self._slices.extend([0] * min(_KEPT, max(0, now - self._slice)))
        self._slice = max(now, self._slice)
        self._turns_s = (self._slice + 1) * SLICE_S

    def _recent(self, now_s: float) -> list[int]:
        """Return the slices as they are now, without turning them."""
        passed = min(_KEPT, max(0, int(now_s / SLICE_S) - self._slice))
        return [*self._slices, *[0] * passed][passed:]


class FaultGroups:
    """All groups.

    Args:
        requests_by_route: Tells how many requests of each route have ended.
        rng: Chance, for examples.
        quiet_s: How long one must have been without a failure to be over.
        most: How many groups at once.

    Attributes:
        evicted: Groups that made room.
        evicted_faults: And how many failures they had counted.
    """

    def __init__(
        self,
        requests_by_route: Callable[[], dict[str, int]],
        rng: Random,
        quiet_s: float = 60.0,
        most: int = MAX_GROUPS,
    ) -> None:
        self._requests_by_route = requests_by_route
        self._rng = rng
        self._quiet_s = quiet_s
        self._most = most
        # Latest seen last. A plain tuple finds what its Key is under, and is cheaper.
        self._groups: OrderedDict[tuple[str, ...], Group] = OrderedDict()
        self._waiting: dict[str, list[Group]] = {}  # For a success, by route.
        self._on: dict[str, Group] = {}  # Those that were not over yet, by id.
        self.on_recovered: Callable[[Group], None] | None = None
        # By slice: the requests of each route up to then.
        self._traffic: deque[tuple[int, dict[str, int]]] = deque(maxlen=_MINUTE + 1)
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
        return reversed(self._groups.values())

    def find(self, fingerprint: str) -> Group | None:
        """Return the group with that fingerprint."""
        return next((one for one in self if one.id == fingerprint), None)

    def add(
        self,
        outcome: Outcome,
        fault: Fault,
        severity: Severity,
        now_s: float,
        *,
        count: int = 1,
        is_anywhere: bool = False,
    ) -> Group:
        """Count failures that are like this one; return their group.

        Args:
            outcome: Of one of them.
            fault: What it met.
            severity: Of it, now.
            now_s: Now.
            count: How many there are.
            is_anywhere: Its upstream is wherever a connection was meant to go.
        """
        attempts = outcome.attempts
        key = (
            fault.spec.code,
            outcome.route,
            outcome.upstream,
            # An address that the application chose would make groups without end.
            attempts[-1].endpoint if attempts and not is_anywhere else "",
            fault.phase.value,
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
        else:
            self._groups.move_to_end(key)
            if now_s - group.last_s >= group.quiet_s:
                self._look_at(group, now_s)  # Before it begins anew.
        group.add(severity, now_s, wall_ns, count)
        group.quiet_s = self._quiet_s
        self._on[group.id] = group
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
        minute_ago = int(now_s / SLICE_S) - _MINUTE
        before = 0
        for number, requests in self._traffic:
            if number <= minute_ago:
                before = requests.get(route, 0)
        seen = traffic.get(route, 0) - before
        return min(1.0, group.last_minute(now_s) / seen) if seen > 0 else 0.0

    def look(self, now_s: float) -> None:
        """Tell what is over, and remember the requests of each route, once a slice."""
        for group in list(self._on.values()):
            self._look_at(group, now_s)
        now = int(now_s / SLICE_S)
        if not self._traffic or self._traffic[-1][0] != now:
            self._traffic.append((now, self._requests_by_route()))

    def _look_at(self, group: Group, now_s: float) -> None:
        if group.id in self._on and group.state_at(now_s) is State.RECOVERED:
            del self._on[group.id]
            if self.on_recovered is not None:
                self.on_recovered(group)

    def _make_room(self, now_s: float) -> None:
        gone = next(iter(self._groups.values()))
        for group in self._groups.values():
            if now_s - group.last_s < self._quiet_s:
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
