"""Of a storm a fair part is kept, and all that is not is counted."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from sidecar.record.feed.sampling import MAX_FIRSTS, Examples, Reservoir, StormSample


def test_a_reservoir_is_fair() -> None:
    """Each of a hundred is in it about as often; a tenth more or less is chance."""
    counts: Counter[int] = Counter()
    rng = Random(316)
    for _ in range(4000):
        reservoir: Reservoir[int] = Reservoir(10)
        for item in range(100):
            reservoir.offer(item, rng)
        counts.update(reservoir.items)
    assert sum(counts.values()) == 40_000
    assert all(300 < counts[item] < 500 for item in range(100))


@given(st.integers(0, 200))
def test_examples_hold_the_first_and_the_last_and_nothing_twice(count: int) -> None:
    examples: Examples[int] = Examples(3)
    rng = Random(316)
    for item in range(count):
        examples.offer(item, rng)
    kept = list(examples)
    assert len(kept) == len(set(kept)) <= 5
    if count:
        assert (kept[0], kept[-1]) == (0, count - 1)


def test_what_somebody_was_told_of_stays_for_who_comes_to_ask() -> None:
    examples: Examples[str] = Examples(1)
    rng = Random(316)
    items = [f"failure {number}" for number in range(500)]
    for item in items[:10]:
        examples.offer(item, rng)
    examples.kept = items[7]  # The latest that has a record of its own.
    assert examples.tell() is items[7]
    for item in items[10:]:
        examples.offer(item, rng)
    assert items[7] in list(examples)
    assert len(list(examples)) == len(set(examples)) == 4


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=200),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_whatever_comes_each_is_kept_once_or_counted(
    arrivals: list[tuple[int, int]], per_s: int, reservoir: int
) -> None:
    """And of each second the first of every group is kept, and not too many more."""
    sample: StormSample[int] = StormSample(Random(316), per_s, reservoir)
    kept: list[int] = []
    now_s, firsts = 0, set()
    for item, (after_s, group) in enumerate(arrivals):
        now_s += after_s
        kept += sample.turn(float(now_s))
        if sample.takes(group):
            kept.append(item)
        else:
            assert (now_s, group) in firsts
            sample.offer(item)
        firsts.add((now_s, group))
    kept += sample.turn(-1.0)
    assert len(kept) == len(set(kept))
    assert len(kept) + sample.left_out == len(arrivals)
    assert len(kept) <= len({now for now, _ in firsts}) * (per_s + reservoir + 6)


def test_groups_without_end_are_sampled_too() -> None:
    sample: StormSample[str] = StormSample(Random(316), per_s=10, reservoir=5)
    sample.turn(1.0)
    assert sum(sample.takes(group) for group in range(10_000)) == 10 + MAX_FIRSTS


def test_the_first_of_a_group_can_be_wanted_in_any_case() -> None:
    sample: StormSample[str] = StormSample(Random(316), per_s=0, reservoir=5)
    sample.turn(1.0)
    for number in range(MAX_FIRSTS):
        assert sample.takes(number)
    assert not sample.takes("another")
    assert sample.takes("wanted", is_wanted=True)
    assert not sample.takes("wanted", is_wanted=True)


def test_a_rare_group_is_seen_beside_a_storm() -> None:
    sample: StormSample[str] = StormSample(Random(316), per_s=10, reservoir=5)
    sample.turn(1.0)
    storm = [sample.takes("storm") for _ in range(1000)]
    assert storm == [True] * 10 + [False] * 990
    assert sample.takes("rare")
