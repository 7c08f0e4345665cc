"""What the demo says of durations."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.demo.numbers import Row, in_ms, totals
from sidecar.record.metrics.histogram import DURATION_BOUNDS_S, Histogram, quantile_s

BOUNDS_S = (1.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("counts", "ratio", "expected_s"),
    [
        ((0, 0, 0, 0), 0.5, None),
        ((10, 0, 0, 0), 0.5, 0.5),
        ((5, 5, 0, 0), 0.5, 1.0),
        ((0, 0, 4, 0), 0.5, 3.0),
        ((1, 0, 0, 9), 0.95, 4.0),
    ],
)
def test_a_quantile_lies_straight_between_the_bounds_of_its_bucket(
    counts: tuple[int, ...], ratio: float, expected_s: float | None
) -> None:
    assert quantile_s(BOUNDS_S, counts, ratio) == expected_s


@given(st.lists(st.floats(0, 9.9), min_size=1), st.floats(0.01, 1))
def test_a_quantile_is_in_the_bucket_of_the_one_it_stands_for(
    durations_s: list[float], ratio: float
) -> None:
    histogram = Histogram(DURATION_BOUNDS_S)
    for duration_s in durations_s:
        histogram.observe(duration_s)
    rank = next(
        n for n in range(1, len(durations_s) + 1) if n >= ratio * len(durations_s)
    )
    true_s = sorted(durations_s)[rank - 1]
    found_s = quantile_s(DURATION_BOUNDS_S, histogram.counts, ratio)
    assert found_s is not None
    bucket = bisect_left(DURATION_BOUNDS_S, true_s)
    low_s = DURATION_BOUNDS_S[bucket - 1] if bucket else 0.0
    assert low_s <= found_s <= DURATION_BOUNDS_S[bucket] * (1 + 1e-9)


def test_totals_are_those_of_the_rows() -> None:
    found = [Row("a", requests=3, failed=1, retries=2), Row("b", requests=4)]
    assert totals(found, 61.4) == ("61 s: 7 requests, 1 failed with a code, 2 retries")
    assert found[0].success_ratio == pytest.approx(2 / 3)
    assert Row("c").success_ratio is None


def test_a_duration_that_nobody_knows_is_a_dash() -> None:
    assert in_ms(None) == "-"
    assert in_ms(0.0214) == "21 ms"
