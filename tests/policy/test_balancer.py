"""Turns of endpoints."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.balancer import RoundRobin


@given(
    count=st.integers(1, 9),
    tries=st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=30),
)
def test_no_tried_endpoint_while_an_untried_is_left(
    count: int, tries: list[set[int]]
) -> None:
    robin = RoundRobin()
    for tried in tries:
        picked = robin.pick(count, tried)
        assert 0 <= picked < count
        assert picked not in tried or set(range(count)) <= tried


@given(count=st.integers(1, 9), rounds=st.integers(1, 9), seed=st.lists(st.booleans()))
def test_first_tries_are_spread_evenly_whatever_is_retried(
    count: int, rounds: int, seed: list[bool]
) -> None:
    robin = RoundRobin()
    picked = Counter[int]()
    for turn in range(count * rounds):
        first = robin.pick(count)
        picked[first] += 1
        if seed and seed[turn % len(seed)]:
            robin.pick(count, {first})
    assert picked == dict.fromkeys(range(count), rounds)


@given(count=st.integers(2, 9), dead=st.integers(0, 8), rounds=st.integers(1, 20))
def test_the_load_of_a_dead_endpoint_is_shared_by_all_others(
    count: int, dead: int, rounds: int
) -> None:
    robin = RoundRobin()
    dead %= count
    served = Counter[int]()
    for _ in range(rounds * count):
        first = robin.pick(count)
        served[robin.pick(count, {dead}) if first == dead else first] += 1
    assert max(served.values()) - min(served.values()) <= 1
    assert dead not in served


def test_retries_do_not_shift_the_turns() -> None:
    """Else a dead endpoint of two would be everybody's first."""
    robin = RoundRobin()
    firsts = []
    for _ in range(4):
        firsts.append(robin.pick(2))
        robin.pick(2, {firsts[-1]})
    assert firsts == [0, 1, 0, 1]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
def test_endpoints_may_come_and_go(counts: list[int]) -> None:
    robin = RoundRobin()
    assert all(robin.pick(count) < count for count in counts)


def test_nothing_is_picked_of_nothing() -> None:
    with pytest.raises(ValueError, match="no endpoint"):
        RoundRobin().pick(0)
