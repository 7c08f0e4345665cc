"""A hundred connections at once whose readers stopped: what does a proxy hold?

Growth is measured from the moment all of them are open and nothing has been
pushed, to the most there was while their senders pushed until nobody took any
more (VmHWM). So it is what they hold, not what a connection costs.
"""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from queue import Empty
from typing import TYPE_CHECKING

from benchmarks import procfs
from benchmarks.peers import PEERS, started
from benchmarks.plan import OURS
from benchmarks.processes import HOST, StartError
from benchmarks.report import Figure
from benchmarks.stalls import STALLS, Pair, Stall, crowd, far_end, push

if TYPE_CHECKING:
    from benchmarks.plan import Plan

BUFFER_BYTES = 64 * 1024  # limits.buffer, as it is by default.
READ_BYTES = 256_000  # uvloop reads at most so many at once.

_MIB = 1 << 20
_KIB = 1024
_SLACK_MIB = 4.0  # What the allocator and the sockets of the system's part add.


def held_bytes(buffer_bytes: int) -> int:
    """Return the most that one direction of one connection may hold.

    A full buffer, the piece that filled it, and the piece whose beginning is
    sent, which is one object until its end is (see docs/performance.md).
    """
    return buffer_bytes + 2 * READ_BYTES


def limit_mib(stall: Stall, buffer_bytes: int = BUFFER_BYTES) -> float:
    """Return what so many of them may hold together."""
    directions = bool(stall.by_client) + bool(stall.by_origin)
    return directions * stall.count * held_bytes(buffer_bytes) / _MIB + _SLACK_MIB


def run(plan: Plan) -> list[Figure]:
    """Return memory growth of each kind of stall, and the pace of a bystander."""
    figures: list[Figure] = []
    for name in plan.alone:
        for stall in STALLS:
            what = f"{name}: {stall.count} stalled {stall.name}"
            print(f"  {what}", flush=True)
            figures += _figures(what, name, stall, plan)
    return figures


def _figures(what: str, name: str, stall: Stall, plan: Plan) -> list[Figure]:
    limit = limit_mib(stall) if name == OURS else None
    growth = f"{what}, memory growth"
    try:
        grown_mib, waited_ms = _measure(name, stall, plan)
    except (StartError, OSError, Empty) as error:
        return [Figure(growth, None, "MiB", limit, note=str(error) or "no answer")]
    figures = [Figure(growth, grown_mib, "MiB", limit)]
    if stall is STALLS[0]:
        figures.append(Figure(f"{what}, a GET meanwhile", waited_ms, "ms"))
    return figures


def _measure(name: str, stall: Stall, plan: Plan) -> tuple[float, float]:
    """Return MiB of growth, and milliseconds of a request beside the stall."""
    with (
        far_end() as (origin_port, waiting),
        started(PEERS[name], plan, origin_port) as proxy,
    ):
        with crowd(replace(stall, count=1), proxy.port, waiting) as pairs:
            push(stall, pairs)  # What it loads for the first of a kind is no growth.
        with crowd(stall, proxy.port, waiting) as pairs:
            grown_bytes = grown_by(stall, pairs, proxy.child.pid)
            waited_ms = get_ms(proxy.port) if stall is STALLS[0] else 0.0
        return grown_bytes / _MIB, waited_ms


def grown_by(stall: Stall, pairs: list[Pair], pid: int) -> int:
    """Return by how many bytes a process grew at most, while they were pushed."""
    procfs.reset_peak(pid)
    before = procfs.memory(pid).resident_bytes
    push(stall, pairs)
    return procfs.memory(pid).peak_bytes - before


def get_ms(port: int) -> float:
    """Return the milliseconds that a GET on a connection of its own takes.

    Raises:
        OSError: It is not answered.
    """
    start_s = time.perf_counter()
    with socket.create_connection((HOST, port), timeout=10) as client:
        client.sendall(
            b"GET /other HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        )
        answer = client.recv(1024)
    if b" 200 " not in answer:
        msg = f"the answer was {answer[:80]!r}"
        raise ConnectionError(msg)
    return (time.perf_counter() - start_s) * 1000
