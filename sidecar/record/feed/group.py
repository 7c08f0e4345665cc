"""Failures that are alike: how many, how often, and whether it is over.

    NEW --a minute--> ONGOING --a success, then some time of quiet--> RECOVERED
                         ^--(the same)-- REGRESSED <--the next failure---'

Counts are exact, whatever is kept of single failures. Nothing here looks at the
clock, and nothing ends by itself: what a group is, is worked out when it is read.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from sidecar.record.feed.sampling import Examples

if TYPE_CHECKING:
    from sidecar.faults.spec import FaultSpec, Severity
    from sidecar.record.feed.failure import Failure

SLICE_S: Final = 10.0
MINUTE: Final = 6  # Slices.
_KEPT: Final = 2 * MINUTE  # The minute before tells the trend.
NEW_S: Final = 60.0
_CHANGE: Final = 1.25  # Times as many as in the minute before: a trend.


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
        is_told_over: Its recovery was told, and it has not failed since.
        ordered_s: When it was put behind those that were seen before.
        awaits_success: Its route has had none since the latest failure.
    """

    __slots__ = (
        "_began_s", "_present", "_slice", "_slices", "_succeeded_s", "_turns_s",
        "_was_over", "awaits_success", "count", "examples", "first_ns", "first_s", "id",
        "is_told_over", "key", "last_ns", "last_s", "ordered_s", "quiet_s",
        "recoveries_s", "regressions", "severity", "spec",
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
        self.is_told_over = False
        self.ordered_s = now_s
        self.examples: Examples[Failure] = Examples()
        self._succeeded_s: float | None = None  # The first one since `last_s`.
        self._was_over = False  # Before the present episode.
        self._slice = int(now_s / SLICE_S)
        self._turns_s = (self._slice + 1) * SLICE_S
        self._slices: deque[int] = deque([0] * (_KEPT - 1), _KEPT - 1)  # Those before,
        self._present = 0  # and the one that is not over.

    def __repr__(self) -> str:
        """Return what it is in a line."""
        return f"<Group {self.id} {self.key.code} count={self.count}>"

    def add(self, severity: Severity, now_s: float, wall_ns: int, count: int) -> None:
        """Count failures. In a storm this is called 10,000 times a second."""
        if now_s - self.last_s >= self.quiet_s and self.count and self._may_be_over:
            self.recoveries_s.append(self.recovery_s or 0.0)
            self.regressions += 1
            self._began_s, self._was_over = now_s, True
        if now_s >= self._turns_s:
            self._turn(now_s)
        self._present += count
        self.count += count
        self.severity = severity
        if self._succeeded_s is not None:
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
        return sum(self._recent(now_s)[MINUTE:])

    def rate_per_s(self, now_s: float) -> float:
        """Return the mean of the last minute, or of its life if that is shorter."""
        window_s = min(
            MINUTE * SLICE_S - SLICE_S + now_s % SLICE_S, now_s - self.first_s
        )
        return self.last_minute(now_s) / max(1.0, window_s)

    def trend_at(self, now_s: float) -> Trend:
        """Compare the last minute with the one before."""
        recent = self._recent(now_s)
        before, after = sum(recent[:MINUTE]), sum(recent[MINUTE:])
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
        passed = now - self._slice
        if passed > 0:
            self._slices.extend([self._present, *[0] * min(_KEPT, passed - 1)])
            self._slice, self._present = now, 0
        self._turns_s = (self._slice + 1) * SLICE_S

    def _recent(self, now_s: float) -> list[int]:
        """Return the slices as they are now, without turning them."""
        passed = min(_KEPT, max(0, int(now_s / SLICE_S) - self._slice))
        return [*self._slices, self._present, *[0] * passed][passed:]
