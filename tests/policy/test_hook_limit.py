"""How often the recovery hook may run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.hook_limit import HookLimit, HookLimits

LIMITS = HookLimits(after=2, min_interval_s=60.0, max_per_hour=3)


def test_it_waits_for_as_many_failures_as_it_should() -> None:
    limit = HookLimit()
    assert limit.refusal(LIMITS, 1, 0.0) == ""
    assert limit.refusal(LIMITS, 2, 0.0) is None


def test_not_soon_again() -> None:
    limit = HookLimit()
    limit.ran(0.0)
    assert "min_interval" in str(limit.refusal(LIMITS, 9, 59.9))
    assert limit.refusal(LIMITS, 9, 60.0) is None


def test_not_often_an_hour_and_again_when_the_first_is_an_hour_old() -> None:
    limit = HookLimit()
    for at_s in (0.0, 100.0, 200.0):
        limit.ran(at_s)
    assert "max_per_hour" in str(limit.refusal(LIMITS, 9, 3599.9))
    assert limit.refusal(LIMITS, 9, 3600.0) is None


@given(
    st.lists(st.floats(0.1, 900.0), max_size=80),
    st.floats(0.0, 600.0),
    st.integers(1, 5),
)
def test_no_hour_has_more_runs_than_it_may(
    gaps: list[float], min_interval_s: float, most: int
) -> None:
    """And no two are closer than they may be, whenever it is asked."""
    limit, limits = HookLimit(), HookLimits(1, min_interval_s, most)
    now_s, runs_s = 0.0, list[float]()
    for gap_s in gaps:
        now_s += gap_s
        if limit.refusal(limits, 1, now_s) is None:
            limit.ran(now_s)
            runs_s.append(now_s)
    for index, at_s in enumerate(runs_s):
        assert sum(at_s <= other < at_s + 3600.0 for other in runs_s) <= most
        if index:
            assert at_s - runs_s[index - 1] >= min_interval_s
