"""One soak, from start to verdict.

start    sidecar and origin; what the fresh sidecar holds is the measure
warm     the same traffic and the same chaos, in short: caches and pools fill
quiet    nothing is left over; the memory now is what it may hold
soak     traffic and chaos
quiet    nothing is left over, memory included
end      SIGTERM; exit code and log
judge    the journals of both sides against each other (`ledger.py`)
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.soak import chaos, journal
from tests.soak.ledger import Chaos, Did, Sent, violations
from tests.soak.subject import Counts, Subject, growth
from tests.soak.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

_WARM_RATIO = 0.3
_WORKERS = 24
_FAULTS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What came out of it."""

    sent: list[Sent]
    origin: list[Did]
    chaos: list[Chaos]
    start: Counts
    end: Counts
    warm_bytes: int
    end_bytes: int
    violations: list[str]


class Soak:
    """Sidecar, origin, clients and chaos; all that they write goes to `folder`."""

    def __init__(self, folder: Path, seed: int, workers: int = _WORKERS) -> None:
        self._folder = folder
        self._rng = Random(seed)
        self._workers = workers
        self._subject = Subject(folder)
        self._origin = chaos.OriginProcess(folder / "origin.jsonl", self._rng)
        self._chaos = journal.Journal(folder / "chaos.jsonl")
        self._client = journal.Journal(folder / "client.jsonl")
        self._traffic: Traffic

    async def run(self, seconds: float, code: Path | None = None) -> Report:
        """Soak for so long, and judge; `code` is where the sidecar comes from."""
        try:
            await self._origin.start()
            await self._subject.start(self._origin.port, code)
            return await self._soak(seconds)
        finally:
            with suppress(ProcessLookupError):
                await self._subject.kill()
            await self._origin.stop()
            self._chaos.close()
            self._client.close()

    async def _soak(self, seconds: float) -> Report:
        subject = self._subject
        self._traffic = Traffic(subject.port, self._client, self._rng)
        await subject.fill_fault_feed(_FAULTS_KEPT)
        start = await subject.settled()
        await self._rough_time(_WARM_RATIO * seconds)
        warm = await subject.until_quiet(start)
        warm_bytes = subject.resident_bytes
        await self._rough_time((1 - _WARM_RATIO) * seconds)
        end = await subject.until_quiet(start)
        end_bytes = subject.resident_bytes
        found = [*warm.left_since(start), *end.left_since(start)]
        found += [*growth(warm_bytes, end_bytes), *await subject.end()]
        await self._origin.stop()
        sent, done, acts = self._read_client(), self._read_chaos(), self._read_origin()
        found += violations(sent, acts, done)
        return Report(sent, acts, done, start, end, warm_bytes, end_bytes, found)

    async def _rough_time(self, seconds: float) -> None:
        """Traffic and chaos for so long, then no more of either."""
        plans = chaos.schedule(self._rng, seconds)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._traffic.run(self._workers))
            watch = group.create_task(chaos.watch_the_machine(self._chaos))
            loop = asyncio.get_running_loop()
            end_s = loop.time() + seconds
            try:
                await chaos.carry_out(plans, self._origin, self._chaos, self._rng)
                await asyncio.sleep(end_s - loop.time())
            finally:
                self._traffic.stop()
                watch.cancel()

    def _read_client(self) -> list[Sent]:
        return [Sent(**entry) for entry in journal.read(self._folder / "client.jsonl")]

    def _read_chaos(self) -> list[Chaos]:
        return [Chaos(**entry) for entry in journal.read(self._folder / "chaos.jsonl")]

    def _read_origin(self) -> list[Did]:
        return [
            Did(
                entry["id"],
                entry["did"],
                entry["boot"],
                entry.get("try", 1),
                entry.get("sha", ""),
                entry.get("runs", ()),
            )
            for entry in journal.read(self._folder / "origin.jsonl")
        ]
