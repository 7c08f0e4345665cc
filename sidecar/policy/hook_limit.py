"""How often a recovery hook may run: not soon again, and not often an hour."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class HookLimits:
    """When a hook runs, and how often at most."""

    after: int  # Failed checks, from the one on that told that it is unhealthy.
    min_interval_s: float
    max_per_hour: int


class HookLimit:
    """Remembers when the hook ran in the last hour, whatever its limits were then."""

    __slots__ = ("_runs_s",)

    def __init__(self) -> None:
        self._runs_s: deque[float] = deque()

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<HookLimit runs={len(self._runs_s)}>"

    def refusal(
        self, limits: HookLimits, failed_checks: int, now_s: float
    ) -> str | None:
        """Return why the hook is not to run now; "" means only: not yet; None: run.

        Args:
            limits: As they are now.
            failed_checks: Since it was told that it is unhealthy, that one counted.
            now_s: Now.
        """
        runs_s = self._runs_s
        while runs_s and now_s - runs_s[0] >= _HOUR_S:
            runs_s.popleft()
        if failed_checks < limits.after:
            return ""
        if len(runs_s) >= limits.max_per_hour:
            return f"it has run {len(runs_s)} times within an hour (max_per_hour)"
        if runs_s and now_s - runs_s[-1] < limits.min_interval_s:
            return f"it ran less than {limits.min_interval_s:g} s ago (min_interval)"
        return None

    def ran(self, now_s: float) -> None:
        """Remember that it runs now."""
        self._runs_s.append(now_s)
