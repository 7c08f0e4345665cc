"""The schedule of a soak: seeded, complete, and within its time."""

from __future__ import annotations

from random import Random

import pytest

from tests.soak.chaos import KINDS, STALL, schedule
from tests.soak.ledger import EXPLAINS


@pytest.mark.parametrize("seconds", [2.0, 42.0, 600.0])
@pytest.mark.parametrize("seed", range(20))
def test_each_kind_has_its_turn_and_none_runs_into_another(
    seed: int, seconds: float
) -> None:
    plans = schedule(Random(seed), seconds)
    ends_s = [plan.at_s + plan.for_s for plan in plans]
    starts_s = [plan.at_s for plan in plans]
    assert ends_s[-1] <= seconds + 1e-9
    assert all(
        end_s < start_s for end_s, start_s in zip(ends_s, starts_s[1:], strict=False)
    )
    assert {plan.kind for plan in plans} == set(KINDS)


def test_the_same_seed_draws_the_same() -> None:
    assert schedule(Random(1), 60.0) == schedule(Random(1), 60.0)
    assert schedule(Random(1), 60.0) != schedule(Random(2), 60.0)


def test_whatever_is_done_has_its_codes() -> None:
    assert {*KINDS, STALL} == EXPLAINS.keys()
