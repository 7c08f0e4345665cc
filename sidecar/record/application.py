"""What is known of the application that is checked, for all who tell of it."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sidecar.policy.health import HealthState
from sidecar.record.metrics.histogram import DURATION_BOUNDS_S, Histogram
from sidecar.record.moments import iso_time, milliseconds

if TYPE_CHECKING:
    from sidecar.policy.health import HealthTracker, Sign

_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Checked:
    """One check."""

    wall_ns: int
    sign: Sign
    reason: str
    duration_s: float

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "time": iso_time(self.wall_ns),
            "result": self.sign.value,
            "reason": self.reason,
            "ms": milliseconds(self.duration_s),
        }


@dataclass(frozen=True, slots=True)
class HookRun:
    """One run of the recovery hook, or why there was none."""

    wall_ns: int
    result: str  # "succeeded", "failed" or "skipped".
    detail: str

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON shows it."""
        return {
            "time": iso_time(self.wall_ns),
            "result": self.result,
            "detail": self.detail,
        }


class ApplicationRecord:
    """The checks, and what they came to. Belongs to one event loop.

    Attributes:
        subject: What is asked; empty: nothing is.
        tracker: How it stands; None while nothing is asked.
        liveness_after_s: How long it may be unhealthy before a restart is wanted.
        memory_bytes: Of its processes, at the last check; None: not looked at.
        memory_problem: Why that cannot be looked at, if it cannot.
        results: How many checks there were, by result.
        durations: How long they took.
        recoveries: How often the hook ran, by result.
        is_over: Nothing more is asked: how it was found is of a time that has passed.
    """

    def __init__(self) -> None:
        self.subject = ""
        self.tracker: HealthTracker | None = None
        self.liveness_after_s = 0.0
        self.memory_bytes: int | None = None
        self.memory_problem = ""
        self.results: defaultdict[tuple[str], int] = defaultdict(int)
        self.durations = Histogram(DURATION_BOUNDS_S)
        self.is_over = False
        self.recoveries: defaultdict[tuple[str], int] = defaultdict(int)
        self._checks: deque[Checked] = deque(maxlen=_KEPT)
        self._hooks: deque[HookRun] = deque(maxlen=_KEPT)

    def begin(
        self, subject: str, tracker: HealthTracker | None, liveness_after_s: float
    ) -> None:
        """Something else is asked from now on, or nothing."""
        self.subject, self.tracker = subject, tracker
        self.liveness_after_s = liveness_after_s
        self.memory_bytes = None
        self.memory_problem = ""

    def checked(self, check: Checked) -> None:
        """A check is over."""
        self._checks.append(check)
        self.results[check.sign.value,] += 1
        self.durations.observe(check.duration_s)

    def helped(self, run: HookRun) -> None:
        """The hook has run, or would have."""
        self._hooks.append(run)
        self.recoveries[run.result,] += 1

    def wants_restart(self, now_s: float) -> bool:
        """Tell whether it has been unhealthy for so long that a restart may help."""
        tracker = self.tracker
        return (
            tracker is not None
            and not self.is_over
            and tracker.state is HealthState.UNHEALTHY
            and tracker.down_s(now_s) >= self.liveness_after_s
        )

    def as_record(self, now_s: float) -> dict[str, Any]:
        """Return all of it as JSON shows it."""
        tracker = self.tracker
        return {
            "state": "off" if tracker is None else tracker.state.value,
            "check": self.subject,
            "since_s": 0.0 if tracker is None else round(now_s - tracker.since_s, 3),
            "failures_in_a_row": 0 if tracker is None else tracker.failures,
            "wants_restart": self.wants_restart(now_s),
            "memory_bytes": self.memory_bytes,
            "memory_problem": self.memory_problem,
            "checks": [check.as_record() for check in reversed(self._checks)],
            "hooks": [run.as_record() for run in reversed(self._hooks)],
        }
