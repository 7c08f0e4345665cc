"""Outlier detection: leave an endpoint alone that fails while others do not.

              consecutive failures, success rate           base x times
    HEALTHY ---------------------------------------> EJECTED ----------+
     ^  |                                               ^              v
     |  +-- absent (refused, draining) --> AVOIDED -----+----------> PROBING
     |                                      ^   seconds, doubling    |  |
     +------------ one good probe ----------|------------------------+  |
                                            +----- bad or absent -------+

To be ejected takes evidence, is capped, and lasts; to be avoided takes one sign that
nobody is there to answer, costs nothing if it was wrong, and is a preference: who is
avoided is asked all the same when there is nobody else. Both end with one request
that has a lease: a good answer brings the endpoint back, a bad one sends it away
again, a lost one runs out. What a try shows that began before is void.

Nothing here knows the list of endpoints, it is handed in: they come and go.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import floor, sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random


class Standing(Enum):
    """How an endpoint stands."""

    HEALTHY = "healthy"
    AVOIDED = "avoided"
    EJECTED = "ejected"
    PROBING = "probing"  # Its time is over; one request at a time asks how it is.


class Sign(Enum):
    """What an attempt says of its endpoint."""

    GOOD = "good"
    BAD = "bad"
    ABSENT = "absent"  # Bad, and nobody is there to answer the next one.
    AWAY = "away"  # It asks to be left alone for now: no failure.
    NEUTRAL = "neutral"  # Cancelled, or failed for another's reason.


class Reason(Enum):
    """Why an endpoint was ejected or avoided: a label, few and fixed."""

    CONSECUTIVE_FAILURES = "consecutive_failures"
    SUCCESS_RATE = "success_rate"
    PROBE_FAILED = "probe_failed"
    BY_HAND = "by_hand"
    ABSENT = "absent"
    AWAY = "away"
    RETURNED = "returned"


@dataclass(frozen=True, slots=True)
class OutlierLimits:
    """When to eject, how many, and for how long."""

    consecutive_failures: int = 5  # 0: not looked at.
    interval_s: float = 10.0
    base_ejection_s: float = 30.0
    max_ejection_s: float = 300.0
    jitter_ratio: float = 0.1
    max_ejected_ratio: float | None = None  # None: by how many there are.
    panic_threshold_ratio: float = 0.5
    is_panicking: bool = True  # When all are down; else requests fail at once.
    success_rate_stdev: float = 1.9  # 0: not looked at.
    success_rate_min_hosts: int = 5
    success_rate_min_requests: int = 100
    avoid_s: float = 1.0  # Doubles, up to base_ejection_s.


# Members by module names: through the class, 3.11 takes ten times as long.
_HEALTHY: Final = Standing.HEALTHY
_AVOIDED: Final = Standing.AVOIDED
_EJECTED: Final = Standing.EJECTED
_PROBING: Final = Standing.PROBING
_GOOD: Final = Sign.GOOD
_ABSENT: Final = Sign.ABSENT
_AWAY: Final = Sign.AWAY
_NEUTRAL: Final = Sign.NEUTRAL

_FEW: Final = 4  # Of so many endpoints half may be ejected,
_OF_FEW_RATIO: Final = 0.5
_OF_MANY_RATIO: Final = 0.1  # and of more than that a tenth.
_LEASE_S: Final = 15.0  # Of a probe.
_SAFE_FIRST_S: Final = 1.0  # Before a request that may not be sent twice probes.
_MAX_DOUBLINGS: Final = 16  # Beyond any sane wait.
_ROUNDING: Final = 1e-9  # 0.29 of 100 is 29.


class Health:
    """What is known of one endpoint; lives as long as it does.

    Attributes:
        good: Attempts of this interval that went well; counted by whoever settles.
        is_marked: A good attempt is news: there are strikes, or it is out.
        is_out: It is not to be picked like any other.
    """

    __slots__ = (
        "avoidances",
        "avoided_until_s",
        "bad",
        "cause",
        "ejected_until_s",
        "good",
        "held_until_s",
        "is_marked",
        "is_out",
        "lease_until_s",
        "name",
        "since_s",
        "standing",
        "strikes",
        "times_ejected",
        "was_ejected",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.good = 0
        self.bad = 0  # In this interval, too.
        self.strikes = 0  # Failures in a row.
        self.is_marked = False
        self.is_out = False
        self.was_ejected = False  # Before it probes; else it was avoided.
        self.standing = _HEALTHY  # As it was told last.
        self.since_s = float("-inf")  # What began before then is void.
        self.avoided_until_s = 0.0
        self.ejected_until_s = 0.0
        self.held_until_s = 0.0  # Ejected by hand.
        self.lease_until_s = 0.0  # Of the probe in flight.
        self.avoidances = 0  # In a row.
        self.times_ejected = 0  # Less one for each healthy interval since.
        self.cause = ""  # Of the last change, for people.

    def __repr__(self) -> str:
        """Return its state in a line."""
        return (
            f"<Health {self.name} {self.standing.value} strikes={self.strikes}"
            f" ejected={self.times_ejected}x>"
        )

    def standing_at(self, now_s: float) -> Standing:
        """Return how it stands now; nothing changes."""
        if not self.is_out:
            return _HEALTHY
        if now_s < self.ejected_until_s or now_s < self.held_until_s:
            return _EJECTED
        return _AVOIDED if now_s < self.avoided_until_s else _PROBING

    def left_s(self, now_s: float) -> float:
        """Return for how long it is ejected or avoided still."""
        if not self.is_out:
            return 0.0
        until_s = max(self.ejected_until_s, self.held_until_s, self.avoided_until_s)
        return max(0.0, until_s - now_s)


class OutlierDetector:
    """Decides, for one upstream, which of its endpoints may be asked.

    Belongs to one event loop; nothing awaits, so nothing needs a lock.

    Attributes:
        is_any_out: `choose` has something to say; else any endpoint will do.
    """

    __slots__ = ("_limits", "_rng", "_turn_s", "is_any_out", "on_move")

    def __init__(self, limits: OutlierLimits, rng: Random) -> None:
        self._limits = limits
        self._rng = rng
        self._turn_s = 0.0  # The end of this interval.
        self.is_any_out = False
        # Told of the endpoint, how it stood and stands, why, and that in words.
        self.on_move: Callable[[str, Standing, Standing, Reason, str], None] | None = (
            None
        )

    # Who may be asked.

    def take_probe(
        self, fellows: Sequence[Health], now_s: float, *, is_safe: bool
    ) -> int:
        """Return the index of the endpoint that this request is to probe, or -1.

        Args:
            fellows: All endpoints.
            now_s: Now.
            is_safe: Whether the method is safe (RFC 9110, 9.2.1): those go first to
                one that failed on requests; to one that was not there any may go.
        """
        for index, health in enumerate(fellows):
            if not health.is_out or now_s < health.lease_until_s:
                continue
            due_s = max(
                health.ejected_until_s, health.held_until_s, health.avoided_until_s
            )
            if health.was_ejected and not is_safe:
                due_s += _SAFE_FIRST_S
            if now_s >= due_s:
                health.lease_until_s = now_s + _LEASE_S
                return index
        return -1

    def choose(self, fellows: Sequence[Health], now_s: float) -> list[int]:
        """Return the indices of the endpoints that may be asked; none: all are down.

        Whoever is out by a hand is never among them. An ejected one answers, if
        badly, so in need it comes before one that is avoided.
        """
        fit, ejected, avoided = self._sorted(fellows, now_s)
        self.is_any_out = len(fit) < len(fellows)
        if self._is_panic(len(fit), len(ejected), len(avoided)):
            return fit + ejected or avoided
        return fit

    def look(self, fellows: Sequence[Health]) -> None:
        """Take in that other endpoints are there now."""
        self.is_any_out = any(health.is_out for health in fellows)

    def is_panic(self, fellows: Sequence[Health], now_s: float) -> bool:
        """Tell whether so many are out that those are asked, too."""
        if len(fellows) < 2:  # noqa: PLR2004 - the only one is never out
            return False
        fit, ejected, avoided = self._sorted(fellows, now_s)
        return self._is_panic(len(fit), len(ejected), len(avoided))

    def _sorted(
        self, fellows: Sequence[Health], now_s: float
    ) -> tuple[list[int], list[int], list[int]]:
        """Return who is fit, who is ejected and who is avoided, by index."""
        fit: list[int] = []
        ejected: list[int] = []
        avoided: list[int] = []
        for index, health in enumerate(fellows):
            if not health.is_out:
                fit.append(index)
            elif now_s < health.held_until_s:
                continue
            elif now_s < health.avoided_until_s or not health.was_ejected:
                avoided.append(index)
            else:
                ejected.append(index)
        return fit, ejected, avoided

    def _is_panic(self, fit: int, ejected: int, avoided: int) -> bool:
        """Tell whether to ask whom we would not: who is absent is no reason for it."""
        if not self._limits.is_panicking:
            return False
        least = self._limits.panic_threshold_ratio * (fit + ejected + avoided)
        return not fit or (ejected > 0 and fit + avoided < least)

    def has_sound_other(self, health: Health, fellows: Sequence[Health]) -> bool:
        """Tell whether another endpoint is in and did not fail last time."""
        return any(
            other is not health and not other.is_out and not other.strikes
            for other in fellows
        )

    # What was seen.

    def settle(
        self,
        health: Health,
        sign: Sign,
        fellows: Sequence[Health],
        start_s: float,
        now_s: float,
        *,
        cause: str = "",
        is_probe: bool = False,
    ) -> None:
        """Take what an attempt showed, and judge by it."""
        if is_probe:
            health.lease_until_s = 0.0
        elif start_s <= health.since_s:  # A clock may stand still in a burst.
            return
        if sign is _NEUTRAL:
            return
        if sign is _GOOD:
            self._succeed(health, now_s)
            return
        if sign is not _AWAY:
            health.bad += 1
            health.strikes += 1
            health.is_marked = True
        if now_s >= health.ejected_until_s and self._eject_if_due(
            health, sign, fellows, now_s, cause, is_probe=is_probe
        ):
            return
        if sign is _ABSENT or sign is _AWAY or is_probe:
            self._avoid(health, sign, now_s, cause)

    def tick(self, fellows: Sequence[Health], now_s: float) -> None:
        """End the interval, if it is over: compare success rates, let counts decay."""
        if now_s < self._turn_s:
            return
        is_first = not self._turn_s
        self._turn_s = now_s + self._limits.interval_s
        if not is_first:
            self._compare(fellows, now_s)
        for health in fellows:
            is_healthy = not (health.is_out or health.bad)
            if is_healthy and health.times_ejected and not is_first:
                health.times_ejected -= 1
            health.good = health.bad = 0

    def hold(self, health: Health, now_s: float, until_s: float) -> None:
        """Eject by hand until `until_s`, whatever the caps say."""
        health.held_until_s = until_s
        health.was_ejected = True
        self._go_out(health, _EJECTED, now_s, Reason.BY_HAND, "ejected by hand")

    def release(self, health: Health) -> None:
        """Bring back by hand, at once."""
        self._return(health, "brought back by hand")

    # Inside.

    def _succeed(self, health: Health, now_s: float) -> None:
        health.good += 1
        health.strikes = 0
        if not health.is_out:
            health.is_marked = False
        elif now_s >= health.ejected_until_s and now_s >= health.held_until_s:
            self._return(health, "a probe succeeded")

    def _eject_if_due(
        self,
        health: Health,
        sign: Sign,
        fellows: Sequence[Health],
        now_s: float,
        cause: str,
        *,
        is_probe: bool,
    ) -> bool:
        """Eject if this failure is one too many, and there is room."""
        most = self._limits.consecutive_failures
        is_due = 0 < most <= health.strikes and sign is not _AWAY
        is_failed_probe = is_probe and health.was_ejected and sign is not _AWAY
        if not (is_due or is_failed_probe) or not self._has_room(health, fellows):
            return False
        if is_failed_probe:
            self._eject(health, now_s, Reason.PROBE_FAILED, f"a probe failed: {cause}")
        else:
            words = f"{health.strikes} failures in a row, the last: {cause}"
            self._eject(health, now_s, Reason.CONSECUTIVE_FAILURES, words)
        return True

    def _has_room(self, health: Health, fellows: Sequence[Health]) -> bool:
        """Tell whether one more may be ejected: never the last that is in."""
        count = len(fellows)
        ratio = self._limits.max_ejected_ratio
        if ratio is None:
            ratio = _OF_FEW_RATIO if count <= _FEW else _OF_MANY_RATIO
        most = max(1, floor(ratio * count + _ROUNDING))
        others = [other for other in fellows if other is not health]
        ejected = sum(other.is_out and other.was_ejected for other in others)
        return ejected < most and any(not other.is_out for other in others)

    def _eject(self, health: Health, now_s: float, reason: Reason, cause: str) -> None:
        limits = self._limits
        health.times_ejected += 1
        wait_s = limits.base_ejection_s * health.times_ejected
        wait_s = self._spread(min(wait_s, limits.max_ejection_s))
        health.ejected_until_s = now_s + min(wait_s, limits.max_ejection_s)
        health.was_ejected = True
        self._go_out(health, _EJECTED, now_s, reason, cause)

    def _avoid(self, health: Health, sign: Sign, now_s: float, cause: str) -> None:
        if now_s < health.avoided_until_s:
            return  # Asked all the same, for want of others: no longer for that.
        limits = self._limits
        doublings = min(health.avoidances, _MAX_DOUBLINGS)
        health.avoidances += 1
        wait_s = min(limits.avoid_s * 2.0**doublings, limits.base_ejection_s)
        health.avoided_until_s = now_s + self._spread(wait_s)
        reason = Reason.AWAY if sign is _AWAY else Reason.ABSENT
        standing = _EJECTED if now_s < health.ejected_until_s else _AVOIDED
        self._go_out(health, standing, now_s, reason, cause)

    def _spread(self, wait_s: float) -> float:
        return wait_s * (1.0 + self._limits.jitter_ratio * self._rng.uniform(-1.0, 1.0))

    def _go_out(
        self,
        health: Health,
        standing: Standing,
        now_s: float,
        reason: Reason,
        cause: str,
    ) -> None:
        health.is_out = health.is_marked = self.is_any_out = True
        health.since_s = now_s
        health.lease_until_s = 0.0
        self._move(health, standing, reason, cause)

    def _return(self, health: Health, cause: str) -> None:
        health.is_out = health.is_marked = health.was_ejected = False
        health.avoided_until_s = health.ejected_until_s = health.held_until_s = 0.0
        health.lease_until_s = 0.0
        health.strikes = health.avoidances = 0
        self._move(health, _HEALTHY, Reason.RETURNED, cause)

    def _move(
        self, health: Health, standing: Standing, reason: Reason, cause: str
    ) -> None:
        before, health.standing = health.standing, standing
        health.cause = cause
        is_news = before is not standing or reason is Reason.PROBE_FAILED
        if is_news and self.on_move is not None:
            self.on_move(health.name, before, standing, reason, cause)

    def _compare(self, fellows: Sequence[Health], now_s: float) -> None:
        """Eject whose success rate is far below the others', the worst first.

        Source: Envoy, "Outlier detection", "Success Rate".
        """
        limits = self._limits
        rates = [
            (health.good / (health.good + health.bad), index)
            for index, health in enumerate(fellows)
            if not health.is_out
            and health.good + health.bad >= max(1, limits.success_rate_min_requests)
        ]
        if not limits.success_rate_stdev or len(rates) < limits.success_rate_min_hosts:
            return
        mean = sum(rate for rate, _ in rates) / len(rates)
        stdev = sqrt(sum((rate - mean) ** 2 for rate, _ in rates) / len(rates))
        least = mean - limits.success_rate_stdev * stdev
        for rate, index in sorted(rates):
            if rate >= least or not self._has_room(fellows[index], fellows):
                return
            words = f"{rate:.1%} of its requests succeeded, {mean:.1%} of all"
            self._eject(fellows[index], now_s, Reason.SUCCESS_RATE, words)
