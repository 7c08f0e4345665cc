"""Retry budget: how many retries an upstream can bear.

Retries help while few requests fail, and kill an upstream when most do. So a
retry needs both of

    room in time    retries of the window < ratio * requests of it + a minimum
    room at once    retries in flight < max(min_concurrent, ratio * in flight)

Source: Finagle's RetryBudget (the window), Envoy's retry_budget (at once).
"""

from __future__ import annotations

from dataclasses import dataclass


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
        "_active_requests",
        "_active_retries",
        "_bucket_s",
        "_limits",
        "_newest",
        "_requests",
        "_requests_sum",
        "_retries",
        "_retries_sum",
    )

    _BUCKETS = 10

    def __init__(self, limits: BudgetLimits) -> None:
        self._limits = limits
        self._bucket_s = limits.window_s / self._BUCKETS
        self._newest = 0
        self._requests = [0] * self._BUCKETS
        self._retries = [0] * self._BUCKETS
        self._requests_sum = 0
        self._retries_sum = 0
        self._active_requests = 0
        self._active_retries = 0

    def __repr__(self) -> str:
        """Return its state in a line."""
        return (
            f"<RetryBudget requests={self._requests_sum} retries={self._retries_sum}"
            f" active={self._active_retries}/{self._active_requests}>"
        )

    def request_started(self, now_s: float) -> None:
        """Count a first try."""
        bucket = int(now_s / self._bucket_s)
        if bucket != self._newest:
            self._turn(bucket)
        self._requests[bucket % self._BUCKETS] += 1
        self._requests_sum += 1
        self._active_requests += 1

    def request_ended(self) -> None:
        """Its request, retries included, is over."""
        self._active_requests -= 1

    def try_withdraw(self, now_s: float) -> bool:
        """Take one retry out of the budget, if it holds one."""
        if self.balance(now_s) < 1.0:
            return False
        self._retries[self._newest % self._BUCKETS] += 1
        self._retries_sum += 1
        self._active_retries += 1
        return True

    def retry_ended(self) -> None:
        """A retry that was granted is over."""
        self._active_retries -= 1

    def balance(self, now_s: float) -> float:
        """Return how many retries could be made now."""
        bucket = int(now_s / self._bucket_s)
        if bucket != self._newest:
            self._turn(bucket)
        limits = self._limits
        in_window = (
            limits.ratio * self._requests_sum
            + limits.min_per_s * limits.window_s
            - self._retries_sum
        )
        at_once = (
            max(limits.min_concurrent, limits.ratio * self._active_requests)
            - self._active_retries
        )
        return max(0.0, min(in_window, at_once))

    def _turn(self, bucket: int) -> None:
        """Forget the buckets that left the window."""
        gone = min(max(bucket - self._newest, 0), self._BUCKETS)
        for offset in range(1, gone + 1):
            index = (self._newest + offset) % self._BUCKETS
            self._requests_sum -= self._requests[index]
            self._retries_sum -= self._retries[index]
            self._requests[index] = self._retries[index] = 0
        self._newest = max(bucket, self._newest)
