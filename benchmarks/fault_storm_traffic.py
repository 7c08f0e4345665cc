"""By how much a storm of failures slows real traffic: 10,000 a second, twenty groups.

A sidecar on one core serves GETs of wrk as fast as it can, and its own loop hands
failures to the recorder, as the data path does: groups, records, the file of
`faults.store`, lines of the log, spans for a collector that is gone.

    loop      a quarter of a second of storm beside one of calm, over and over: of its
              processor time what the requests do not account for, by what they cost in
              the calm one. A machine that others use changes its pace within seconds,
              so that neighbours alone are compared, and their median is told.
    threads   what writes and sends for it takes of the same core: of the process, but
              the loop; in a storm less in calm, before there is traffic.

In calm, too, the loop takes the failures in hand, and tells of none: what that costs is
nobody's.

    python -m benchmarks.fault_storm_traffic CONFIG RESULT PAIRS CORE     the sidecar
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, thread_time
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import wrk
from benchmarks.fault_storm import (
    FAULTS_PER_S,
    GROUPS,
    SLOWED_LIMIT_PERCENT,
    SPEC,
    outcome_of,
)
from benchmarks.peers import COMPILED, PEERS, origin, sidecar_config
from benchmarks.plan import OURS
from benchmarks.processes import ROOT, StartError, free_ports, python, running
from benchmarks.report import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.plan import Plan
    from sidecar.app import App

_PAIRS_A_SECOND: Final = 75  # Of those seconds that a round of other loads takes.
_WINDOW_S: Final = 0.25
_STEP_S: Final = 0.01
_CALM_S: Final = 4.0
_STORM_S: Final = 10.0  # Threads gather for a second.
_FLOWS_S: Final = 2.0  # Until wrk is at its pace.
_LIMIT_S: Final = 60.0  # For all that is no window.
_LOAD: Final = wrk.Load("storm", "GET beside a storm of failures")


def run(plan: Plan) -> list[Figure]:
    """Return by how much traffic is slowed, and by whom.

    Raises:
        StartError: The origin or the sidecar does not come up, or to no end.
    """
    with origin(plan) as origin_port:
        found = _measured(plan, origin_port)
    return [
        Figure(
            f"traffic beside {FAULTS_PER_S:,} faults/s, slowed by",
            (found["loop"] + found["threads"]) * 100,
            "%",
            SLOWED_LIMIT_PERCENT,
        ),
        Figure("of that: event loop", found["loop"] * 100, "%"),
        Figure("of that: log, file, spans", found["threads"] * 100, "%"),
    ]


def _measured(plan: Plan, origin_port: int) -> dict[str, float]:
    folder = plan.folder / "storm"
    folder.mkdir(exist_ok=True)
    port, admin_port, health_port, closed_port = free_ports(4)
    ports = {
        "port": port,
        "admin_port": admin_port,
        "health_port": health_port,
        "origin_port": origin_port,
    }
    config, result = folder / "sidecar.yaml", folder / "result.json"
    store = f"faults: {{store: {folder / 'faults.db'}}}\n"
    config.write_text(sidecar_config(ports, is_overload_on=False) + store)
    # The sidecar that was compiled, if one was, beside the benchmarks that are here.
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    command, env = python(folder, ROOT if PEERS[OURS].missing() else COMPILED)
    env["PYTHONPATH"] = f"{folder}{os.pathsep}{env['PYTHONPATH']}"
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{closed_port}"
    pairs = plan.seconds * _PAIRS_A_SECOND
    command += ["-m", "benchmarks.fault_storm_traffic", str(config), str(result)]
    command += [str(pairs), str(plan.load_core)]
    core, limit_s = plan.proxy_core, _LIMIT_S + 2 * pairs * _WINDOW_S
    with running("storm", command, core=core, folder=folder, env=env) as child:
        try:
            child.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise StartError(child.last_word()) from None
        if not result.exists():
            raise StartError(child.last_word())
        found: dict[str, float] = json.loads(result.read_text())
        return found


class _Read(NamedTuple):
    """What was used and served up to a moment, or between two."""

    at_s: float
    loop_s: float  # Of the processor.
    threads_s: float
    requests: float

    def since(self, before: _Read) -> _Read:
        """Return what was between the two."""
        return _Read(*(now - then for now, then in zip(self, before, strict=True)))


class _Storm:
    """Failures all the time; told, as long as that is wanted."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._outcomes = [outcome_of(number) for number in range(GROUPS)]
        self._tell: Callable[..., object] = _untold
        self._next_s = self._loop.time()
        self._step()

    async def slowed_by_threads(self) -> float:
        """Return what other threads take of a core; there is no traffic yet."""
        calm = await self._window(_CALM_S, is_stormy=False)
        await self._window(_CALM_S, is_stormy=True)
        stormy = await self._window(_STORM_S, is_stormy=True)
        return stormy.threads_s / stormy.at_s - calm.threads_s / calm.at_s

    async def slowed_by_loop(self, pairs: int) -> float:
        """Return what the loop takes from the traffic that there is."""
        costs = []
        for number in range(pairs):  # Now the storm comes first, now the calm.
            is_stormy = number % 2 == 0
            pair = [
                await self._window(_WINDOW_S, is_stormy=is_stormy),
                await self._window(_WINDOW_S, is_stormy=not is_stormy),
            ]
            stormy, calm = pair if is_stormy else reversed(pair)
            of_traffic_s = stormy.requests * calm.loop_s / max(1, calm.requests)
            costs.append((stormy.loop_s - of_traffic_s) / stormy.at_s)
        return median(costs)

    async def _window(self, seconds: float, *, is_stormy: bool) -> _Read:
        self._tell = self._app.recorder.book.failed if is_stormy else _untold
        before = self._read()
        await asyncio.sleep(seconds)
        return self._read().since(before)

    def _read(self) -> _Read:
        loop_s = thread_time()
        requests = sum(self._app.recorder.store.requests_by_route().values())
        return _Read(perf_counter(), loop_s, process_time() - loop_s, requests)

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


async def _measure(config: str, pairs: int, load_core: int) -> dict[str, float]:
    """Return what `run` asks for; this is the process that is measured."""
    from sidecar.app import App  # noqa: PLC0415 - the run itself needs none
    from sidecar.settings.load import load_file  # noqa: PLC0415 - likewise

    app = App(load_file(config))
    await app.start()
    storm = _Storm(app)
    threads = await storm.slowed_by_threads()
    load = asyncio.to_thread(
        wrk.run,
        _LOAD,
        app.addresses["inbound"][1],
        seconds=int(2 * pairs * _WINDOW_S + 2 * _FLOWS_S),
        core=load_core,
        folder=Path(config).parent,
    )
    flowing = asyncio.create_task(load)
    await asyncio.sleep(_FLOWS_S)
    loop = await storm.slowed_by_loop(pairs)
    await flowing
    await app.close()
    return {"loop": loop, "threads": threads}


if __name__ == "__main__":
    import uvloop

    measured = uvloop.run(_measure(sys.argv[1], int(sys.argv[3]), int(sys.argv[4])))
    Path(sys.argv[2]).write_text(json.dumps(measured))
