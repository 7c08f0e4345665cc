"""By how much a storm of failures slows real traffic: 10,000 a second, twenty groups.

A sidecar on one core serves GETs of wrk as fast as it can; each second time round its
own loop also hands 10,000 failures a second to the recorder, as the data path does:
groups, records, the file of `faults.store`, lines of the log, spans for a collector
that is gone. The processor time of such a second that its requests do not account for,
by what they cost in calm ones, is by how much traffic is slowed. In calm ones the loop
takes the same failures in hand, and tells of none: what that costs is nobody's.

    python -m benchmarks.fault_storm_traffic FILE     the sidecar; SIGUSR1: on, off
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import procfs, wrk
from benchmarks.fault_storm import (
    FAULTS_PER_S,
    GROUPS,
    SLOWED_LIMIT_PERCENT,
    SPEC,
    outcome_of,
)
from benchmarks.peers import COMPILED, PEERS, origin, sidecar_config
from benchmarks.plan import OURS
from benchmarks.processes import ROOT, free_ports, python, running, wait_until_ok
from benchmarks.report import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.plan import Plan
    from benchmarks.processes import Child
    from sidecar.app import App

_ROUNDS: Final = 9
_STEP_S: Final = 0.01
_START_LIMIT_S: Final = 20.0
_LOAD: Final = wrk.Load("storm", "GET beside a storm of failures")


def run(plan: Plan) -> list[Figure]:
    """Return by how much traffic is slowed: the median of rounds, moments apart.

    Raises:
        StartError: The origin or the sidecar does not come up.
    """
    with origin(plan) as origin_port:
        costs = _costs(plan, origin_port)
    return [
        Figure(
            f"traffic beside {FAULTS_PER_S:,} faults/s, slowed by",
            median(costs) * 100,
            "%",
            SLOWED_LIMIT_PERCENT,
        )
    ]


def _costs(plan: Plan, origin_port: int) -> list[float]:
    folder = plan.folder / "storm"
    folder.mkdir(exist_ok=True)
    port, admin_port, health_port, closed_port = free_ports(4)
    ports = {
        "port": port,
        "admin_port": admin_port,
        "health_port": health_port,
        "origin_port": origin_port,
    }
    file = folder / "sidecar.yaml"
    store = f"faults: {{store: {folder / 'faults.db'}}}\n"
    file.write_text(sidecar_config(ports, is_overload_on=False) + store)
    # The sidecar that was compiled, if one was, beside the benchmarks that are here.
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    command, env = python(folder, ROOT if PEERS[OURS].missing() else COMPILED)
    env["PYTHONPATH"] = f"{folder}{os.pathsep}{env['PYTHONPATH']}"
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{closed_port}"
    command += ["-m", "benchmarks.fault_storm_traffic", str(file)]
    core = plan.proxy_core
    with running("storm", command, core=core, folder=folder, env=env) as child:
        wait_until_ok(child, port, "/", limit_s=_START_LIMIT_S)
        costs, is_stormy = [], False
        for _ in range(_ROUNDS):  # Now the storm comes second, now first.
            pair = [_second(plan, child, port)]
            child.process.send_signal(signal.SIGUSR1)
            pair.append(_second(plan, child, port))
            stormy, calm = pair if is_stormy else reversed(pair)
            of_traffic_s = stormy.requests * calm.cpu_s / calm.requests
            costs.append((stormy.cpu_s - of_traffic_s) / stormy.duration_s)
            is_stormy = not is_stormy
        return costs


class _Second(NamedTuple):
    """What was served, and the processor time that it took."""

    requests: int
    cpu_s: float
    duration_s: float


def _second(plan: Plan, child: Child, port: int) -> _Second:
    before_s = procfs.cpu_s(child.pid)
    served = wrk.run(
        _LOAD, port, seconds=plan.seconds, core=plan.load_core, folder=plan.folder
    )
    cpu_s = procfs.cpu_s(child.pid) - before_s
    return _Second(served.requests, cpu_s, served.duration_s)


class _Storm:
    """Failures all the time; told, as long as that is wanted."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._outcomes = [outcome_of(number) for number in range(GROUPS)]
        self._tell: Callable[..., object] = _untold
        self._next_s = self._loop.time()
        self._step()

    def toggle(self) -> None:
        """Begin, or end."""
        is_calm = self._tell is _untold
        self._tell = self._app.recorder.book.failed if is_calm else _untold

    def _step(self) -> None:
        tell, now_s, severity = self._tell, self._app.clock.now_s(), SPEC.severity
        while self._next_s <= self._loop.time():
            for number in range(int(FAULTS_PER_S * _STEP_S)):
                outcome = self._outcomes[number % GROUPS]
                tell(outcome, outcome.fault, severity, now_s)
            self._next_s += _STEP_S
        self._loop.call_later(_STEP_S, self._step)


def _untold(*_: object) -> None:
    """Do nothing."""


async def _serve(path: str) -> None:
    from sidecar.app import App  # noqa: PLC0415 - the run itself needs none
    from sidecar.settings.load import load_file  # noqa: PLC0415 - likewise

    app = App(load_file(path))
    await app.start()
    storm = _Storm(app)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, storm.toggle)
    await app.run()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1]))
