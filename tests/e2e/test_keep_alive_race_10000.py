"""The keep-alive race over real sockets, ten thousand times.

Three processes: the clients (here), a sidecar, and an origin that ends its idle
connections while requests are on their way to them (`tests.support.racing_origin`).
The retries of so many GETs would empty the default budget, which is there for an
origin that does not do this all the time: who has one like it raises the budget.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.support.process import sidecar
from tests.support.proxy import header_of, status_of
from tests.support.scripts import AMPLE, QUICK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
SEED = 316
REQUESTS = 10_000
CLIENTS = 8
BODY = b"x" * 64
STALE = "316-CONN-STALE"
UPSTREAM = {"retry_budget": AMPLE}
ROUTE = {
    "name": "all",
    "upstream": "app",
    "retry": {"backoff": QUICK},
    "circuit_breaker": "off",
}


class Answer(NamedTuple):
    """What a client got."""

    path: str
    method: str
    status: int
    code: str | None
    processed: str | None


@asynccontextmanager
async def racing_origin(log: Path) -> AsyncIterator[int]:
    """Run the origin; yield its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.racing_origin", str(SEED), str(log)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


class Client:
    """Asks one thing after the other, on one connection while it lasts."""

    def __init__(self, port: int, name: int) -> None:
        self._port = port
        self._name = name
        self._rng = Random(SEED + name)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self, answers: list[Answer]) -> None:
        try:
            for number in range(REQUESTS // CLIENTS):
                answer = await self._ask(f"/{self._name}/{number}")
                answers.append(answer)
        finally:
            self._close()

    async def _ask(self, path: str) -> Answer:
        method = self._rng.choice(["GET", "POST"])
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        length = f"Content-Length: {len(BODY)}\r\n" if method == "POST" else ""
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
        if length:
            writer.write(BODY)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(header_of(head, "content-length") or "0"))
        if header_of(head, "connection") == "close":
            self._close()
        code = header_of(head, "x-316-code")
        processed = header_of(head, "x-316-processed")
        return Answer(path, method, status_of(head), code, processed)

    def _close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def race(folder: Path) -> tuple[list[Answer], list[str]]:
    """Return what the clients got, and what the origin wrote down."""
    log, answers = folder / "origin.log", list[Answer]()
    async with racing_origin(log) as port:
        upstreams = {"app": {"endpoints": [f"127.0.0.1:{port}"], **UPSTREAM}}
        telemetry = {"access_log": {"mode": "off"}}
        async with sidecar(
            folder, upstreams=upstreams, routes=[ROUTE], telemetry=telemetry
        ) as running:
            clients = [Client(running.inbound, name) for name in range(CLIENTS)]
            await asyncio.gather(*(client.run(answers) for client in clients))
    return answers, log.read_text(encoding="ascii").splitlines()


@pytest.mark.timeout(180)  # It takes ten seconds, on a machine that has them.
async def test_ten_thousand_races_cost_no_get_and_no_post_is_acted_on_twice(
    tmp_path: Path,
) -> None:
    answers, lines = await race(tmp_path)
    assert len(answers) == REQUESTS
    words = [line.split(" ") for line in lines]
    acted = Counter(word[2] for word in words if word[0] == "acted")
    ended = Counter(" ".join(word[1:]) for word in words if word[0] == "ended")
    repeated = Counter(
        word[1] for word in words if word[0] == "acted" and word[3] != "1"
    )
    outcomes = Counter((a.method, a.status, a.code) for a in answers)
    sys.stdout.write(f"ended {ended}\nsent again {repeated}\noutcomes {outcomes}\n")
    for answer in answers:
        judge(answer, acted[answer.path])
    # Else nothing was shown: each manner was met, and what it led to as well.
    assert min(ended[f"{m} behind"] for m in ("unread", "head", "acted")) > 100
    assert min(ended[f"{m} before"] for m in ("fin", "reset", "half-close")) > 100
    assert sum(ended[f"{m} behind"] for m in ("fin", "reset", "half-close")) > 20
    assert repeated["GET"] > 300
    assert outcomes["POST", 502, STALE] > 300
    assert any(acted[a.path] for a in answers if a.status != 200)
    assert not all(acted[a.path] for a in answers if a.status != 200)


def judge(answer: Answer, acted: int) -> None:
    """Hold what a client got to what the origin did."""
    if answer.method == "GET":
        assert answer.status == 200, answer
        assert acted >= 1, answer
        return
    assert acted <= 1, answer
    if answer.status == 200:
        assert acted == 1, answer
    else:
        assert (answer.status, answer.code) == (502, STALE), answer
        assert answer.processed != "no" or not acted, answer
