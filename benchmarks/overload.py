"""Offered more than it can serve: how much of it does a proxy still serve in time?

An open-loop client (`open_loop.c`) offers a half to five times of what a proxy can
serve; what counts is answers that are right and whole within the deadline, from the
time at which each request was due. Twice: on connections that stay, and with a new
connection for each request. Beside the sidecar stands the same with `overload` off,
and a plain proxy. Each is measured against its own capacity.

The client shares a core with the origin, so a proxy must not be faster than a fifth
of what they can offer: hence the plain proxy is the one on aiohttp; nginx and HAProxy
would be held up by the client. A client that has no more than so many connections
overloads nobody who answers all of them within the deadline, so there are twice as
many as that.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.peers import PEERS, origin, started, unguarded
from benchmarks.processes import ROOT, StartError, end, pinned
from benchmarks.report import TIMES, Figure, aligned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.peers import Peer
    from benchmarks.plan import Plan

DEADLINE_MS = 250
_CONNECTIONS = (500, 8000)
TARGET_RATIO = 0.8
TIMES_CAPACITY = (0.5, 1.0, 2.0, 3.0, 5.0)
OURS, UNGUARDED, PLAIN = "sidecar", "sidecar, overload off", "plain proxy (aiohttp)"
MODES = {"keep": "connections that stay", "new": "a connection for each request"}

_WARM_UP_S = 2.0  # Overload has to last for a second before anything is refused.
_SEARCH_S = 0.5
_SEARCH_WARM_UP_S = 0.2
_LAST_STEP = 1.1  # To a tenth: the curve shows the rest.
_FIRST_GUESS_PER_S = 1000.0
_CALM_RATIO = 0.5  # Of the deadline: what takes longer waits in a queue that grows.
_FULL_SHARE = 0.95  # Of what is offered: it can serve that.
_GRACE_S = 20.0
_CALM_S = 0.5  # Between two loads: what waits from the one is no part of the next.


@dataclass(frozen=True, slots=True)
class Point:
    """What came of one load."""

    subject: str
    mode: str
    times_capacity: float
    offered_per_s: float
    good_per_s: float
    p99_ms: float
    refused_ratio: float  # Of what was offered: answered with 503.
    stalled_ms: float  # The client itself did not run for so long.


def run(plan: Plan) -> list[Point]:
    """Measure every subject.

    Raises:
        StartError: There is no C compiler, or no origin.
    """
    program = build(plan.folder)
    _raise_descriptors()
    points: list[Point] = []
    with origin(plan) as origin_port:
        for subject, peer in _subjects().items():
            try:
                with started(peer, plan, origin_port) as proxy:
                    client = Client(program, plan.load_core, proxy.port)
                    points += _curves(subject, client, plan)
            except StartError as error:
                print(f"  {subject}: {error}")
    return points


def build(folder: Path) -> Path:
    """Compile the client; return the program.

    Raises:
        StartError: There is no compiler, or it fails.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        msg = "no C compiler (apt-get install gcc libc6-dev)"
        raise StartError(msg)
    program = folder / "open_loop"
    source = ROOT / "benchmarks" / "open_loop.c"
    done = subprocess.run(
        [compiler, "-O2", "-o", str(program), str(source), "-lm"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        msg = f"open_loop.c cannot be compiled: {done.stderr.strip()[-200:]}"
        raise StartError(msg)
    return program


def _subjects() -> dict[str, Peer]:
    """Return the proxies; without a compiled sidecar the interpreted one stands in."""
    ours = PEERS["interpreted" if PEERS["sidecar"].missing() else "sidecar"]
    return {OURS: ours, UNGUARDED: unguarded(ours), PLAIN: PEERS["aiohttp"]}


def _raise_descriptors() -> None:
    """Let the client and the proxies have as many connections as the system lets."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def figures(points: Sequence[Point]) -> list[Figure]:
    """Return our goodput at the highest load as a part of the best one."""
    found: list[Figure] = []
    for mode, title in MODES.items():
        mine = [p for p in points if (p.subject, p.mode) == (OURS, mode)]
        ratio = kept_ratio(mine)
        if ratio is None:
            continue
        most = max(point.times_capacity for point in mine)
        name = f"{OURS}: goodput at {most:g} {TIMES} capacity, {title}"
        limit = TARGET_RATIO * 100
        found.append(
            Figure(name, ratio * 100, "% of its peak", limit, is_at_least=True)
        )
    return found


def kept_ratio(points: Sequence[Point]) -> float | None:
    """Return the goodput at the highest load as a part of the best of all."""
    best = max((point.good_per_s for point in points), default=0.0)
    if not best:
        return None
    return max(points, key=lambda point: point.times_capacity).good_per_s / best


def table(points: Sequence[Point]) -> str:
    """Return the points as an aligned Markdown table."""
    rows: list[Sequence[str]] = [
        (
            "load",
            "proxy",
            f"{TIMES} capacity",
            "offered/s",
            "good/s",
            "p99 of good, ms",
            "503",
        )
    ]
    rows += [
        (
            MODES[point.mode],
            point.subject,
            f"{point.times_capacity:g}",
            f"{point.offered_per_s:,.0f}",
            f"{point.good_per_s:,.0f}",
            f"{point.p99_ms:.0f}" if point.good_per_s else "-",
            f"{point.refused_ratio:.0%}",
        )
        for point in points
    ]
    return aligned(rows, left=(0, 1))


def connections_for(capacity_per_s: float) -> int:
    """Return with how many connections a client can overload a proxy twice."""
    least, most = _CONNECTIONS
    return min(most, max(least, int(2 * capacity_per_s * DEADLINE_MS / 1000)))


@dataclass(frozen=True, slots=True)
class Client:
    """The load: `open_loop` with all that is the same from one load to the next."""

    program: Path
    core: int
    port: int
    mode: str = "keep"
    connections: int = 0

    def load(self, per_s: float, seconds: float, warm_up_s: float) -> dict[str, float]:
        """Offer so many requests a second; return what came of them.

        Raises:
            StartError: The program failed, or did not end.
        """
        given = (
            self.port, f"{per_s:.0f}", f"{seconds:g}", f"{warm_up_s:g}",
            self.connections, DEADLINE_MS, self.mode,
        )  # fmt: skip
        process = subprocess.Popen(
            [*pinned(self.core), str(self.program), *map(str, given)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=seconds + warm_up_s + _GRACE_S)
        except subprocess.TimeoutExpired as error:
            msg = "open_loop did not end"
            raise StartError(msg) from error
        finally:
            end(process)
        if process.returncode:
            msg = f"open_loop ended with {process.returncode}"
            raise StartError(msg)
        told: dict[str, float] = json.loads(output)
        return told


def _curves(subject: str, client: Client, plan: Plan) -> list[Point]:
    points: list[Point] = []
    is_quick = plan.rounds < 3  # noqa: PLR2004 - a trial
    for mode, title in MODES.items():
        asking = replace(client, mode=mode, connections=_CONNECTIONS[1])
        capacity = _capacity_per_s(asking)
        asking = replace(asking, connections=connections_for(capacity))
        print(f"  {subject}, {title}: {capacity:,.0f}/s", flush=True)
        for times in (1.0, 5.0) if is_quick else TIMES_CAPACITY:
            points.append(_point(subject, times, times * capacity, asking, plan))
            time.sleep(_CALM_S)
    return points


def _capacity_per_s(client: Client) -> float:
    """Find the highest rate of which nearly all is served in time."""
    per_s, best_per_s, step = _FIRST_GUESS_PER_S, 0.0, 2.0
    while step > _LAST_STEP:
        told = client.load(per_s, _SEARCH_S, _SEARCH_WARM_UP_S)
        is_full = told["good"] < told["offered"] * _FULL_SHARE
        if not is_full and told["p99_ms"] < DEADLINE_MS * _CALM_RATIO:
            best_per_s = max(best_per_s, told["good"] / _SEARCH_S)
            per_s *= step
        else:
            time.sleep(_CALM_S)
            per_s /= step
            step **= 0.5
            per_s *= step
    return best_per_s or per_s


def _point(
    subject: str, times: float, per_s: float, client: Client, plan: Plan
) -> Point:
    seconds = float(plan.seconds)
    told = client.load(per_s, seconds, _WARM_UP_S)
    return Point(
        subject=subject,
        mode=client.mode,
        times_capacity=times,
        offered_per_s=told["offered"] / seconds,
        good_per_s=told["good"] / seconds,
        p99_ms=told["p99_ms"],
        refused_ratio=told["shed"] / max(1.0, told["offered"]),
        stalled_ms=told["stalled_ms"],
    )
