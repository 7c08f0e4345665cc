"""How long to wait before sending a request again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_MAX_DOUBLINGS = 64  # Beyond any sane max_s, and 2.0**64 is still finite.


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter."""

    base_s: float = 0.025
    max_s: float = 0.25

    def delay_s(self, retry: int, rng: Random) -> float:
        """Return how long to wait before retry number `retry`.

        Uniform in ``[0, min(max_s, base_s * (2**retry - 1))]``.

        Args:
            retry: 1 for the first retry; the original request has no delay.
            rng: Source of the jitter; tests pass a seeded one.

        Returns:
            Seconds, between 0 and `max_s`.

        Raises:
            ValueError: `retry` is below 1.

        Source:
            "Full Jitter" in M. Brooker, "Exponential Backoff And Jitter",
            AWS Architecture Blog, 2015; the steps are Envoy's.
        """
        if retry < 1:
            msg = f"retry counts from 1, got {retry}"
            raise ValueError(msg)
        steps = 2.0 ** min(retry, _MAX_DOUBLINGS) - 1.0
        return rng.uniform(0.0, min(self.max_s, self.base_s * steps))
