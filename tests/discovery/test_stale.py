"""Answers of a name server, and how long they hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.discovery.stale import StaleIfError
from sidecar.settings.snapshot import Address

ONE, TWO = Address("10.0.0.1", 80), Address("10.0.0.2", 80)
MIN_TTL_S, STALE_S = 5.0, 60.0


def known() -> StaleIfError:
    return StaleIfError(MIN_TTL_S, STALE_S)


def test_it_is_asked_for_again_when_the_ttl_is_over() -> None:
    answers = known()
    answers.answered("A", [ONE], 30, 100)
    assert answers.wait_s(110, None) == 20


def test_a_shorter_ttl_is_as_long_as_the_setting() -> None:
    answers = known()
    answers.answered("A", [ONE], 0, 100)
    assert answers.wait_s(100, None) == MIN_TTL_S


def test_an_answer_is_used_for_a_while_after_its_ttl() -> None:
    answers = known()
    answers.answered("A", [ONE], 30, 100)
    assert answers.addresses(189.9) == (ONE,)
    assert answers.addresses(190) == ()


def test_a_new_answer_replaces_the_one_before_also_if_it_is_empty() -> None:
    answers = known()
    answers.answered("A", [ONE], 30, 100)
    answers.answered("A", [TWO], 30, 101)
    assert answers.addresses(102) == (TWO,)
    answers.answered("A", [], 30, 103)
    assert answers.addresses(104) == ()


def test_each_type_has_its_own_answer() -> None:
    answers = known()
    answers.answered("A", [ONE], 5, 100)
    answers.answered("AAAA", [TWO], 30, 130)
    assert answers.addresses(164) == (ONE, TWO)
    assert answers.addresses(165) == (TWO,)


def test_what_is_not_asked_for_any_more_is_forgotten() -> None:
    """Its end is not waited for either."""
    answers = known()
    answers.answered("one", [ONE], 5, 100)
    answers.answered("two", [TWO], 30, 100)
    answers.forget_others(["two", "three"])
    assert answers.addresses(101) == (TWO,)
    assert answers.wait_s(101, None) == 29


def test_after_a_failure_it_is_asked_soon_and_looked_at_when_staleness_ends() -> None:
    answers = known()
    answers.answered("A", [ONE], 30, 100)
    assert answers.wait_s(150, 3.0) == 3.0
    assert answers.wait_s(188, 3.0) == 2.0
    assert answers.wait_s(190, 3.0) == 3.0


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 2**31)), min_size=1),
    st.integers(0, 5000),
)
def test_no_address_is_used_beyond_what_was_promised(
    answers: list[tuple[int, int]], later_s: int
) -> None:
    """However often it was answered: the last answer counts, and its TTL."""
    told, now_s = known(), 0
    for gap_s, ttl_s in answers:
        now_s += gap_s
        told.answered("A", [ONE], ttl_s, now_s)
    holds_s = max(MIN_TTL_S, min(answers[-1][1], 3600)) + STALE_S
    is_used = now_s + later_s < now_s + holds_s
    assert (told.addresses(now_s + later_s) == (ONE,)) == is_used


@given(st.floats(0, 1e4), st.floats(0, 1e6), st.none() | st.floats(0.1, 30))
def test_it_is_never_asked_in_a_circle(
    later_s: float, ttl_s: float, retry_s: float | None
) -> None:
    """After an answer some time passes, after a failure at most that of the retry."""
    answers = known()
    answers.answered("A", [ONE], ttl_s, 0)
    if retry_s is None:
        assert answers.wait_s(0, None) >= MIN_TTL_S
    else:
        assert 0 < answers.wait_s(later_s, retry_s) <= retry_s
