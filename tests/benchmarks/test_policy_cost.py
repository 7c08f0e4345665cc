"""The policy benchmark measures what it says it does."""

from __future__ import annotations

import pytest

from benchmarks.policy_cost import STEPS, names
from sidecar.policy.retry import Retry

CHECKS = {
    "breaker, admit + settle": "assert permit == admit(now_s)",
    "budget, start + end": "assert withdraw(now_s); retry_ended()",
    "retry, decide + withdraw": (
        "assert type(decide(rules, trial, rng)) is Retry\n"
        "assert withdraw(now_s); retry_ended()"
    ),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_takes_the_long_way_every_time(step: str) -> None:
    """Admitted, decided for a retry, granted: what is refused would cost less."""
    bound = {**names(), "now_s": 1000.0, "Retry": Retry}
    for _ in range(200):
        exec(STEPS[step], bound)  # noqa: S102 - the statement that is timed
        exec(CHECKS[step], bound)  # noqa: S102 - ours
