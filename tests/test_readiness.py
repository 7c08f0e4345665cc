"""Why no traffic should come, when there are several reasons."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.readiness import NotReady, Readiness


def test_nothing_hides_a_drain() -> None:
    """Whatever comes and goes beside it."""
    readiness = Readiness()
    readiness.hold(NotReady.UNHEALTHY, "it fails")
    readiness.hold(NotReady.DRAINING, "draining")
    assert readiness.reason == "draining"
    readiness.release(NotReady.UNHEALTHY)
    readiness.release(NotReady.AWAITING)
    assert readiness.reason == "draining"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(list(NotReady)))))
def test_the_worst_of_those_that_hold_is_told(
    steps: list[tuple[bool, NotReady]],
) -> None:
    readiness, held = Readiness(), set[NotReady]()
    for is_held, name in steps:
        if is_held:
            readiness.hold(name, name.value)
            held.add(name)
        else:
            readiness.release(name)
            held.discard(name)
        worst = next((each.value for each in NotReady if each in held), "")
        assert readiness.reason == worst
