"""Circuit breaker: stop sending to an upstream that keeps failing.

            failure ratio, slow ratio,
            or connection failures in a row          open_s, doubling
    CLOSED --------------------------------> OPEN ----------------------+
      ^                                       ^                         v
      +-- probes_to_close good -- HALF_OPEN --+-- one bad           HALF_OPEN
                                              at most `probes` in flight

Each permit carries the generation in which it was issued; a result of an older
one is ignored, so that a straggler can neither close the circuit nor open it. A
probe is a lease: lost, it runs out, and cannot keep the circuit half open.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Permit = NewType("Permit", int)  # The generation it was issued in; from 1.


class State(Enum):
    """As in an electrical circuit: CLOSED lets requests pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Verdict(Enum):
    """What a finished attempt says about the upstream."""

    GOOD = "good"
    BAD = "bad"
    NEUTRAL = "neutral"  # Cancelled, or failed for a reason of our own.


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When to open, and for how long."""

    failure_ratio: float = 0.5
    min_requests: int = 20
    window_s: float = 10.0
    consecutive_failures: int = 5  # Of the connection; 0: not looked at.
    slow_call_s: float | None = None
    slow_ratio: float = 0.8
    open_s: float = 5.0
    open_max_s: float = 60.0
    jitter_ratio: float = 0.2
    probes: int = 3  # In flight at once.
    probes_to_close: int = 3
    probe_lease_s: float = 15.0
    ramp_s: float = 0.0  # After closing: 25, 50, then 100 % of requests; 0: off.


# Members by module names: through the class, 3.11 takes ten times as long.
_CLOSED, _OPEN, _HALF_OPEN = State
_GOOD, _BAD, _NEUTRAL = Verdict

_BUCKETS = 10
_RAMP = ((1 / 3, 0.25), (2 / 3, 0.5))
_UNSAFE_PROBE_AFTER_S = 1.0  # Without a safe request by then, any will do.


class CircuitBreaker:
    """Decides, for one route and upstream, whether an attempt may be made.

    Every permit is settled exactly once, also when the caller goes away.
    Belongs to one event loop; nothing awaits, so nothing needs a lock.
    """

    __slots__ = (
        "_bad",
        "_bucket_s",
        "_calls",
        "_closed_at_s",
        "_forced",
        "_forced_until_s",
        "_generation",
        "_good_probes",
        "_in_a_row",
        "_leases",
        "_limits",
        "_newest",
        "_open_until_s",
        "_openings",
        "_rng",
        "_slow",
        "_state",
        "_sums",
        "cause",
        "on_transition",
    )

    def __init__(self, limits: BreakerLimits, rng: Random) -> None:
        self._limits = limits
        self._rng = rng
        self._bucket_s = limits.window_s / _BUCKETS
        self._state = _CLOSED
        self._generation = 1
        self._open_until_s = 0.0
        self._closed_at_s = _LONG_AGO_S
        self._openings = 0  # In a row, without having been closed.
        self._good_probes = 0
        self._leases: list[float] = []
        self._in_a_row = 0
        self._forced: State | None = None
        self._forced_until_s = 0.0
        self.cause = ""  # Of the last change, for people.
        self.on_transition: Callable[[State, State, str], None] | None = None
        self._clear()

    def __repr__(self) -> str:
        """Return its state in a line."""
        calls, bad, slow = self._sums
        return (
            f"<CircuitBreaker {self._state.value} calls={calls} bad={bad} slow={slow}"
            f" in_a_row={self._in_a_row} probes={len(self._leases)}>"
        )

    @property
    def state(self) -> State:
        """State after the last call; reading it changes nothing."""
        return self._state

    def admit(self, now_s: float, *, is_safe: bool = True) -> Permit | None:
        """Return a permit for one attempt, or None to refuse it.

        Args:
            now_s: Now.
            is_safe: Whether the method is safe (RFC 9110, 9.2.1): those probe
                first; another one does when none came for a second.
        """
        if self._state is _CLOSED and self._forced is None:
            if self._closed_at_s != _LONG_AGO_S and not self._is_in_ramp(now_s):
                return None
            return Permit(self._generation)
        if self._forced is not None:
            return self._admit_forced(now_s, is_safe=is_safe)
        if self._state is _OPEN:
            if now_s < self._open_until_s:
                return None
            if not is_safe and now_s < self._open_until_s + _UNSAFE_PROBE_AFTER_S:
                return None
            self._enter(_HALF_OPEN, "time to probe")
        return self._admit_probe(now_s)

    def settle(
        self,
        permit: Permit,
        verdict: Verdict,
        now_s: float,
        *,
        is_connection_level: bool = False,
        duration_s: float = 0.0,
    ) -> None:
        """Hand a permit back with what the attempt showed."""
        if permit != self._generation:
            return  # Issued before the last change of state: it proves nothing.
        if self._state is _CLOSED:
            if verdict is not _NEUTRAL:
                self._count(
                    verdict, now_s, duration_s, is_connection_level=is_connection_level
                )
        elif self._state is _HALF_OPEN:
            self._settle_probe(verdict, now_s)

    def retry_after_s(self, now_s: float) -> float:
        """Return when an attempt may be admitted again."""
        if self._forced is _OPEN:
            return max(0.0, self._forced_until_s - now_s)
        if self._state is _OPEN:
            return max(0.0, self._open_until_s - now_s)
        return 1.0 if self._state is _HALF_OPEN else 0.0

    def force(self, state: State | None, until_s: float = 0.0) -> None:
        """Hold it open or closed by hand until `until_s`; None: let it go."""
        self._forced = state
        self._forced_until_s = until_s
        if state is not None and state is not self._state:
            self._enter(state, "forced by hand")
        if state is _OPEN:
            self._open_until_s = until_s

    def _admit_forced(self, now_s: float, *, is_safe: bool) -> Permit | None:
        if now_s >= self._forced_until_s:
            self._forced = None
            return self.admit(now_s, is_safe=is_safe)
        return None if self._forced is _OPEN else Permit(self._generation)

    def _admit_probe(self, now_s: float) -> Permit | None:
        self._leases = [until_s for until_s in self._leases if until_s > now_s]
        if len(self._leases) >= self._limits.probes:
            return None
        self._leases.append(now_s + self._limits.probe_lease_s)
        return Permit(self._generation)

    def _settle_probe(self, verdict: Verdict, now_s: float) -> None:
        if self._leases:
            self._leases.pop(0)
        if verdict is _BAD:
            self._open(now_s, "a probe failed")
        elif verdict is _GOOD:
            self._good_probes += 1
            if self._good_probes >= self._limits.probes_to_close:
                self._openings = 0
                self._closed_at_s = now_s if self._limits.ramp_s else _LONG_AGO_S
                self._enter(_CLOSED, f"{self._good_probes} probes succeeded")

    def _is_in_ramp(self, now_s: float) -> bool:
        """Let a growing share pass for a while after closing."""
        done = (now_s - self._closed_at_s) / self._limits.ramp_s
        for until, share in _RAMP:
            if done < until:
                return self._rng.random() < share
        self._closed_at_s = _LONG_AGO_S
        return True

    def _count(
        self,
        verdict: Verdict,
        now_s: float,
        took_s: float,
        *,
        is_connection_level: bool,
    ) -> None:
        limits = self._limits
        bucket = int(now_s / self._bucket_s)
        if bucket != self._newest:
            self._turn(bucket)
        index = bucket % _BUCKETS
        sums = self._sums
        self._calls[index] += 1
        sums[0] += 1
        if limits.slow_call_s is not None and took_s > limits.slow_call_s:
            self._slow[index] += 1
            sums[2] += 1
            self._open_if_slow(now_s)
        if verdict is _GOOD:
            self._in_a_row = 0
            return
        self._bad[index] += 1
        sums[1] += 1
        self._in_a_row = self._in_a_row + 1 if is_connection_level else 0
        if self._state is _CLOSED:
            self._open_if_failing(now_s)

    def _open_if_failing(self, now_s: float) -> None:
        limits, (calls, bad, _) = self._limits, self._sums
        if 0 < limits.consecutive_failures <= self._in_a_row:
            self._open(now_s, f"{self._in_a_row} connection failures in a row")
        elif calls >= limits.min_requests and bad >= limits.failure_ratio * calls:
            self._open(now_s, f"{bad} of {calls} attempts failed")

    def _open_if_slow(self, now_s: float) -> None:
        limits, (calls, _, slow) = self._limits, self._sums
        if calls >= limits.min_requests and slow >= limits.slow_ratio * calls:
            self._open(now_s, f"{slow} of {calls} attempts were slow")

    def _open(self, now_s: float, cause: str) -> None:
        limits = self._limits
        wait_s = min(limits.open_s * 2.0 ** min(self._openings, 32), limits.open_max_s)
        spread = 1.0 + limits.jitter_ratio * self._rng.uniform(-1.0, 1.0)
        self._openings += 1
        self._open_until_s = now_s + wait_s * spread
        self._enter(_OPEN, cause)

    def _enter(self, state: State, cause: str) -> None:
        before, self._state = self._state, state
        self._generation += 1
        self._good_probes = 0
        self._leases = []
        self._in_a_row = 0
        self.cause = cause
        self._clear()
        if self.on_transition is not None:
            self.on_transition(before, state, cause)

    def _clear(self) -> None:
        self._newest = 0
        self._calls = [0] * _BUCKETS
        self._bad = [0] * _BUCKETS
        self._slow = [0] * _BUCKETS
        self._sums = [0, 0, 0]  # Calls, bad ones, slow ones.

    def _turn(self, bucket: int) -> None:
        """Forget the buckets that left the window."""
        gone = min(max(bucket - self._newest, 0), _BUCKETS)
        for offset in range(1, gone + 1):
            index = (self._newest + offset) % _BUCKETS
            for column, counts in enumerate((self._calls, self._bad, self._slow)):
                self._sums[column] -= counts[index]
                counts[index] = 0
        self._newest = max(bucket, self._newest)


_LONG_AGO_S = float("-inf")
