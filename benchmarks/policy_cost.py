"""What the policies of a request cost: a breaker, a budget, a retry decision.

Time moves on by a tenth of a millisecond at each call, as it does at 10,000
requests a second, so that the windows turn as they would. What counts is processor
time, and of many short repetitions the cheapest: what makes another dearer is the
rest of the machine.
"""

from __future__ import annotations

import timeit
from itertools import count
from random import Random
from time import process_time

from benchmarks.report import Figure
from sidecar.faults.catalogue import FaultCode
from sidecar.model import Processed
from sidecar.policy.breaker import BreakerLimits, CircuitBreaker, Verdict
from sidecar.policy.budget import BudgetLimits, RetryBudget
from sidecar.policy.retry import RetryRules, Trial, decide

DECISION_LIMIT_US = 2.0

_CALLS = 5_000
_REPEATS = 50
STEPS = {
    "breaker, admit + settle": "permit = admit(now_s); settle(permit, GOOD, now_s)",
    "budget, start + end": "started(now_s); ended()",
    "retry, decide + withdraw": (
        "decide(rules, trial, rng)\nif withdraw(now_s): retry_ended()"
    ),
}


def run() -> list[Figure]:
    """Return what each step costs, and all of them against the target."""
    costs = {title: _cost_us(code) for title, code in STEPS.items()}
    parts = [Figure(f"policy: {title}", us, "µs") for title, us in costs.items()]
    total = sum(costs.values())
    whole = Figure("policy decision, all three", total, "µs", DECISION_LIMIT_US)
    return [whole, *parts]


def names() -> dict[str, object]:
    """Return what the steps call, bound as the data path binds it.

    The budget always gives: to refuse would be cheaper.
    """
    rng = Random(316)  # noqa: S311 - jitter, no secret
    breaker = CircuitBreaker(BreakerLimits(), rng)
    budget = RetryBudget(BudgetLimits(min_per_s=1e6))
    return {
        "admit": breaker.admit,
        "settle": breaker.settle,
        "GOOD": Verdict.GOOD,
        "started": budget.request_started,
        "ended": budget.request_ended,
        "withdraw": budget.try_withdraw,
        "retry_ended": budget.retry_ended,
        "decide": decide,
        "rules": RetryRules(),
        "trial": _refused(),
        "rng": rng,
    }


def _refused() -> Trial:
    """Return a first try that met a refused connection: it is to be made again."""
    return Trial(
        method="GET",
        retries_made=0,
        fault=FaultCode.CONN_REFUSED,
        status=0,
        processed=Processed.NO,
        deadline_left_s=10.0,
    )


def _cost_us(code: str) -> float:
    starts_s = count(1_000, 1_000)  # No repetition goes back in time.
    bound = {**names(), "next_start_s": starts_s.__next__}
    step = f"now_s += 1e-4\n{code}"
    timer = timeit.Timer(
        step, "now_s = next_start_s()", timer=process_time, globals=bound
    )
    return min(timer.repeat(_REPEATS, _CALLS)) / _CALLS * 1e6
