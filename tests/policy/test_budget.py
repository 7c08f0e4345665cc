"""The retry budget, by example and against a model that keeps a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.policy.budget import BudgetLimits, RetryBudget


def test_the_budget_gives_a_share_of_the_requests() -> None:
    budget = RetryBudget(BudgetLimits(ratio=0.2, min_per_s=0, min_concurrent=100))
    for _ in range(50):
        budget.request_started(100.0)
    assert sum(budget.try_withdraw(100.0) for _ in range(50)) == 10


def test_a_quiet_service_may_still_retry() -> None:
    budget = RetryBudget(BudgetLimits(min_per_s=1, window_s=10, min_concurrent=100))
    assert sum(budget.try_withdraw(100.0) for _ in range(50)) == 10


def test_the_budget_forgets_what_left_its_window() -> None:
    budget = RetryBudget(BudgetLimits(ratio=0.5, min_per_s=0, min_concurrent=100))
    budget.request_started(100.0)
    budget.request_started(100.0)
    assert budget.balance(109.0) == 1
    assert budget.balance(111.0) == 0


def test_few_retries_at_once() -> None:
    budget = RetryBudget(BudgetLimits(min_concurrent=3))
    assert [budget.try_withdraw(5.0) for _ in range(4)] == [True, True, True, False]
    budget.retry_ended()
    assert budget.try_withdraw(5.0)


def test_what_is_in_flight_is_told() -> None:
    budget = RetryBudget(BudgetLimits(min_concurrent=3))
    budget.request_started(5.0)
    assert budget.try_withdraw(5.0)
    assert (budget.requests_in_flight, budget.retries_in_flight) == (1, 1)
    budget.retry_ended()
    budget.request_ended()
    assert (budget.requests_in_flight, budget.retries_in_flight) == (0, 0)


def test_more_at_once_while_more_is_in_flight() -> None:
    budget = RetryBudget(BudgetLimits(ratio=0.5, min_per_s=9, min_concurrent=1))
    for _ in range(8):
        budget.request_started(5.0)
    assert sum(budget.try_withdraw(5.0) for _ in range(9)) == 4
    for _ in range(8):
        budget.request_ended()
    budget.retry_ended()
    assert not budget.try_withdraw(5.0)


@pytest.mark.parametrize(
    "limits",
    [BudgetLimits(ratio=0, min_per_s=0), BudgetLimits(ratio=0, min_concurrent=0)],
)
def test_no_room_of_one_kind_is_no_room(limits: BudgetLimits) -> None:
    budget = RetryBudget(limits)
    budget.request_started(5.0)
    assert not budget.try_withdraw(5.0)


@given(
    ratio=st.floats(0, 1),
    min_per_s=st.floats(0, 20),
    min_concurrent=st.integers(0, 20),
    requests=st.integers(0, 50),
    retries=st.integers(0, 50),
)
def test_a_balance_of_one_is_one_more_retry(
    ratio: float, min_per_s: float, min_concurrent: int, requests: int, retries: int
) -> None:
    limits = BudgetLimits(ratio, 10.0, min_per_s, min_concurrent)
    budget = RetryBudget(limits)
    for _ in range(requests):
        budget.request_started(5.0)
    for _ in range(retries):
        budget.try_withdraw(5.0)
    assert (budget.balance(5.0) >= 1.0) == budget.try_withdraw(5.0)


class BudgetAgainstList(RuleBasedStateMachine):
    """The same events go to a budget and to lists of times."""

    limits = BudgetLimits(ratio=0.25, window_s=10.0, min_per_s=0.5, min_concurrent=2)

    def __init__(self) -> None:
        super().__init__()
        self.budget = RetryBudget(self.limits)
        self.now_s = 64.0
        self.requests_s: list[float] = []
        self.retries_s: list[float] = []
        self.active_requests = self.active_retries = 0

    def in_window(self, times_s: list[float]) -> int:
        return sum(int(at_s) >= int(self.now_s) - 9 for at_s in times_s)

    @rule(eighths=st.integers(1, 120))
    def time_passes(self, eighths: int) -> None:
        self.now_s += eighths / 8

    @rule()
    def a_request_starts(self) -> None:
        self.budget.request_started(self.now_s)
        self.requests_s.append(self.now_s)
        self.active_requests += 1

    @rule()
    @precondition(lambda self: self.active_requests > 0)
    def a_request_ends(self) -> None:
        self.budget.request_ended()
        self.active_requests -= 1

    @rule()
    def a_retry_is_asked_for(self) -> None:
        limits = self.limits
        most = limits.ratio * self.in_window(self.requests_s) + 5.0
        at_once = max(limits.min_concurrent, limits.ratio * self.active_requests)
        is_due = (
            self.in_window(self.retries_s) + 1 <= most
            and self.active_retries + 1 <= at_once
        )
        assert self.budget.try_withdraw(self.now_s) == is_due
        if is_due:
            self.retries_s.append(self.now_s)
            self.active_retries += 1

    @rule()
    @precondition(lambda self: self.active_retries > 0)
    def a_retry_ends(self) -> None:
        self.budget.retry_ended()
        self.active_retries -= 1

    @invariant()
    def the_balance_is_never_negative(self) -> None:
        assert self.budget.balance(self.now_s) >= 0


TestBudgetAgainstList = BudgetAgainstList.TestCase
