"""Retry budget: how many retries an upstream can bear.

Retries help while few requests fail, and kill an upstream when most do. So a
retry needs both of

    room in time    retries of the window < ratio * requests of it + a minimum
    room at once    retries in flight < max(min_concurrent, ratio * in flight)

Source: Finagle's RetryBudget (the window), Envoy's retry_budget (at once).
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.policy.window import Window


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """How much a retry budget gives."""

    ratio: float = 0.2  # Retries for each first try.
    window_s: float = 10.0
    min_per_s: float = 1.0  # Given even without traffic.
    min_concurrent: int = 3


class RetryBudget:
    """Counts first tries and retries of one upstream; says if one more may be.

    Each `request_started` is followed by one `request_ended`, each withdrawal
    that was granted by one `retry_ended`.
    """

    __slots__ = (
        "_base_requests",
        "_base_retries",
        "_ended_requests",
        "_ended_retries",
        "_min_concurrent",
        "_min_in_window",
        "_ratio",
        "_requests",
        "_retries",
        "_turn_s",
        "_window",
    )

    def __init__(self, limits: BudgetLimits) -> None:
        self._ratio = limits.ratio
        self._min_concurrent = limits.min_concurrent
        self._min_in_window = limits.min_per_s * limits.window_s
        self._requests = self._retries = 0  # Since ever.
        self._ended_requests = self._ended_retries = 0
        self._base_requests = self._base_retries = 0  # At the start of the window.
        self._window = Window(limits.window_s, (0, 0))
        self._turn_s = self._window.next_turn_s

    def __repr__(self) -> str:
        """Return its state in a line."""
        return (
            f"<RetryBudget requests={self._requests - self._base_requests}"
            f" retries={self._retries - self._base_retries}"
            f" active={self._retries - self._ended_retries}"
            f"/{self._requests - self._ended_requests}>"
        )

    @property
    def requests_in_flight(self) -> int:
        """Requests that were started and are not over."""
        return self._requests - self._ended_requests

    @property
    def retries_in_flight(self) -> int:
        """Retries that were granted and are not over."""
        return self._retries - self._ended_retries

    def request_started(self, now_s: float) -> None:
        """Count a first try."""
        if now_s >= self._turn_s:
            self._turn(now_s)
        self._requests += 1

    def request_ended(self) -> None:
        """Its request, retries included, is over."""
        self._ended_requests += 1

    def try_withdraw(self, now_s: float) -> bool:
        """Take one retry out of the budget, if it holds one."""
        if now_s >= self._turn_s:
            self._turn(now_s)
        retries = self._retries + 1
        at_once = retries - self._ended_retries
        if at_once > self._min_concurrent and at_once > self._ratio * (
            self._requests - self._ended_requests
        ):
            return False
        in_window = self._requests - self._base_requests
        most = self._ratio * in_window + self._min_in_window
        if retries - self._base_retries > most:
            return False
        self._retries = retries
        return True

    def retry_ended(self) -> None:
        """A retry that was granted is over."""
        self._ended_retries += 1

    def balance(self, now_s: float) -> float:
        """Return how many retries could be made now."""
        if now_s >= self._turn_s:
            self._turn(now_s)
        in_window = self._ratio * (self._requests - self._base_requests)
        in_window += self._min_in_window - (self._retries - self._base_retries)
        active = self._ratio * (self._requests - self._ended_requests)
        at_once = max(self._min_concurrent, active)
        at_once -= self._retries - self._ended_retries
        return max(0.0, min(in_window, at_once))

    def _turn(self, now_s: float) -> None:
        """Forget what left the window."""
        totals = (self._requests, self._retries)
        self._base_requests, self._base_retries = self._window.turn(now_s, totals)
        self._turn_s = self._window.next_turn_s
