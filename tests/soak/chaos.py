"""What is done to the origin, and when: drawn by seeded chance, then carried out.

    kill      SIGKILL, and started anew on the same port
    pause     SIGSTOP, and SIGCONT after a while
    others    a mood of `origin.py`: slow, garbage, reset, hasty, refuse

Between two of them there is time for the sidecar to recover, and for a while in
which nothing may fail at all.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from tests.soak.journal import Journal

ROOT = Path(__file__).parents[2]
KINDS = ("kill", "pause", "slow", "garbage", "reset", "hasty", "refuse")
STALL = "stall"  # Of the whole machine; not planned.
_BEAT_S = 0.05
_STALL_S = 0.25
_SHORTEST_S = 0.3
_LONGEST_S = 3.5  # Longer than any limit of the sidecar for one try.
_CALM_S = (1.0, 7.0)  # Longer than the aftermath, as a rule.
_DOWN_S = (0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Plan:
    """One thing to do: when, counted from the start, and for how long."""

    kind: str
    at_s: float
    for_s: float


def schedule(rng: Random, seconds: float) -> list[Plan]:
    """Return what to do in so much time: each kind once before any comes again.

    When there is little time all is shorter, and each kind still has its turn.
    """
    plans: list[Plan] = []
    at_s = rng.uniform(*_CALM_S) / 2
    while True:
        for kind in rng.sample(KINDS, len(KINDS)):
            for_s = rng.uniform(_SHORTEST_S, _LONGEST_S)
            if at_s + for_s > seconds and len(plans) >= len(KINDS):
                return _within(plans, seconds)
            plans.append(Plan(kind, at_s, for_s))
            at_s += for_s + rng.uniform(*_CALM_S)


def _within(plans: Sequence[Plan], seconds: float) -> list[Plan]:
    """Return the plans, all of them shorter if they take too long."""
    pace = min(1.0, seconds / (plans[-1].at_s + plans[-1].for_s))
    return [Plan(p.kind, pace * p.at_s, pace * p.for_s) for p in plans]


class OriginProcess:
    """The origin as a process that can be killed and paused."""

    def __init__(self, log: Path, rng: Random) -> None:
        self._log = log
        self._rng = rng
        self._process: asyncio.subprocess.Process | None = None
        self.boot = 0
        self.port = 0

    async def start(self) -> None:
        self.boot += 1
        seed = self._rng.randrange(2**32)
        words = (self.port, self._log, seed, self.boot)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.origin", *map(str, words)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        self.port = int(await self._process.stdout.readline())

    async def stop(self) -> None:
        """End it in an orderly way."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()

    async def kill(self) -> int:
        """Kill it; return which start of it that was."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        await process.wait()
        return self.boot

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def be(self, mood: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{mood}\n".encode())
        await self._process.stdin.drain()


async def watch_the_machine(journal: Journal) -> None:
    """Note when nothing ran here for a while: then nothing did elsewhere, either.

    A machine that is busy with something else is no fault of the sidecar; a limit
    of time that is reached then is explained.
    """
    loop = asyncio.get_running_loop()
    while True:
        due_s = loop.time() + _BEAT_S
        await asyncio.sleep(_BEAT_S)
        if (now_s := loop.time()) > due_s + _STALL_S:
            journal.note(kind=STALL, start_s=due_s, end_s=now_s)


async def carry_out(
    plans: Sequence[Plan], origin: OriginProcess, journal: Journal, rng: Random
) -> None:
    """Do what is planned; each thing is noted when it is over."""
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    for plan in plans:
        await asyncio.sleep(begin_s + plan.at_s - loop.time())
        start_s, boot = loop.time(), 0
        if plan.kind == "kill":
            boot = await origin.kill()
            await asyncio.sleep(rng.uniform(*_DOWN_S))
            await origin.start()
        elif plan.kind == "pause":
            origin.signal(signal.SIGSTOP)
            await asyncio.sleep(plan.for_s)
            origin.signal(signal.SIGCONT)
        else:
            await origin.be(plan.kind)
            await asyncio.sleep(plan.for_s)
            await origin.be("calm")
        journal.note(kind=plan.kind, start_s=start_s, end_s=loop.time(), boot=boot)
