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
    limits = (READY_LIMIT_S, RESIDENT_LIMIT_MIB) if name == OURS else (None, None)
    ready_title, resident_title = f"{name}: start until ready", f"{name}: then resident"
    try:
        _start(name, plan, origin_port)  # Fills the cache of byte code.
        starts = [_start(name, plan, origin_port) for _ in range(plan.starts)]
    except StartError as error:
        return [
            Figure(ready_title, None, "s", limits[0], note=str(error)),
            Figure(resident_title, None, "MiB", limits[1], note=str(error)),
        ]
    ready_s, resident_mib = (median(column) for column in zip(*starts, strict=True))
    return [
        Figure(ready_title, ready_s, "s", limits[0], is_limit_allowed=False),
        Figure(resident_title, resident_mib, "MiB", limits[1], is_limit_allowed=False),
    ]


def _start(name: str, plan: Plan, origin_port: int) -> tuple[float, float]:
    with started(PEERS[name], plan, origin_port) as proxy:
        return proxy.ready_s, procfs.memory(proxy.child.pid).resident_bytes / _MIB
