"""What the policies of a request cost: a breaker, a budget, a retry decision.

Time moves on by a tenth of a millisecond at each call, as it does at 10,000
requests a second, so that the windows turn as they would.
"""

from __future__ import annotations

import timeit
from random import Random
from statistics import median
from string import Template
from typing import TYPE_CHECKING

from benchmarks.processes import ROOT
from benchmarks.report import Figure
from sidecar.faults.catalogue import FaultCode
from sidecar.model import Processed
from sidecar.policy.breaker import CircuitBreaker, Verdict
from sidecar.policy.budget import RetryBudget
from sidecar.policy.retry import Trial, decide
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

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
    names = _names(bench_snapshot())
    costs = {title: _cost_us(code, names) for title, code in _STEPS.items()}
    parts = [Figure(f"policy: {title}", us, "µs") for title, us in costs.items()]
    total = sum(costs.values())
    return [Figure("policy decision, all three", total, "µs", DECISION_LIMIT_US), *parts]


def bench_snapshot() -> Snapshot:
    """Return the configuration that the sidecar is measured with, compiled."""
    text = (ROOT / "benchmarks" / "configs" / "sidecar.yaml").read_text()
    ports = ("port", "origin_port", "admin_port", "health_port")
    filled = Template(text).substitute({name: 20000 + n for n, name in enumerate(ports)})
    return load_text(filled, "sidecar.yaml").snapshot


def _names(snapshot: Snapshot) -> dict[str, object]:
    """Return what the steps call, bound as the data path binds it."""
    route = snapshot.routes[0]
    rng = Random(316)  # noqa: S311 - jitter, no secret
    assert route.breaker is not None  # noqa: S101 - the file has one
    breaker = CircuitBreaker(route.breaker, rng)
    budget = RetryBudget(snapshot.upstreams[route.upstream].budget)
    return {
        "admit": breaker.admit,
        "settle": breaker.settle,
        "GOOD": Verdict.GOOD,
        "started": budget.request_started,
        "ended": budget.request_ended,
        "withdraw": budget.try_withdraw,
        "retry_ended": budget.retry_ended,
        "decide": decide,
        "rules": route.retry,
        "trial": _refused(),
        "rng": rng,
    }


def _refused() -> Trial:
    """Return a first try that met a refused connection: it is to be made again."""
    return Trial(
        method="GET",
        has_idempotency_key=False,
        retries_made=0,
        fault=FaultCode.CONN_REFUSED,
        status=0,
        app_code="",
        processed=Processed.NO,
        was_reused=False,
        body_replayable=True,
        deadline_left_s=10.0,
        connect_p50_s=0.001,
        is_client_gone=False,
        response_started=False,
        is_upgrade=False,
        is_marked_retry=False,
        retry_after_s=None,
        has_other_endpoint=False,
    )


def _cost_us(code: str, names: dict[str, object]) -> float:
    timer = timeit.Timer(f"now_s += 1e-4\n{code}", "now_s = 1000.0", globals=names)
    timer.timeit(_CALLS)
    return median(timer.repeat(_REPEATS, _CALLS)) / _CALLS * 1e6
