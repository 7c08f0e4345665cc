"""From nothing to ready: how long it takes, and what is resident by then."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks import procfs
from benchmarks.peers import PEERS, origin, started
from benchmarks.plan import OURS
from benchmarks.processes import StartError
from benchmarks.report import Figure

if TYPE_CHECKING:
    from benchmarks.plan import Plan

READY_LIMIT_S = 0.7
RESIDENT_LIMIT_MIB = 70.0

_MIB = 1 << 20


def run(plan: Plan) -> list[Figure]:
    """Return the medians over several starts.

    Raises:
        StartError: There is no origin.
    """
    with origin(plan) as origin_port:
        return [
            figure
            for name in plan.alone
            for figure in _figures(name, plan, origin_port)
        ]


def _figures(name: str, plan: Plan, origin_port: int) -> list[Figure]:
    print(f"  {name}: {plan.starts} starts", flush=True)
    try:
        _start(name, plan, origin_port)  # Fills the cache of byte code.
        starts = [_start(name, plan, origin_port) for _ in range(plan.starts)]
    except StartError as error:
        return _as_figures(name, None, None, str(error))
    ready_s, resident_mib = (median(column) for column in zip(*starts, strict=True))
    return _as_figures(name, ready_s, resident_mib)


def _as_figures(
    name: str, ready_s: float | None, resident_mib: float | None, note: str = ""
) -> list[Figure]:
    limit_s, limit_mib = (
        (READY_LIMIT_S, RESIDENT_LIMIT_MIB) if name == OURS else (None, None)
    )
    return [
        Figure(title, value, unit, limit, is_limit_allowed=False, note=note)
        for title, value, unit, limit in (
            (f"{name}: start until ready", ready_s, "s", limit_s),
            (f"{name}: resident when ready", resident_mib, "MiB", limit_mib),
        )
    ]


def _start(name: str, plan: Plan, origin_port: int) -> tuple[float, float]:
    with started(PEERS[name], plan, origin_port) as proxy:
        return proxy.ready_s, procfs.memory(proxy.child.pid).resident_bytes / _MIB
