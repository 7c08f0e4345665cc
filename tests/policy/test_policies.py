"""Budget, backoff, limiter, balancer, deadlines, countdown: each rule a sentence."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import TimeoutKind
from sidecar.policy.backoff import Backoff
from sidecar.policy.balancer import RoundRobin
from sidecar.policy.budget import BudgetLimits, RetryBudget
from sidecar.policy.countdown import Countdown
from sidecar.policy.deadline import parse_deadline_ms, parse_grpc_timeout
from sidecar.policy.limiter import InFlightLimit
from sidecar.policy.retry import parse_retry_after


@given(
    base_s=st.floats(0, 10),
    max_s=st.floats(0, 100),
    retry=st.integers(1, 2000),
    seed=st.integers(),
)
def test_no_wait_is_negative_or_above_the_cap(
    base_s: float, max_s: float, retry: int, seed: int
) -> None:
    assert 0 <= Backoff(base_s, max_s).delay_s(retry, Random(seed)) <= max_s


def test_retries_count_from_one() -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        Backoff().delay_s(0, Random(1))


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


@given(st.lists(st.tuples(st.sampled_from("srw"), st.floats(0, 3)), max_size=200))
def test_withdrawals_never_exceed_what_the_window_allows(
    steps: list[tuple[str, float]],
) -> None:
    """Whatever the order of events, the sums stay right and never negative."""
    limits = BudgetLimits(ratio=0.2, min_per_s=1, window_s=10, min_concurrent=1000)
    budget = RetryBudget(limits)
    now_s = 50.0
    requests: list[float] = []
    retries: list[float] = []
    for kind, gap_s in steps:
        now_s += gap_s
        if kind == "s":
            budget.request_started(now_s)
            requests.append(now_s)
        elif kind == "w" and budget.try_withdraw(now_s):
            retries.append(now_s)
        oldest = int(now_s) - 9
        in_window = sum(int(at) >= oldest for at in requests)
        made = sum(int(at) >= oldest for at in retries)
        assert made <= limits.ratio * in_window + 10 or budget.balance(now_s) == 0


def test_the_cap_is_the_cap() -> None:
    limit = InFlightLimit(2)
    assert [limit.try_enter() for _ in range(3)] == [True, True, False]
    limit.leave()
    assert limit.try_enter()


@given(
    count=st.integers(1, 9), tried=st.sets(st.integers(0, 8)), turns=st.integers(0, 20)
)
def test_no_tried_endpoint_while_an_untried_is_left(
    count: int, tried: set[int], turns: int
) -> None:
    robin = RoundRobin()
    for _ in range(turns):
        robin.pick(count)
    picked = robin.pick(count, tried)
    assert 0 <= picked < count
    assert picked not in tried or set(range(count)) <= tried


def test_retries_do_not_shift_the_turns() -> None:
    """Else a dead endpoint of two would be everybody's first."""
    robin = RoundRobin()
    firsts = []
    for _ in range(4):
        firsts.append(robin.pick(2))
        robin.pick(2, {firsts[-1]})
    assert firsts == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"250", 0.25), (b"0", 0), (b"-1", None), (b"1s", None)]
)
def test_deadlines_in_milliseconds(value: bytes, seconds: float | None) -> None:
    assert parse_deadline_ms(value) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"2S", 2), (b"1M", 60), (b"5m", 0.005), (b"5", None)]
)
def test_deadlines_of_grpc(value: bytes, seconds: float | None) -> None:
    assert parse_grpc_timeout(value) == seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"3", 3.0),
        (b"Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        (b"Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        (b"soon", None),
        (b"-1", None),
    ],
)
def test_retry_after_in_both_forms(value: bytes, seconds: float | None) -> None:
    assert parse_retry_after(value, now_wall_s=10.0) == seconds


def test_the_nearest_limit_is_the_one_that_fires() -> None:
    countdown = Countdown()
    countdown.limit_request(TimeoutKind.REQUEST, 0.0, 10.0)
    countdown.limit_attempt(0.0, 2.0)
    assert countdown.next_due_s() == 2.0
    assert countdown.expired(1.9) is None
    assert countdown.expired(2.0) == (TimeoutKind.PER_TRY, 2.0)
    assert countdown.expired(10.0) == (TimeoutKind.REQUEST, 10.0)


def test_a_caller_can_only_shorten() -> None:
    countdown = Countdown()
    countdown.limit_request(TimeoutKind.DEADLINE, 0.0, 1.0)
    countdown.limit_request(TimeoutKind.REQUEST, 0.0, 10.0)
    assert countdown.expired(1.0) == (TimeoutKind.DEADLINE, 1.0)


def test_any_byte_puts_the_idle_limit_off() -> None:
    countdown = Countdown()
    countdown.limit_idle(TimeoutKind.STREAM_IDLE, 0.0, 5.0)
    countdown.active_s = 4.0
    assert countdown.expired(5.0) is None
    assert countdown.expired(9.0) == (TimeoutKind.STREAM_IDLE, 5.0)
