"""What one sidecar needs: memory and CPU, idle, at work, and with many connections.

`make resources` starts one anew for each situation, in front of an origin, and writes
`docs/resources.json` with the table of `docs/resources.md`. The request and the limit
of a pod follow from it (`benchmarks.needs`); a test holds the manifests to them.

Memory is what the process has resident and what the kernel holds for it: sockets cost
a pod as much as objects do. The kernel tells the latter where a cgroup can be made.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from benchmarks import pages, procfs, wrk
from benchmarks.cgroups import NoCgroupError, Own, own_cgroup
from benchmarks.machine import machine
from benchmarks.needs import (
    CONNECTED,
    CONNECTIONS,
    IDLE,
    IN_FLIGHT,
    LOADED,
    PACED,
    PER_S,
    WAITING,
    Measured,
    costs,
    request_and_limit,
    told,
)
from benchmarks.overload import Client, build
from benchmarks.peers import PEERS, Running, origin, started
from benchmarks.plan import OURS, Plan, make_plan
from benchmarks.processes import HOST, ROOT, StartError
from sidecar.cgroup import Cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from benchmarks.peers import Launch, Peer, Place

    _Start = Callable[..., AbstractContextManager["Subject"]]  # Given the origin.

_SETTLE_S = 1.0
_IDLE_S = 3.0
_PACED_S = 2.0
_PACED_ROUNDS = 3
_PACED_TRIES = 9
_PEAK_S = 10
_PEAK_CONNECTIONS = 256
_PACED_CONNECTIONS = 50
_PACE_TOLERANCE = 0.05
_ROOMY = {"max_connections": IN_FLIGHT, "max_requests": IN_FLIGHT}
_SOURCES = 8  # Loopback addresses to connect from, each with ports of its own.
_PATIENCE_S = 10.0
_MIB = 1 << 20
_KIB = 1024
_GET = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"


def measure(plan: Plan) -> list[Measured]:
    """Measure each build that is there, in each situation.

    Raises:
        StartError: nginx or a C compiler is missing, or a sidecar does not come up.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asking = Client(build(plan.folder), plan.load_core, 0)
    found: list[Measured] = []
    with origin(plan) as origin_port:
        for name in ("interpreted", OURS):
            if why := PEERS[name].missing():
                print(f"  {name}: {why}")
                continue
            subject = partial(_subject, PEERS[name], plan)
            found += [
                *_idle_and_paced(subject, origin_port, asking),
                _connected(subject, origin_port),
                _waiting(partial(subject, pool=_ROOMY)),
                _loaded(subject, origin_port, plan),
            ]
    return found


class Subject:
    """A sidecar that runs, and what it uses."""

    def __init__(self, running: Running, own: Own | None) -> None:
        self.name = running.peer.name
        self.port = running.port
        self.pid = running.child.pid
        self._own = own

    def measured(self, situation: str, **figures: float) -> Measured:
        """Return what it has resident now, with the figures that were taken."""
        print(f"  {self.name}: {situation}", flush=True)
        pss_mib, uss_mib = _shares_mib(self.pid)
        return Measured(
            self.name,
            situation,
            procfs.memory(self.pid).resident_bytes / _MIB,
            pss_mib,
            uss_mib,
            self._kernel_mib(),
            figures.get("cpu_percent"),
            figures.get("cpu_us"),
            figures.get("per_s"),
        )

    def _kernel_mib(self) -> float | None:
        if self._own is None:
            return None
        return Cgroup(told=f"/proc/{self.pid}/cgroup").kernel_bytes() / _MIB


@contextmanager
def _subject(
    peer: Peer, plan: Plan, origin_port: int, pool: Mapping[str, int] | None = None
) -> Iterator[Subject]:
    with ExitStack() as stack:
        try:
            own = stack.enter_context(own_cgroup())
        except NoCgroupError as error:
            print(f"  what the kernel holds is not known: {error}")
            own = None
        inside = replace(peer, launch=partial(_launched, peer, own, pool or {}))
        running = stack.enter_context(started(inside, plan, origin_port))
        time.sleep(_SETTLE_S)
        yield Subject(running, own)


def _launched(
    peer: Peer, own: Own | None, pool: Mapping[str, int], place: Place
) -> Launch:
    launch = peer.launch(place)
    config = place.folder / "sidecar.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["upstreams"]["app"]["pool"] = dict(pool)
    config.write_text(yaml.safe_dump(settings))
    return replace(launch, command=[*(own.prefix if own else ()), *launch.command])


def _shares_mib(pid: int) -> tuple[float | None, float | None]:
    """Return its part of the pages, and the pages that it has alone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None, None
    kib = {
        name: int(rest.split()[0])
        for name, _, rest in (line.partition(":") for line in text.splitlines()[1:])
    }
    alone = kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    return kib.get("Pss", 0) / _KIB, alone / _KIB


def _idle_and_paced(
    start: _Start, origin_port: int, client: Client
) -> Iterator[Measured]:
    with start(origin_port) as subject:
        cpu_percent = _cpu_percent(subject.pid, _IDLE_S)
        yield subject.measured(IDLE, cpu_percent=cpu_percent)
        client = replace(client, port=subject.port, connections=_PACED_CONNECTIONS)
        client.load(PER_S, _SETTLE_S, 0.0)
        rounds = _paced_rounds(subject.pid, client)
        percent, us, per_s = min(rounds)  # What else runs here can only add to it.
        yield subject.measured(PACED, cpu_percent=percent, cpu_us=us, per_s=per_s)


def _paced_rounds(pid: int, client: Client) -> list[tuple[float, float, float]]:
    """Return CPU in percent, CPU in us a request, and the pace, of some rounds.

    One that did not keep the pace, since others were at work here, does not count.

    Raises:
        StartError: Hardly any did.
    """
    rounds: list[tuple[float, float, float]] = []
    for _ in range(_PACED_TRIES):
        used_s = procfs.cpu_s(pid)
        answers = client.load(PER_S, _PACED_S, 0.0)
        cpu_s = procfs.cpu_s(pid) - used_s
        per_s = answers["good"] / _PACED_S
        if abs(per_s / PER_S - 1) < _PACE_TOLERANCE:
            rounds.append(
                (100 * cpu_s / _PACED_S, cpu_s * 1e6 / answers["good"], per_s)
            )
        if len(rounds) == _PACED_ROUNDS:
            return rounds
    msg = f"this machine is too busy for {PER_S} requests/s: {per_s:.0f} at last"
    raise StartError(msg)


def _cpu_percent(pid: int, for_s: float) -> float:
    begun_s, used_s = time.perf_counter(), procfs.cpu_s(pid)
    time.sleep(for_s)
    return 100 * (procfs.cpu_s(pid) - used_s) / (time.perf_counter() - begun_s)


def _connected(start: _Start, origin_port: int) -> Measured:
    with start(origin_port) as subject, ExitStack() as stack:
        for number in range(CONNECTIONS):
            client = stack.enter_context(_client(subject.port, number))
            client.sendall(_GET)
            if not client.recv(4096).startswith(b"HTTP/1.1 200 "):
                msg = f"connection {number + 1} was refused"
                raise StartError(msg)
        time.sleep(_SETTLE_S)
        cpu_percent = _cpu_percent(subject.pid, _IDLE_S)
        return subject.measured(CONNECTED, cpu_percent=cpu_percent)


def _client(port: int, number: int) -> socket.socket:
    source = f"127.0.0.{2 + number % _SOURCES}"
    return socket.create_connection((HOST, port), _PATIENCE_S, (source, 0))


def _waiting(start: _Start) -> Measured:
    """Ask an origin that takes connections and says nothing."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server((HOST, 0), backlog=1024))
        silent.settimeout(_PATIENCE_S)
        subject = stack.enter_context(start(silent.getsockname()[1]))
        for number in range(IN_FLIGHT):
            stack.enter_context(_client(subject.port, number)).sendall(_GET)
            stack.enter_context(silent.accept()[0])
        time.sleep(_SETTLE_S)
        return subject.measured(WAITING)


def _loaded(start: _Start, origin_port: int, plan: Plan) -> Measured:
    load = wrk.Load("get", "GET")
    with start(origin_port) as subject:
        used_s = procfs.cpu_s(subject.pid)
        counted = wrk.run(
            load,
            subject.port,
            seconds=_PEAK_S if subject.name == OURS else _PEAK_S // 2,
            core=plan.load_core,
            folder=plan.folder,
            connections=_PEAK_CONNECTIONS,
        )
        cpu_s = procfs.cpu_s(subject.pid) - used_s
        peak_mib = procfs.memory(subject.pid).peak_bytes / _MIB
        return replace(
            subject.measured(
                LOADED,
                cpu_percent=100 * cpu_s / counted.duration_s,
                cpu_us=cpu_s * 1e6 / counted.requests,
                per_s=counted.requests / counted.duration_s,
            ),
            rss_mib=peak_mib,
        )


def write(measured: Sequence[Measured], root: Path) -> None:
    """Write the file, and the table into its page."""
    needs, each = request_and_limit(measured), costs(measured)
    report = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "measured": [asdict(one) for one in measured],
        "needs": asdict(needs),
        "costs_bytes": {name: round(value) for name, value in asdict(each).items()},
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (root / "docs" / "resources.json").write_text(text + "\n", encoding="utf-8")
    page = root / "docs" / "resources.md"
    placed = pages.placed(page.read_text(encoding="utf-8"), told(measured), "resources")
    page.write_text(placed, encoding="utf-8")


def main() -> int:
    """Measure, print and write; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="sidecar-resources-") as folder:
        plan = make_plan(Path(folder), (), seconds=_PEAK_S, is_quick=False)
        os.sched_setaffinity(0, {plan.load_core})
        try:
            measured = measure(plan)
        except (StartError, wrk.LoadError, OSError) as error:
            print(f"cannot measure: {error}")
            return 1
        except KeyboardInterrupt:
            print("interrupted; every process that was started has been ended")
            return 130
    print(f"\n{told(measured)}")
    write(measured, ROOT)
    print("\nwritten: docs/resources.json, docs/resources.md; run tests/benchmarks: it")
    print("tells which numbers of manifests and code follow from it, and do not yet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
