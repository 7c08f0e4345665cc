"""How long to wait before sending a request again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

_MAX_DOUBLINGS: Final = 64  # Beyond any sane max_s, and 2.0**64 is still finite.


class _Compiled:
    """What the settings come to; apart from the fields, for it is no setting."""

    __slots__ = ("ceilings_s",)

    ceilings_s: tuple[float, ...]  # The longest wait before each retry; the last stays.


@dataclass(frozen=True, slots=True)
class Backoff(_Compiled):
    """Exponential backoff with full jitter."""

    base_s: float = 0.025
    max_s: float = 0.25

    def __post_init__(self) -> None:
        """Work out once what every retry needs."""
        steps = (2.0**retry - 1.0 for retry in range(_MAX_DOUBLINGS + 1))
        ceilings_s = tuple(min(self.max_s, self.base_s * step) for step in steps)
        object.__setattr__(self, "ceilings_s", ceilings_s)

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
        index = retry if retry < _MAX_DOUBLINGS else -1
        return self.ceilings_s[index] * rng.random()
