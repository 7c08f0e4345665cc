"""Waits before retries."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.backoff import Backoff


@given(
    base_s=st.floats(0, 10),
    max_s=st.floats(0, 100),
    retry=st.integers(1, 2000),
    seed=st.integers(),
)
def test_no_wait_is_negative_or_above_the_cap(
    base_s: float, max_s: float, retry: int, seed: int
) -> None:
    ceiling_s = min(max_s, base_s * (2.0 ** min(retry, 64) - 1))
    assert 0 <= Backoff(base_s, max_s).delay_s(retry, Random(seed)) <= ceiling_s


def test_waits_spread_over_all_that_is_allowed() -> None:
    """Full jitter: retries of many callers must not come at the same time."""
    rng, backoff = Random(316), Backoff(base_s=0.025, max_s=0.25)
    for retry, ceiling_s in ((1, 0.025), (2, 0.075), (3, 0.175), (4, 0.25), (9, 0.25)):
        waits_s = [backoff.delay_s(retry, rng) for _ in range(500)]
        assert min(waits_s) < 0.1 * ceiling_s
        assert 0.9 * ceiling_s < max(waits_s) <= ceiling_s


def test_retries_count_from_one() -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        Backoff().delay_s(0, Random(1))
