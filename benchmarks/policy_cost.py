"""What the policies of a request cost: a breaker, a budget, a retry decision.

Time moves on by a tenth of a millisecond at each call, as it does at 10,000
requests a second, so that the windows turn as they would. Of several repetitions
the shortest counts: what makes another longer is the rest of the machine.
"""

from __future__ import annotations

import timeit
from itertools import count
from random import Random

from benchmarks.report import Figure
from sidecar.faults.catalogue import FaultCode
from sidecar.model import Processed
from sidecar.policy.breaker import BreakerLimits, CircuitBreaker, Verdict
from sidecar.policy.budget import BudgetLimits, RetryBudget
from sidecar.policy.retry import RetryRules, Trial, decide

DECISION_LIMIT_US = 2.0

_CALLS = 20_000
_REPEATS = 9
_STEPS = {
    "breaker, admit + settle": "permit = admit(now_s); settle(permit, GOOD, now_s)",
    "budget, start + end": "started(now_s); ended()",
    "retry, decide + withdraw": (
        "decide(rules, trial, rng)\nif withdraw(now_s): retry_ended()"
    ),
}


def run() -> list[Figure]:
    """Return what each step costs, and all of them against the target."""
    names = _names()
    costs = {title: _cost_us(code, names) for title, code in _STEPS.items()}
    parts = [Figure(f"policy: {title}", us, "µs") for title, us in costs.items()]
    total = sum(costs.values())
    whole = Figure("policy decision, all three", total, "µs", DECISION_LIMIT_US)
    return [whole, *parts]


def _names() -> dict[str, object]:
    """Return what the steps call, bound as the data path binds it."""
    rng = Random(316)  # noqa: S311 - jitter, no secret
    breaker = CircuitBreaker(BreakerLimits(), rng)
    budget = RetryBudget(BudgetLimits())
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


def _cost_us(code: str, names: dict[str, object]) -> float:
    starts_s = count(1_000, 1_000)  # No repetition goes back in time.
    names = {**names, "next_start_s": starts_s.__next__}
    step = f"now_s += 1e-4\n{code}"
    timer = timeit.Timer(step, "now_s = next_start_s()", globals=names)
    timer.timeit(_CALLS)
    return min(timer.repeat(_REPEATS, _CALLS)) / _CALLS * 1e6
