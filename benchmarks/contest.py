"""Proxies loaded in turn, in short rounds, so that noise hits all alike.

Every proxy is up from the first round to the last, and only one is loaded at a
time. The order moves on by one each round, so that none always follows the same.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import procfs, wrk
from benchmarks.peers import LARGE_BYTES, PEERS, SMALL_BODY, origin, started
from benchmarks.processes import OK, StartError, get
from benchmarks.report import DIRECT, Round, Row, idle_cpu_ratio
from benchmarks.wrk import Load, LoadError

if TYPE_CHECKING:
    from benchmarks.peers import Running
    from benchmarks.plan import Plan

LOADS = (
    Load("get", "GET, 60 B answer"),
    Load("traced", "GET, eight fields, new ids in each", is_traced=True),
    Load("post", "POST, 1 KiB body", body_bytes=1024),
    Load("large", f"GET, {LARGE_BYTES // 1024} KiB answer", path="/large"),
)

_WARM_UP_S = 1


def run(plan: Plan) -> list[Row]:
    """Return a row for every load and proxy, also for those that are absent.

    Raises:
        StartError: There is no origin.
        LoadError: There is no wrk.
    """
    loads = [load for load in LOADS if load.name in plan.measurements]
    if not loads:
        return []
    if why := wrk.missing():
        raise LoadError(why)
    with ExitStack() as stack:
        origin_port = stack.enter_context(origin(plan))
        up, absent = _start_all(stack, plan, origin_port)
        for runner in up:
            _warm_up(runner, plan)
        rows: list[Row] = []
        for load in loads:
            rows += _contest(load, up, plan, origin_port)
            rows += [Row(load.title, name, "", (), why) for name, why in absent]
    return rows


def _start_all(
    stack: ExitStack, plan: Plan, origin_port: int
) -> tuple[list[Running], list[tuple[str, str]]]:
    """Return the proxies that came up, and why the others did not."""
    up: list[Running] = []
    absent: list[tuple[str, str]] = []
    for name in plan.proxies:
        try:
            runner = stack.enter_context(started(PEERS[name], plan, origin_port))
            _check_answer(runner)
            up.append(runner)
        except StartError as error:
            print(f"  {name}: {error}")
            absent.append((name, str(error)))
    return up, absent


def _check_answer(runner: Running) -> None:
    """Make sure that it is the origin's answer that will be counted.

    Raises:
        StartError: It is not; an empty answer of its own would be cheap.
    """
    status, body = get(runner.port, LOADS[0].path)
    if status != OK or body != SMALL_BODY.encode():
        msg = f"it answers {status} with {body[:60]!r}, which is not the origin's"
        raise StartError(msg)


def _warm_up(runner: Running, plan: Plan) -> None:
    """Open the connections and fill the caches before anything counts."""
    try:
        _load(LOADS[0], runner.port, plan, seconds=_WARM_UP_S)
    except LoadError as error:
        print(f"  {runner.peer.name}: {error}")


def _contest(load: Load, up: list[Running], plan: Plan, origin_port: int) -> list[Row]:
    rounds: dict[str, list[Round]] = {runner.peer.name: [] for runner in up}
    direct: list[Round] = []
    before = {runner.peer.name: procfs.cpu_s(runner.child.pid) for runner in up}
    start_s = time.perf_counter()
    count = plan.rounds if load is LOADS[0] else plan.secondary_rounds
    for n in range(count):
        print(f"  {load.title}: round {n + 1} of {count}", flush=True)
        direct.append(_direct_round(load, plan, origin_port))
        for runner in _rotated(up, n):
            rounds[runner.peer.name].append(_round(load, runner, plan))
    elapsed_s = time.perf_counter() - start_s
    rows = [Row(load.title, DIRECT, "", tuple(direct))]
    for runner in up:
        name, own = runner.peer.name, tuple(rounds[runner.peer.name])
        used_s = procfs.cpu_s(runner.child.pid) - before[name]
        idle_ratio = idle_cpu_ratio(own, used_s, elapsed_s)
        rows.append(Row(load.title, name, runner.peer.version(), own, "", idle_ratio))
    return rows


def _rotated(up: list[Running], n: int) -> list[Running]:
    first = n % len(up) if up else 0
    return up[first:] + up[:first]


def _round(load: Load, runner: Running, plan: Plan) -> Round:
    before_s = procfs.cpu_s(runner.child.pid)
    try:
        counted = _load(load, runner.port, plan, seconds=plan.seconds)
    except LoadError as error:
        print(f"  {runner.peer.name}: {error}")
        return Round(0, float(plan.seconds), 0.0, 0.0, 0.0, 0, errors=1)
    return Round(
        requests=counted.requests,
        duration_s=counted.duration_s,
        cpu_s=procfs.cpu_s(runner.child.pid) - before_s,
        p50_s=counted.p50_s,
        p99_s=counted.p99_s,
        resident_bytes=procfs.memory(runner.child.pid).resident_bytes,
        errors=counted.errors,
    )


def _direct_round(load: Load, plan: Plan, origin_port: int) -> Round:
    """Load the origin with no proxy between: what the load could reach at most."""
    counted = _load(load, origin_port, plan, seconds=1)
    return Round(
        requests=counted.requests,
        duration_s=counted.duration_s,
        cpu_s=0.0,
        p50_s=counted.p50_s,
        p99_s=counted.p99_s,
        resident_bytes=0,
        errors=counted.errors,
    )


def _load(load: Load, port: int, plan: Plan, *, seconds: int) -> wrk.Counted:
    return wrk.run(load, port, seconds=seconds, core=plan.load_core, folder=plan.folder)
