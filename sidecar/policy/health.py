"""How the application is, by checks that follow each other.

    UNKNOWN --a pass--> HEALTHY --unhealthy_after failures--> UNHEALTHY
       |                   ^---------- healthy_after passes ------'  ^
       '---- unhealthy_after failures, after start_period_s ---------'

Only what comes in a row counts: a check with the other result begins it anew. One that
could not ask counts as none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique


@unique
class HealthState(Enum):
    """What the checks so far come to."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@unique
class Sign(Enum):
    """What one check says."""

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "absent"  # Nobody takes a connection.
    SILENT = "silent"  # It was taken, and nothing at all came back.
    UNASKED = "unasked"  # Whoever asks is short of something: it says nothing.


@dataclass(frozen=True, slots=True)
class Answer:
    """What one check brought."""

    sign: Sign
    reason: str  # In words, also of a success.
    said: str = ""  # By a command: not for the network, it may hold secrets.

    @property
    def words(self) -> str:
        """Return all of it, for logs and the admin API."""
        return f"{self.reason}: {self.said}" if self.said else self.reason


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """How many checks in a row change something."""

    unhealthy_after: int
    healthy_after: int
    start_period_s: float  # In which failures do not count, before the first pass.


class HealthTracker:
    """Counts the checks of one application.

    Args:
        limits: How many change something.
        now_s: Now, on the steady clock.
        state: As known before.

    Attributes:
        state: After the last check.
        since_s: When that began.
        failures: In a row, until now.
        passes: Likewise.
        silences: Likewise; each of them is a failure, too.
        unhealthy_checks: Failures since it is unhealthy, with the one that told so.
    """

    __slots__ = (
        "_down_since_s",
        "_is_absent",
        "_limits",
        "_started_s",
        "failures",
        "passes",
        "silences",
        "since_s",
        "state",
        "unhealthy_checks",
    )

    def __init__(
        self,
        limits: HealthLimits,
        now_s: float,
        state: HealthState = HealthState.UNKNOWN,
    ) -> None:
        self._limits = limits
        self._started_s = now_s
        self._down_since_s = now_s
        self._is_absent = False
        self.state = state
        self.since_s = now_s
        self.failures = 0
        self.passes = 0
        self.silences = 0
        self.unhealthy_checks = 0

    def __repr__(self) -> str:
        """Return its state in a line."""
        counts = f"failures={self.failures} passes={self.passes}"
        return f"<HealthTracker {self.state.value} {counts} silences={self.silences}>"

    @property
    def is_silent(self) -> bool:
        """Tell whether so many checks in a row were answered with nothing at all."""
        return self.silences >= self._limits.unhealthy_after

    def observe(self, sign: Sign, now_s: float) -> bool:
        """Take what a check says; tell whether it has changed the state."""
        if sign is Sign.UNASKED:
            return False
        if sign is Sign.PASSED:
            self.passes += 1
            self.failures = self.silences = 0
            is_enough = self.passes >= self._limits.healthy_after
            if self.state is HealthState.UNKNOWN or (
                self.state is HealthState.UNHEALTHY and is_enough
            ):
                return self._enter(HealthState.HEALTHY, now_s)
            return False
        self.passes = 0
        self.silences = self.silences + 1 if sign is Sign.SILENT else 0
        self._heed_restart(now_s, is_absent=sign is Sign.ABSENT)
        if self.is_starting(now_s):
            return False
        self.failures += 1
        is_unhealthy = self.state is HealthState.UNHEALTHY
        if not is_unhealthy and self.failures < self._limits.unhealthy_after:
            return False
        self.unhealthy_checks += 1
        return not is_unhealthy and self._enter(HealthState.UNHEALTHY, now_s)

    def down_s(self, now_s: float) -> float:
        """Return for how long it has been unhealthy without a sign of a restart.

        A port that closes or opens again is one: whoever restarts it now and then
        must not do so again before it could answer.
        """
        if self.state is not HealthState.UNHEALTHY:
            return 0.0
        return now_s - self._down_since_s

    def is_starting(self, now_s: float) -> bool:
        """Tell whether failures do not count yet."""
        is_new = self.state is HealthState.UNKNOWN
        return is_new and now_s - self._started_s < self._limits.start_period_s

    def _heed_restart(self, now_s: float, *, is_absent: bool) -> None:
        if is_absent is not self._is_absent:
            self._is_absent = is_absent
            self._down_since_s = now_s

    def _enter(self, state: HealthState, now_s: float) -> bool:
        self.state = state
        self.since_s = now_s
        self._down_since_s = now_s
        if state is HealthState.HEALTHY:
            self.unhealthy_checks = 0
        return True
