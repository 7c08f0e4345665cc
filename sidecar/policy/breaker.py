"""Circuit breaker: stop sending to an upstream that keeps failing.

            failure ratio, slow ratio,
            or connection failures in a row          open_s, doubling
    CLOSED --------------------------------> OPEN ----------------------+
      ^                                       ^                         v
      +-- probes_to_close good -- HALF_OPEN --+-- one bad           HALF_OPEN
                                              at most `probes` in flight

All permits of one closed period are the same number, so that the usual case
costs next to nothing; one of an older period is worth nothing, so that a
straggler can neither close the circuit nor open it. Each probe has a number and
a lease of its own: lost, it runs out, and cannot keep the circuit half open.

A hand can hold it open or closed for a while. Held open it is an ordinary OPEN
with another end; held closed it lets all pass and counts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Final, NewType

from sidecar.policy.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Permit = NewType("Permit", int)


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
_CLOSED: Final = State.CLOSED
_OPEN: Final = State.OPEN
_HALF_OPEN: Final = State.HALF_OPEN
_GOOD: Final = Verdict.GOOD
_BAD: Final = Verdict.BAD
_NEUTRAL: Final = Verdict.NEUTRAL

_UNCOUNTED: Final = Permit(0)  # Issued while it is held closed: says nothing.
_NOT_CLOSED: Final = Permit(-1)  # Never issued.
_RAMP: Final[tuple[tuple[float, float], ...]] = ((1 / 3, 0.25), (2 / 3, 0.5))
_SAFE_FIRST_S: Final = 1.0  # Without a safe request for so long, any may probe.
_NEVER_S: Final = float("inf")
_LONG_AGO_S: Final = float("-inf")
_MAX_DOUBLINGS: Final = 32  # Beyond any sane open_max_s, and 2.0**32 is still finite.
_RETRY_SOON_S: Final = 1.0  # When a place is free again is anybody's guess.


class CircuitBreaker:
    """Decides, for one route and upstream, whether an attempt may be made.

    Every permit is settled exactly once, also when the caller goes away.
    Belongs to one event loop; nothing awaits, so nothing needs a lock.
    """

    __slots__ = (
        "_bad",
        "_base",
        "_calls",
        "_current",
        "_good_probes",
        "_has_strikes",
        "_held_until_s",
        "_in_a_row",
        "_issued",
        "_leases",
        "_limits",
        "_open_until_s",
        "_openings",
        "_pass",
        "_ramp_from_s",
        "_rng",
        "_slow",
        "_slow_call_s",
        "_state",
        "_turn_s",
        "_unsafe_from_s",
        "_window",
        "cause",
        "on_transition",
    )

    def __init__(self, limits: BreakerLimits, rng: Random) -> None:
        self._limits = limits
        self._rng = rng
        self._slow_call_s = (
            _NEVER_S if limits.slow_call_s is None else limits.slow_call_s
        )
        self._state = _CLOSED
        self._issued = 1  # The last permit that has its own number.
        self._current = Permit(1)  # That of this closed period.
        self._pass: Permit | None = self._current  # Given without a question.
        self._held_until_s: float | None = None  # By hand.
        self._ramp_from_s: float | None = None
        self._open_until_s = 0.0
        self._openings = 0  # In a row, without having been closed.
        self._unsafe_from_s = _LONG_AGO_S  # From then on an unsafe one may probe.
        self._leases: dict[Permit, float] = {}  # Of probes in flight: their ends.
        self._good_probes = 0
        self._calls = self._bad = self._slow = 0  # Since ever.
        self._base = (0, 0, 0)  # The same at the start of the window.
        self._window = Window(limits.window_s, self._base)
        self._turn_s = self._window.next_turn_s
        self._has_strikes = False  # Something bad or slow is in the window.
        self._in_a_row = 0
        self.cause = ""  # Of the last change, for people.
        self.on_transition: Callable[[State, State, str], None] | None = None

    def lease_for(self, seconds: float) -> None:
        """Give probes that begin from now on so long."""
        self._limits = replace(self._limits, probe_lease_s=seconds)

    def __repr__(self) -> str:
        """Return its state in a line."""
        calls, bad, slow = self._counts()
        held = "" if self._held_until_s is None else f" held={self._held_until_s:g}"
        return (
            f"<CircuitBreaker {self._state.value} calls={calls} bad={bad} slow={slow}"
            f" in_a_row={self._in_a_row} probes={len(self._leases)}{held}>"
        )

    @property
    def probes_in_flight(self) -> int:
        """Probes that were let through and are not settled."""
        return len(self._leases)

    @property
    def state(self) -> State:
        """State after the last call; reading it changes nothing."""
        return self._state

    def state_at(self, now_s: float) -> State:
        """Return the state that a request would find now; nothing changes.

        It differs from `state` once a wait is over and nobody has asked since.
        """
        is_due = self._state is _OPEN and now_s >= self._open_until_s
        return _HALF_OPEN if is_due else self._state

    def admit(self, now_s: float, *, is_safe: bool = True) -> Permit | None:
        """Return a permit for one attempt, or None to refuse it.

        Args:
            now_s: Now.
            is_safe: Whether the method is safe (RFC 9110, 9.2.1): those probe
                first; another one does when none came for a second.
        """
        if self._pass is not None:
            return self._pass
        if self._state is _CLOSED:
            return self._admit_with_care(now_s)
        if self._state is _OPEN and now_s < self._open_until_s:
            return None
        return self._admit_probe(now_s, is_safe=is_safe)

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
        is_slow = duration_s > self._slow_call_s
        if permit != self._current:
            self._settle_probe(permit, verdict, now_s, is_slow=is_slow)
            return
        if verdict is _NEUTRAL:
            return
        if now_s >= self._turn_s:
            self._turn(now_s)
        self._calls += 1
        if verdict is _GOOD:
            self._in_a_row = 0
        else:
            self._bad += 1
            self._in_a_row = self._in_a_row + 1 if is_connection_level else 0
            self._has_strikes = True
        if is_slow:
            self._slow += 1
            self._has_strikes = True
        if self._has_strikes:
            self._judge(now_s)

    def retry_after_s(self, now_s: float) -> float:
        """Return in how many seconds an attempt may be admitted.

        While it is half open, or in the ramp after closing, that is a guess.
        """
        if self._state is _OPEN:
            left_s = self._open_until_s - now_s
            return left_s if left_s > 0 else max(0.0, self._unsafe_from_s - now_s)
        is_choosy = self._state is _HALF_OPEN or self._ramp_from_s is not None
        return _RETRY_SOON_S if is_choosy else 0.0

    def force(self, state: State | None, until_s: float = 0.0) -> None:
        """Hold it open or closed by hand until `until_s`; None: let it go.

        Let go, an open one probes at once, a closed one counts afresh.

        Raises:
            ValueError: Half open is not a state to be held in.
        """
        if state is _HALF_OPEN:
            msg = "a breaker can be held open or closed"
            raise ValueError(msg)
        if state is None:
            self._let_go()
            return
        self._openings = 0
        if state is _OPEN:
            self._open_until_s = until_s
            self._unsafe_from_s = until_s + _SAFE_FIRST_S
        self._enter(state, "forced by hand", held_until_s=until_s)

    def hold_like(self, other: CircuitBreaker, now_s: float) -> None:
        """Be held as another one is, if it is."""
        until_s = other._held_until_s
        if until_s is not None and now_s < until_s:
            self.force(other.state_at(now_s), until_s)

    def _let_go(self) -> None:
        if self._held_until_s is None:
            return
        self._held_until_s = None
        if self._state is _CLOSED:
            self._pass = self._current
        else:
            self._open_until_s = self._unsafe_from_s = _LONG_AGO_S

    def _admit_with_care(self, now_s: float) -> Permit | None:
        """Admit while it is held closed, or in the ramp after closing."""
        if self._held_until_s is not None:
            if now_s < self._held_until_s:
                return _UNCOUNTED
        elif self._ramp_from_s is not None:
            done_ratio = (now_s - self._ramp_from_s) / self._limits.ramp_s
            for until_ratio, share in _RAMP:
                if done_ratio < until_ratio:
                    is_let_in = self._rng.random() < share
                    return self._current if is_let_in else None
        self._held_until_s = self._ramp_from_s = None
        self._pass = self._current
        return self._current

    def _admit_probe(self, now_s: float, *, is_safe: bool) -> Permit | None:
        if is_safe:
            self._unsafe_from_s = now_s + _SAFE_FIRST_S
        elif now_s < self._unsafe_from_s:
            return None
        if self._state is _OPEN:
            self._enter(_HALF_OPEN, "time to probe")
        self._leases = {p: end_s for p, end_s in self._leases.items() if now_s < end_s}
        if len(self._leases) >= self._limits.probes:
            return None
        self._issued += 1
        permit = Permit(self._issued)
        self._leases[permit] = now_s + self._limits.probe_lease_s
        return permit

    def _settle_probe(
        self, permit: Permit, verdict: Verdict, now_s: float, *, is_slow: bool
    ) -> None:
        """Take a probe's result, unless its lease ran out or its period is over."""
        end_s = self._leases.pop(permit, _LONG_AGO_S)
        if now_s >= end_s:
            return
        if verdict is _NEUTRAL:
            if not self._leases:  # Safe ones that prove nothing do not go first.
                self._unsafe_from_s = now_s
        elif verdict is _BAD or is_slow:
            self._open(now_s, "a probe failed" if verdict is _BAD else "a slow probe")
        else:
            self._good_probes += 1
            if self._good_probes >= self._limits.probes_to_close:
                self._close(now_s)

    def _turn(self, now_s: float) -> None:
        """Forget what left the window."""
        calls, bad, slow = self._window.turn(
            now_s, (self._calls, self._bad, self._slow)
        )
        self._base = (calls, bad, slow)
        self._turn_s = self._window.next_turn_s
        self._has_strikes = self._bad > bad or self._slow > slow

    def _counts(self) -> tuple[int, int, int]:
        """Return calls, bad ones and slow ones in the window."""
        calls, bad, slow = self._base
        return self._calls - calls, self._bad - bad, self._slow - slow

    def _judge(self, now_s: float) -> None:
        """Open if the window holds too much that failed or was slow."""
        limits = self._limits
        calls, bad, slow = self._counts()
        is_enough = calls >= limits.min_requests
        if 0 < limits.consecutive_failures <= self._in_a_row:
            self._open(now_s, f"{self._in_a_row} connection failures in a row")
        elif is_enough and bad and bad >= limits.failure_ratio * calls:
            self._open(now_s, f"{bad} of {calls} attempts failed")
        elif is_enough and slow and slow >= limits.slow_ratio * calls:
            self._open(now_s, f"{slow} of {calls} attempts were slow")

    def _open(self, now_s: float, cause: str) -> None:
        limits = self._limits
        doublings = min(self._openings, _MAX_DOUBLINGS)
        wait_s = min(limits.open_s * 2.0**doublings, limits.open_max_s)
        spread = 1.0 + limits.jitter_ratio * self._rng.uniform(-1.0, 1.0)
        self._openings += 1
        self._open_until_s = now_s + wait_s * spread
        self._unsafe_from_s = self._open_until_s + _SAFE_FIRST_S
        self._enter(_OPEN, cause)

    def _close(self, now_s: float) -> None:
        self._openings = 0
        ramp_from_s = now_s if self._limits.ramp_s > 0 else None
        cause = f"{self._good_probes} probes succeeded"
        self._enter(_CLOSED, cause, ramp_from_s=ramp_from_s)

    def _enter(
        self,
        state: State,
        cause: str,
        *,
        held_until_s: float | None = None,
        ramp_from_s: float | None = None,
    ) -> None:
        """Begin a period: what was issued and counted before is void."""
        before, self._state = self._state, state
        self._held_until_s = held_until_s
        self._ramp_from_s = ramp_from_s
        self._current, self._pass = _NOT_CLOSED, None
        if state is _CLOSED:
            self._issued += 1
            self._current = Permit(self._issued)
            if held_until_s is None and ramp_from_s is None:
                self._pass = self._current
        self._leases = {}
        self._good_probes = self._in_a_row = 0
        self._base = (self._calls, self._bad, self._slow)
        self._window.restart(self._base)
        self._has_strikes = False
        self.cause = cause
        if before is not state and self.on_transition is not None:
            self.on_transition(before, state, cause)
