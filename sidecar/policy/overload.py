"""Overload of this very process: what is refused, so that the rest is in time.

    lag           how late the event loop is       requests in flight are limited
    queue         how long connections wait        connections are refused
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
QUEUE: Final = "queue"

_NEAR_RATIO: Final = 0.9  # Of a limit: from there on, no retries.
_SPAN_RATIO: Final = 0.1  # Above a limit: there, all but a few are refused.
_LEAST_SHARE: Final = 0.02  # Passes whatever the usage, to see when it has eased.
_LEAST_IN_FLIGHT: Final = 8  # Likewise; so few are not why a loop is late.
_NO_LIMIT: Final = 1 << 60
_FASTEST_FALL: Final = 0.5  # In one step: a single stall says little.
_RELAPSE_TIMES: Final = 10
_EASED_RATIO: Final = 0.5  # Of the limit: the loop is in time.


@dataclass(frozen=True, slots=True)
class OverloadLimits:
    """When work is refused."""

    is_enabled: bool = True
    lag_s: float = 0.1
    lag_for_s: float = 1.0  # So long over the limit, before anything happens.
    memory_ratio: float = 0.8  # Of the cgroup's limit.
    descriptor_ratio: float = 0.8  # Of RLIMIT_NOFILE.
    in_flight: int | None = None


class Sustained:
    """Tells whether something is late for a while, and until it is in time again.

    Attributes:
        is_near: It has been over 90 % of the limit for a while.
        is_on: It has been over the limit for a while; it ends when it has been
            below half of it for as long. Soon after that a tenth of the while is
            enough: the cause is known, and was not gone.
    """

    __slots__ = (
        "_eased_since_s",
        "_ended_s",
        "_for_s",
        "_high_since_s",
        "_limit_s",
        "_near_since_s",
        "is_near",
        "is_on",
    )  # fmt: skip

    def __init__(self, limits: OverloadLimits) -> None:
        self._limit_s = limits.lag_s
        self._for_s = limits.lag_for_s
        self._near_since_s = self._high_since_s = self._eased_since_s = _NEVER_S
        self._ended_s = -_NEVER_S
        self.is_near = self.is_on = False

    def observe(self, now_s: float, late_s: float, *, is_needed: bool = False) -> None:
        """Take in how late it is now.

        Args:
            now_s: Now.
            late_s: How late.
            is_needed: What is done against it is still done: it is not over yet.
        """
        limit_s, for_s = self._limit_s, self._for_s
        is_near, is_high = late_s > _NEAR_RATIO * limit_s, late_s > limit_s
        is_eased = late_s < _EASED_RATIO * limit_s and not is_needed
        self._near_since_s = min(self._near_since_s, now_s) if is_near else _NEVER_S
        self._high_since_s = min(self._high_since_s, now_s) if is_high else _NEVER_S
        self._eased_since_s = min(self._eased_since_s, now_s) if is_eased else _NEVER_S
        is_relapse = now_s - self._ended_s < _RELAPSE_TIMES * for_s
        if now_s - self._high_since_s >= (
            for_s / _RELAPSE_TIMES if is_relapse else for_s
        ):
            self.is_on = True
        elif self.is_on and now_s - self._eased_since_s >= for_s:
            self.is_on = False
            self._ended_s = now_s
        self.is_near = self.is_on or now_s - self._near_since_s >= for_s


class LagLimit:
    """How many requests may be in flight for the loop to be in time.

    Attributes:
        late: Whether the loop is late.
        most: So many; without a limit more than there can be.
    """

    __slots__ = ("_limit_s", "late", "most")

    def __init__(self, limits: OverloadLimits) -> None:
        self._limit_s = limits.lag_s
        self.late = Sustained(limits)
        self.most = _NO_LIMIT

    def observe(
        self, now_s: float, lag_s: float, in_flight: int, *, has_refused: bool
    ) -> None:
        """Take in how late the loop is now.

        Args:
            now_s: Now.
            lag_s: How late.
            in_flight: Requests at work, at most since the last look.
            has_refused: Some were refused because of lag since then.
        """
        limit_s = self._limit_s
        self.late.observe(now_s, lag_s, is_needed=has_refused)
        if not self.late.is_on:
            self.most = _NO_LIMIT
        elif lag_s > limit_s:
            ratio = max(_FASTEST_FALL, limit_s / lag_s)
            now = min(self.most, max(in_flight, _LEAST_IN_FLIGHT))
            self.most = max(_LEAST_IN_FLIGHT, int(now * ratio))
        elif lag_s < _EASED_RATIO * limit_s and in_flight >= self.most:
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

    The data path reads `is_on` for each request, and asks only if it is true, or if
    there are `crowded_from` requests in flight.

    Attributes:
        is_on: Some requests may have to be refused.
        crowded_from: So are they from this number in flight on.
        is_late: The loop is too late, or connections wait for too long.
        counts: Requests refused, by resource and kind: "retry" or "first"; also
            connections, by "queue" and "connection".
        on_late: Called when `is_late` has changed.
    """

    __slots__ = (
        "_descriptors",
        "_has_refused",
        "_is_crowded",
        "_lag",
        "_limits",
        "_memory",
        "_peak",
        "_queue",
        "counts",
        "crowded_from",
        "is_late",
        "is_on",
        "on_late",
    )

    def __init__(self, limits: OverloadLimits) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.on_late: list[Callable[[], None]] = []
        self.is_late = False
        self.use(limits)

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Admission {self.levels()} most={self._lag.most}>"

    def use(self, limits: OverloadLimits) -> None:
        """Go by these limits from now on, as if nothing had been seen yet."""
        self._limits = limits
        self._lag = LagLimit(limits)
        self._queue = Sustained(limits)
        self._memory = ScaledTrigger(limits.memory_ratio)
        self._descriptors = ScaledTrigger(limits.descriptor_ratio)
        self._is_crowded = self._has_refused = False
        self._peak = 0
        self._update()

    @property
    def refuses_retries(self) -> bool:
        """Tell whether own retries are not to be made, either."""
        return bool(self._short())

    def levels(self) -> dict[str, int]:
        """Return, by resource: 0 enough, 1 retries are refused, 2 others, too."""
        memory, descriptors = self._memory, self._descriptors
        return {
            LAG: int(self._lag.late.is_near) + int(self._lag.late.is_on),
            QUEUE: int(self._queue.is_near) + int(self._queue.is_on),
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
        self._peak = max(self._peak, in_flight)
        resource = self._decide(in_flight, is_retry=is_retry)
        if resource:
            self._has_refused = self._has_refused or resource == LAG
            self.count(resource, "retry" if is_retry else "first")
        return resource

    def count(self, resource: str, kind: str, count: int = 1) -> None:
        """Count what was refused for the sake of a resource."""
        self.counts[resource, kind] = self.counts.get((resource, kind), 0) + count

    def observe_lag(self, now_s: float, lag_s: float, in_flight: int) -> None:
        """Take in how late the loop is; about ten times a second."""
        if not self._limits.is_enabled:
            return
        most = self._limits.in_flight
        self._is_crowded = most is not None and in_flight >= most * _NEAR_RATIO
        peak, self._peak = max(self._peak, in_flight), 0
        has_refused, self._has_refused = self._has_refused, False
        self._lag.observe(now_s, lag_s, peak, has_refused=has_refused)
        self._update()

    def observe_queue(self, now_s: float, wait_s: float, *, has_refused: bool) -> None:
        """Take in how long new connections wait to be accepted."""
        if self._limits.is_enabled:
            self._queue.observe(now_s, wait_s, is_needed=has_refused)
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

    def _decide(self, in_flight: int, *, is_retry: bool) -> str:
        most = self._limits.in_flight
        if is_retry and (short := self._short()):
            return short
        if is_retry and most is not None and in_flight >= most * _NEAR_RATIO:
            return IN_FLIGHT
        if in_flight >= self._lag.most:
            return LAG
        if most is not None and in_flight >= most:
            return IN_FLIGHT
        if not self._memory.passes():
            return MEMORY
        return "" if self._descriptors.passes() else DESCRIPTORS

    def _short(self) -> str:
        """Return a resource that runs short, or ""."""
        if self._lag.late.is_near:
            return LAG
        if self._queue.is_near:
            return QUEUE
        if self._memory.is_near:
            return MEMORY
        if self._descriptors.is_near:
            return DESCRIPTORS
        return IN_FLIGHT if self._is_crowded else ""

    def _update(self) -> None:
        limits, was_late = self._limits, self.is_late
        self.is_late = self._lag.late.is_on or self._queue.is_on
        self.is_on = limits.is_enabled and bool(self._short())
        most = limits.in_flight if limits.is_enabled else None
        self.crowded_from = _NEVER_S if most is None else most * _NEAR_RATIO
        if self.is_late is not was_late:
            for tell in self.on_late:
                tell()


_NEVER_S: Final = float("inf")  # Nothing is longer ago than what has not begun.
