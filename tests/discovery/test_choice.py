"""Which of the endpoints that were found get traffic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.discovery.choice import Candidate, usable
from sidecar.settings.snapshot import Address

ZONES = ("a", "b", "c")


def at(number: int) -> Address:
    return Address(f"10.0.0.{number}", 80)


def one(number: int, *zones: str, ready: bool = True) -> Candidate:
    return Candidate(at(number), ready, ready, zones=frozenset(zones) or None)


def leaving(number: int, *, serving: bool = True) -> Candidate:
    return Candidate(
        at(number), is_ready=False, is_serving=serving, is_terminating=True
    )


def test_ready_ones_alone_get_traffic() -> None:
    found = [one(1), one(2, ready=False), leaving(3)]
    assert usable(found, None) == (at(1),)


def test_those_that_leave_but_serve_are_better_than_nobody() -> None:
    found = [one(1, ready=False), leaving(2), leaving(3, serving=False)]
    assert usable(found, None) == (at(2),)


def test_nobody_is_used_who_does_not_serve() -> None:
    assert usable([one(1, ready=False), leaving(2, serving=False)], None) == ()


def test_those_meant_for_our_zone_are_used() -> None:
    found = [one(1, "a"), one(2, "b"), one(3, "a", "b")]
    assert usable(found, "b") == (at(2), at(3))


def test_all_zones_are_used_if_none_is_meant_for_ours() -> None:
    found = [one(1, "a"), one(2, "b")]
    assert usable(found, "c") == (at(1), at(2))


def test_without_a_zone_of_our_own_hints_say_nothing() -> None:
    assert usable([one(1, "a"), one(2, "b")], None) == (at(1), at(2))


def test_one_without_a_hint_makes_all_hints_void() -> None:
    """They are being written, or taken back."""
    assert usable([one(1, "a"), one(2)], "a") == (at(1), at(2))


def test_a_zone_whose_endpoints_are_not_ready_gets_those_of_others() -> None:
    found = [one(1, "a", ready=False), one(2, "b")]
    assert usable(found, "a") == (at(2),)


candidate = st.builds(
    Candidate,
    st.integers(1, 9).map(at),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.frozensets(st.sampled_from(ZONES)),
)


@given(st.lists(candidate), st.none() | st.sampled_from(ZONES))
def test_somebody_is_used_whenever_somebody_serves(
    found: list[Candidate], zone: str | None
) -> None:
    """Each once, none that is neither ready nor serving to its end."""
    used = usable(found, zone)
    fit = {
        c.address for c in found if c.is_ready or (c.is_serving and c.is_terminating)
    }
    assert len(used) == len(set(used))
    assert set(used) <= fit
    assert bool(used) == bool(fit)
