"""Applications and sidecars are restarted one by one under load: no request is lost.

All with default retries, budget, breaker and outlier detection, but where a test says
otherwise. Graceful is what closes its listening socket, and answers what comes on
the connections that it has, saying that it closes them.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.processes import BOUND
from tests.e2e.test_life import quiet_port
from tests.support.process import LOOK_S, Sidecar, sidecar
from tests.support.proxy import ANYWHERE, header_of, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

# Processes are started one after the other; a busy machine takes its time.
pytestmark = pytest.mark.timeout(240)
LINGER_S = 1.2  # Longer than a connection may have been idle to get a POST (1 s).
WORKERS = 8
ENOUGH = 60
REQUESTS = {
    "GET": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\ndata",
}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%b\r\nok"
# What a POST may meet that was with an application when that died.
CRASHES = {"316-CONN-RESET", "316-CONN-TERMINATED", "316-CONN-STALE"}


class Application:
    """One that ends as a well-behaved server does, or dies."""

    def __init__(self) -> None:
        self.port = quiet_port()
        self.served = 0
        self.is_frozen = False  # Answers nothing: what it has will die with it.
        self._is_leaving = False
        self._server: asyncio.Server | None = None
        self._talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._is_leaving = self.is_frozen = False
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """End gracefully."""
        self._is_leaving = True
        if self._server is not None:
            self._server.close()
            self._server = None
        while self._talks:
            await asyncio.wait(set(self._talks))

    async def crash(self) -> None:
        """Die with requests that it has not answered."""
        self.is_frozen = True
        while not self._waiting:
            await asyncio.sleep(LOOK_S)
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in list(self._talks.items()):
            writer.transport.abort()
            task.cancel()
        while self._talks:
            await asyncio.wait(set(self._talks))
        self._waiting = 0

    _waiting = 0

    async def _talk(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks[task] = writer
        try:
            while await self._request(reader):
                if self.is_frozen:
                    self._waiting += 1
                    await asyncio.Event().wait()
                self.served += 1
                is_last = self._is_leaving
                writer.write(OK % (b"Connection: close\r\n" if is_last else b""))
                await writer.drain()
                if is_last:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            del self._talks[task]

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        """Return a head; empty once nobody asks any more of one that is leaving."""
        asked = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
        try:
            idle_s = 0.0
            while not asked.done() and idle_s < LINGER_S:
                await asyncio.wait([asked], timeout=LOOK_S)
                idle_s = idle_s + LOOK_S if self._is_leaving else 0.0
            if not asked.done():
                return b""
            head = asked.result()
        finally:
            asked.cancel()
        if head.startswith(b"POST"):
            await reader.readexactly(4)
        return head


class Load:
    """Workers that ask on and on; what was not 200 is kept."""

    def __init__(self, port: int, methods: Iterable[str]) -> None:
        self.answered = 0
        self.lost: Counter[tuple[str, int, str | None]] = Counter()
        self._is_over = False
        names = list(methods)
        self._workers = [
            asyncio.create_task(self._ask(port, names[n % len(names)]))
            for n in range(WORKERS)
        ]

    async def _ask(self, port: int, method: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not self._is_over:
            writer.write(REQUESTS[method])
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(str(header_of(head, "content-length"))))
            self.answered += 1
            if status_of(head) != 200:
                code = header_of(head, "x-316-code")
                self.lost[method, status_of(head), code] += 1
        writer.close()

    async def more(self) -> None:
        """Wait until a good many more requests have been answered."""
        enough = self.answered + ENOUGH
        while self.answered < enough:
            assert not any(worker.done() for worker in self._workers)
            await asyncio.sleep(LOOK_S)

    async def until_served_by(self, application: Application) -> None:
        """Wait until an application serves again, as readiness is waited for."""
        enough = application.served + ENOUGH
        while application.served < enough:
            assert not any(worker.done() for worker in self._workers)
            await asyncio.sleep(LOOK_S)

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._workers)


@asynccontextmanager
async def load_on(port: int, *methods: str) -> AsyncIterator[Load]:
    load = Load(port, methods)
    try:
        await load.more()
        yield load
        await load.more()
    finally:
        await load.end()


@asynccontextmanager
async def applications(count: int) -> AsyncIterator[list[Application]]:
    found = [Application() for _ in range(count)]
    for each in found:
        await each.start()
    try:
        yield found
    finally:
        await asyncio.gather(*(each.stop() for each in found))


@asynccontextmanager
async def outbound(
    folder: Path, endpoints: list[str], **upstream: Any
) -> AsyncIterator[Sidecar]:
    """Run the sidecar of a caller: one route, to these endpoints."""
    async with sidecar(
        folder,
        outbound={"listen": ANYWHERE},
        upstreams={"app": {"endpoints": endpoints, **upstream}},
        routes=[{"name": "out", "listener": "outbound", "upstream": "app"}],
    ) as running:
        yield running


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0)])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_graceful_restart_of_applications_loses_nothing(
    tmp_path: Path, method: str, order: tuple[int, ...]
) -> None:
    """The second goes as soon as the first listens, whether or not it was asked yet."""
    async with (
        applications(2) as both,
        outbound(tmp_path, [each.endpoint for each in both]) as caller,
        load_on(caller.outbound, method) as load,
    ):
        for index in order:
            await both[index].stop()
            await load.more()
            await both[index].start()
        for each in both:
            await load.until_served_by(each)
        assert not load.lost


async def test_a_crash_costs_only_the_posts_that_were_with_it(tmp_path: Path) -> None:
    """Nobody knows whether those were processed; they fail, and with that name.

    The budget is large enough for all GETs that were with it.
    """
    budget = {"min_concurrent": WORKERS}
    async with applications(2) as both:
        endpoints = [each.endpoint for each in both]
        async with (
            outbound(tmp_path, endpoints, retry_budget=budget) as caller,
            load_on(caller.outbound, "GET", "POST") as load,
        ):
            await both[0].crash()
            await load.more()
            lost = load.lost.copy()
            await both[0].start()
            await load.more()
            assert load.lost == lost
    assert lost.total() <= WORKERS
    assert {(method, status) for method, status, _ in lost} <= {("POST", 502)}
    assert {code for *_, code in lost} <= CRASHES


class Pod:
    """An application and the sidecar before it, each to be restarted by itself."""

    def __init__(self, folder: Path, app: Application) -> None:
        folder.mkdir()
        self.app = app
        self.port = quiet_port()
        self._file = folder / "sidecar.yaml"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        settings = {
            "inbound": {"listen": f"127.0.0.1:{self.port}"},
            "health": {"listen": ANYWHERE},
            "admin": {"listen": ANYWHERE},
            "upstreams": {"app": {"endpoints": [self.app.endpoint]}},
            # Open for a shorter time than by default, for this test is to be short.
            "routes": [
                {"name": "all", "upstream": "app", "circuit_breaker": {"open": "1s"}}
            ],
            "drain": {"lead": "0s", "grace": "10s"},
        }
        self._file.write_text(yaml.safe_dump(settings))
        self._process = await asyncio.create_subprocess_exec(
            *(*BOUND, sys.executable, "-m", "sidecar", "run", "-c", str(self._file)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        await self._process.stderr.readuntil(b"serving:")

    async def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        await self._process.communicate()
        assert self._process.returncode == 0

    async def end(self) -> None:
        """End what is left of it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


@pytest.mark.parametrize("parts", [*permutations(("app", "sidecar"))])
async def test_pods_are_restarted_part_by_part_without_a_loss(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    """Application and sidecar of one pod, then of the other, which waits for the first.

    The sidecar before a dead application says so, and opens its own breaker. Nothing
    is left alone for longer than 2 s, for this test is to be short.
    """
    outlier = {"base_ejection": "2s", "max_ejection": "2s"}
    async with applications(2) as apps:
        pods = [Pod(tmp_path / f"pod{n}", app) for n, app in enumerate(apps)]
        try:
            for pod in pods:
                await pod.start()
            endpoints = [f"127.0.0.1:{pod.port}" for pod in pods]
            async with (
                outbound(tmp_path, endpoints, is_peer=True, outlier=outlier) as caller,
                load_on(caller.outbound, "GET", "POST") as load,
            ):
                for pod in pods:
                    for part in parts:
                        it = pod.app if part == "app" else pod
                        await it.stop()
                        await load.more()
                        await it.start()
                        await load.until_served_by(pod.app)
                assert not load.lost
            for pod in pods:
                await pod.stop()
        finally:
            for pod in pods:
                await pod.end()
