"""Overload of this very process: what is refused, so that the rest is in time.

    lag           how late the event loop is       requests in flight are limited
    memory        resident / limit of the cgroup   a share of requests passes
    descriptors   open / limit of the process      a share of requests passes
    in_flight     requests at once, in all         what is over the limit is refused

    usage      0 ........ 90 % of a limit ......... the limit ........>
    refused      nothing        |   marked retries      |  first tries, too

The limit that lag sets adapts: it falls in proportion to how much too late the
loop is, and rises by a tenth while the loop is in time (AIMD, as in D. Chiu, R.
Jain, "Analysis of the Increase and Decrease Algorithms for Congestion
Avoidance", 1989). The share is a scaled trigger: from all at the limit to one in
fifty at a tenth of the whole above it. So none of them is on or off, and none
ever refuses everything: what is let through shows when the cause is gone.

A refusal costs the processor too, about a fifth of a request, so clients that ask
again at once would use up what is left. When more than half as many are refused
as are served, each refusal is held back for a while (`hold_s`): who waits for an
answer does not ask again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LAG: Final = "lag"
MEMORY: Final = "memory"
DESCRIPTORS: Final = "descriptors"
IN_FLIGHT: Final = "in_flight"
RESOURCES: Final = (LAG, MEMORY, DESCRIPTORS, IN_FLIGHT)

_NEAR_RATIO: Final = 0.9  # Of a limit: from there on, no retries.
_SPAN_RATIO: Final = 0.1  # Above a limit: there, all but a few are refused.
_LEAST_SHARE: Final = 0.02  # Passes whatever the usage, to see when it has eased.
_LEAST_IN_FLIGHT: Final = 8  # Likewise; so few are not why a loop is late.
_NO_LIMIT: Final = 1 << 60
_FASTEST_FALL: Final = 0.5  # In one step: a single stall says little.
_EASED_RATIO: Final = 0.5  # Of the limit: the loop is in time.
_REFUSED_MOST: Final = 0.5  # Refusals for each request served, before they are held.
_REFUSED_LEAST: Final = 0.25  # And below which they are held for less long.
_HOLD_STEP_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class OverloadLimits:
    """When work is refused."""

    is_enabled: bool = True
    lag_s: float = 0.1
    lag_for_s: float = 1.0  # So long over the limit, before anything happens.
    memory_ratio: float = 0.8  # Of the cgroup's limit.
    descriptor_ratio: float = 0.8  # Of RLIMIT_NOFILE.
    in_flight: int | None = None
    hold_s: float = 0.5  # The longest that a refusal is held back.


class LagLimit:
    """How many requests may be in flight for the loop to be in time.

    Attributes:
        most: So many; without a limit more than there can be.
        is_near: The loop has been late by 90 % of the limit for a while.
        is_on: It has been later than the limit; `most` is in force.
    """

    __slots__ = ("_high_since_s", "_limits", "_near_since_s", "_ok_since_s", "is_near",
                 "is_on", "most")  # fmt: skip

    def __init__(self, limits: OverloadLimits) -> None:
        self._limits = limits
        self._near_since_s = self._high_since_s = self._ok_since_s = _NEVER_S
        self.is_near = self.is_on = False
        self.most = _NO_LIMIT

    def observe(
        self, now_s: float, lag_s: float, in_flight: int, *, has_refused: bool
    ) -> None:
        """Take in how late the loop is now.

        Args:
            now_s: Now.
            lag_s: How late.
            in_flight: Requests at work.
            has_refused: Some were refused because of lag since the last look.
        """
        limit_s, for_s = self._limits.lag_s, self._limits.lag_for_s
        is_near, is_high = lag_s > _NEAR_RATIO * limit_s, lag_s > limit_s
        self._near_since_s = min(self._near_since_s, now_s) if is_near else _NEVER_S
        self._high_since_s = min(self._high_since_s, now_s) if is_high else _NEVER_S
        if self.is_on:
            self._adapt(limit_s, lag_s, in_flight)
            is_ok = lag_s < _EASED_RATIO * limit_s and not has_refused
            self._ok_since_s = min(self._ok_since_s, now_s) if is_ok else _NEVER_S
            if now_s - self._ok_since_s >= for_s:
                self.is_on = False
                self.most = _NO_LIMIT
        elif now_s - self._high_since_s >= for_s:
            self.is_on = True
            self._ok_since_s = _NEVER_S
            self.most = max(_LEAST_IN_FLIGHT, in_flight)
            self._adapt(limit_s, lag_s, in_flight)
        self.is_near = self.is_on or now_s - self._near_since_s >= for_s

    def _adapt(self, limit_s: float, lag_s: float, in_flight: int) -> None:
        if lag_s > limit_s:
            ratio = max(_FASTEST_FALL, limit_s / lag_s)
            now = min(self.most, max(in_flight, _LEAST_IN_FLIGHT))
            self.most = max(_LEAST_IN_FLIGHT, int(now * ratio))
        elif lag_s < _EASED_RATIO * limit_s and in_flight >= self.most // 2:
            self.most += max(1, self.most // 10)  # Only where it holds anything back.


class ScaledTrigger:
    """Lets a share of requests pass, the smaller the shorter a resource runs.

    Attributes:
        is_near: Over 90 % of the limit.
        share: Of requests that pass; 1 up to the limit.
    """

    __slots__ = ("_credit", "_limit_ratio", "is_near", "share")

    def __init__(self, limit_ratio: float) -> None:
        self._limit_ratio = limit_ratio
        self._credit = 0.0
        self.is_near = False
        self.share = 1.0

    def observe(self, used_ratio: float) -> None:
        """Take in which part of the whole is used now."""
        over = (used_ratio - self._limit_ratio) / _SPAN_RATIO
        self.is_near = used_ratio > self._limit_ratio * _NEAR_RATIO
        self.share = min(1.0, max(_LEAST_SHARE, 1.0 - over))

    def passes(self) -> bool:
        """Tell whether the next request is one of those that pass."""
        self._credit += self.share
        if self._credit < 1.0:
            return False
        self._credit -= 1.0
        return True


class Admission:
    """Decides which requests are taken on at all.

    The data path reads `is_on` for each request, and asks only if it is true.

    Attributes:
        is_on: Some requests may have to be refused.
        is_lag_high: The loop is too late: that is why, or one of the reasons.
        hold_s: How long to wait with the answer to a request that is refused.
        counts: Requests refused, by resource and kind ("retry" or "first").
        on_lag: Called when `is_lag_high` has changed.
    """

    __slots__ = (
        "_descriptors",
        "_is_crowded",
        "_lag",
        "_limits",
        "_memory",
        "_refused",
        "_refused_for_lag",
        "_taken",
        "counts",
        "hold_s",
        "is_lag_high",
        "is_on",
        "on_lag",
    )

    def __init__(self, limits: OverloadLimits) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.on_lag: list[Callable[[], None]] = []
        self.is_lag_high = False
        self.use(limits)

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Admission {self.levels()} most={self._lag.most} hold={self.hold_s}>"

    def use(self, limits: OverloadLimits) -> None:
        """Go by these limits from now on, as if nothing had been seen yet."""
        self._limits = limits
        self._lag = LagLimit(limits)
        self._memory = ScaledTrigger(limits.memory_ratio)
        self._descriptors = ScaledTrigger(limits.descriptor_ratio)
        self._is_crowded = False
        self._taken = self._refused = self._refused_for_lag = 0
        self.hold_s = 0.0
        self._update()

    @property
    def refuses_retries(self) -> bool:
        """Tell whether own retries are not to be made, either."""
        return bool(self._short())

    def levels(self) -> dict[str, int]:
        """Return, by resource: 0 enough, 1 retries are refused, 2 others, too."""
        lag, memory, descriptors = self._lag, self._memory, self._descriptors
        return {
            LAG: int(lag.is_near) + int(lag.is_on),
            MEMORY: int(memory.is_near) + int(memory.share < 1.0),
            DESCRIPTORS: int(descriptors.is_near) + int(descriptors.share < 1.0),
            IN_FLIGHT: int(self._is_crowded),
        }

    def ask(self, in_flight: int, *, is_retry: bool) -> str:
        """Return the resource for the sake of which a request is refused, or "".

        Args:
            in_flight: Requests at work now.
            is_retry: It says that it is one; these go first.
        """
        resource, kind = self._decide(in_flight, is_retry=is_retry)
        if not resource:
            self._taken += 1
            return ""
        self._refused += 1
        self._refused_for_lag += int(resource == LAG)
        key = (resource, kind)
        self.counts[key] = self.counts.get(key, 0) + 1
        return resource

    def observe_lag(self, now_s: float, lag_s: float, in_flight: int) -> None:
        """Take in how late the loop is; about ten times a second."""
        if not self._limits.is_enabled:
            return
        most = self._limits.in_flight
        self._is_crowded = most is not None and in_flight >= most * _NEAR_RATIO
        has_refused = self._refused_for_lag > 0
        self._lag.observe(now_s, lag_s, in_flight, has_refused=has_refused)
        self._balance()
        self._update()

    def observe_memory(self, used_ratio: float) -> None:
        """Take in which part of the memory is used."""
        if self._limits.is_enabled:
            self._memory.observe(used_ratio)
            self._update()

    def observe_descriptors(self, used_ratio: float) -> None:
        """Take in which part of the descriptors is used."""
        if self._limits.is_enabled:
            self._descriptors.observe(used_ratio)
            self._update()

    def left(self, waited_s: float) -> None:
        """A client went while its refusal was held back: that was too long."""
        self.hold_s = min(self.hold_s, waited_s * 0.8)

    def _decide(self, in_flight: int, *, is_retry: bool) -> tuple[str, str]:
        limits, kind = self._limits, "retry" if is_retry else "first"
        most = limits.in_flight
        if is_retry and (short := self._short()):
            return short, kind
        if is_retry and most is not None and in_flight >= most * _NEAR_RATIO:
            return IN_FLIGHT, kind
        if in_flight >= self._lag.most:
            return LAG, kind
        if most is not None and in_flight >= most:
            return IN_FLIGHT, kind
        if not self._memory.passes():
            return MEMORY, kind
        if not self._descriptors.passes():
            return DESCRIPTORS, kind
        return "", kind

    def _short(self) -> str:
        """Return a resource that runs short, or ""."""
        if self._lag.is_near:
            return LAG
        if self._memory.is_near:
            return MEMORY
        if self._descriptors.is_near:
            return DESCRIPTORS
        return IN_FLIGHT if self._is_crowded else ""

    def _balance(self) -> None:
        """Hold refusals longer while they cost too much, else less long."""
        taken, refused = self._taken, self._refused
        self._taken = self._refused = self._refused_for_lag = 0
        if refused > taken * _REFUSED_MOST and self._lag.is_on:
            longer_s = max(_HOLD_STEP_S, self.hold_s * 1.5)
            self.hold_s = min(self._limits.hold_s, longer_s)
        elif refused < taken * _REFUSED_LEAST or not self._lag.is_on:
            self.hold_s /= 1.5
            if self.hold_s < _HOLD_STEP_S / 2:
                self.hold_s = 0.0

    def _update(self) -> None:
        limits, was_high = self._limits, self.is_lag_high
        self.is_lag_high = self._lag.is_on
        self.is_on = limits.is_enabled and bool(limits.in_flight or self._short())
        if self.is_lag_high is not was_high:
            for tell in self.on_lag:
                tell()


_NEVER_S: Final = float("inf")  # Nothing is longer ago than what has not begun.
