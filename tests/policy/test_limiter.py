"""The cap on what is under way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.limiter import InFlightLimit


def test_the_cap_is_the_cap() -> None:
    limit = InFlightLimit(2)
    assert [limit.try_enter() for _ in range(3)] == [True, True, False]
    limit.leave()
    assert limit.try_enter()


@given(most=st.integers(0, 5), enters=st.lists(st.booleans(), max_size=60))
def test_the_count_is_what_entered_and_has_not_left(
    most: int, enters: list[bool]
) -> None:
    limit = InFlightLimit(most)
    inside = 0
    for enter in enters:
        if enter:
            granted = limit.try_enter()
            assert granted == (inside < most)
            inside += granted
        elif inside:
            limit.leave()
            inside -= 1
        assert limit.count == inside <= most
