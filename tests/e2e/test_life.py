"""The life of a pod: when it is ready, what ends it, and what it leaves behind."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import yaml

from benchmarks.processes import BOUND
from sidecar.admin.token import VARIABLE
from sidecar.cli.run import leave_word
from tests.support.admin import KNOWING
from tests.support.process import LOOK_S, Sidecar, sidecar
from tests.support.proxy import ANYWHERE, Origin, always_ok, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

AT_ONCE = {"lead": "0s", "grace": "10s"}
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
CAN_UNSHARE = os.geteuid() == 0 and shutil.which("unshare") and shutil.which("nsenter")


class Application:
    """An origin on a port of its own that starts and ends."""

    def __init__(self) -> None:
        self.port = 0
        self._origin = Origin(always_ok)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._origin.serve, "127.0.0.1", self.port
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As one that drains: what is asked is answered, then all is closed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._origin.end()


@asynccontextmanager
async def application() -> AsyncIterator[Application]:
    it = Application()
    await it.start()
    try:
        yield it
    finally:
        await it.stop()


def before(it: Application) -> dict[str, Any]:
    return {"app": {"endpoints": [f"127.0.0.1:{it.port}"]}}


async def test_it_is_ready_while_the_application_listens(tmp_path: Path) -> None:
    """If that is asked for; it has started in any case."""
    waiting = {"listen": ANYWHERE, "await_application": True}
    async with (
        application() as it,
        sidecar(tmp_path, upstreams=before(it), health=waiting) as running,
    ):
        await it.stop()
        await running.until(503)
        assert await running.status("/healthz/started") == 200
        await it.start()
        await running.until(200)


async def test_quit_drains_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a Job calls when it is done; who may not, may not."""
    monkeypatch.setenv(VARIABLE, KNOWING["Authorization"].removeprefix("Bearer "))
    async with (
        application() as it,
        sidecar(tmp_path, upstreams=before(it), drain=AT_ONCE) as running,
    ):
        assert await ask_to_quit(running, "") == 401
        assert running.process.returncode is None
        reader, writer = await asyncio.open_connection("127.0.0.1", running.inbound)
        writer.write(GET[:-2])  # A request that has begun to come.
        for _ in range(2):  # Twice is not to be in a hurry.
            assert await ask_to_quit(running, KNOWING["Authorization"]) == 202
        await running.until(503)
        writer.write(b"\r\n")
        assert status_of(await reader.read()) in {200, 503}
        writer.close()
        assert await running.process.wait() == 0


async def ask_to_quit(running: Sidecar, token: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.admin)
    writer.write(
        b"POST /quit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n"
        b"Authorization: %b\r\nConnection: close\r\n\r\n" % token.encode()
    )
    status = status_of(await reader.read())
    writer.close()
    return status


@pytest.mark.skipif(not CAN_UNSHARE, reason="needs root, unshare and nsenter")
async def test_it_ends_with_the_processes_of_the_application(tmp_path: Path) -> None:
    """In a process namespace as pods have it, with the pause process in it."""
    pause = tmp_path / "pause"
    shutil.copy(str(shutil.which("sleep")), pause)
    file = tmp_path / "sidecar.yaml"
    listening = {"listen": ANYWHERE}
    settings = {
        **dict.fromkeys(("inbound", "health", "admin"), listening),
        "upstreams": {"app": {"endpoints": ["127.0.0.1:1"]}},
        "routes": [{"name": "all", "upstream": "app"}],
        "drain": {**AT_ONCE, "follow_application": True},
    }
    file.write_text(yaml.safe_dump(settings))
    pod = await asyncio.create_subprocess_exec(
        *(*BOUND, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"),
        *(str(pause), "1000"),
    )
    try:
        while not (inside := psutil.Process(pod.pid).children()):
            await asyncio.sleep(LOOK_S)
        enter = ("nsenter", "--target", str(inside[0].pid), "--pid", "--mount")
        app = await asyncio.create_subprocess_exec(*enter, "sleep", "1000")
        proxy = await asyncio.create_subprocess_exec(
            *(*enter, sys.executable, "-m", "sidecar", "run", "-c", str(file)),
            stderr=asyncio.subprocess.PIPE,
        )
        assert proxy.stderr is not None
        while b"serving:" not in await proxy.stderr.readline():
            assert proxy.returncode is None
        for child in psutil.Process(app.pid).children():
            child.terminate()  # The application; what entered for it ends with it.
        said = await proxy.stderr.read()
        assert await proxy.wait() == 0
        assert b"the application is gone: draining" in said
        await app.wait()
    finally:
        pod.kill()
        await pod.wait()


def test_it_leaves_a_word_where_kubernetes_looks(tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    leave_word("nobody looks", log)
    assert not log.exists()
    log.write_text("")
    leave_word("port taken " + "é" * 9000, log)
    assert log.read_bytes().startswith(b"port taken ")
    assert log.stat().st_size == 4096


def quiet_port() -> int:
    """Return a free port that no connection gets while nobody listens there."""
    while True:
        port = random.randrange(20_000, 32_000)  # Below the ephemeral ones.
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Pod:
    """An application and the sidecar before it, each to be restarted by itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.app = Application()
        self.inbound = quiet_port()
        self._process: asyncio.subprocess.Process | None = None

    async def start_sidecar(self) -> None:
        settings = {
            "inbound": {"listen": f"127.0.0.1:{self.inbound}"},
            "health": {"listen": ANYWHERE},
            "admin": {"listen": ANYWHERE},
            "upstreams": before(self.app),
            "routes": [{"name": "all", "upstream": "app"}],
            "drain": {"lead": "0s", "grace": "10s"},
        }
        file = self._folder / "sidecar.yaml"
        file.write_text(yaml.safe_dump(settings))
        self._process = await asyncio.create_subprocess_exec(
            *(*BOUND, sys.executable, "-m", "sidecar", "run", "-c", str(file)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        said = await self._process.stderr.readuntil(b"admin ")
        self.inbound = int(said.split(b"inbound 127.0.0.1:")[1].split(b",")[0])

    async def stop_sidecar(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        await self._process.communicate()
        assert self._process.returncode == 0

    async def end(self) -> None:
        """End what is left of it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()
        await self.app.stop()


@pytest.mark.timeout(240)
async def test_a_rolling_restart_of_sidecars_under_load_loses_no_request(
    tmp_path: Path,
) -> None:
    """One pod after the other; what one refuses unprocessed goes to the other.

    Also the second, which ends before the first is known to be back.
    """
    pods = [Pod(tmp_path / f"pod{n}") for n in range(2)]
    try:
        for pod in pods:
            await pod.app.start()
            await pod.start_sidecar()
        endpoints = [f"127.0.0.1:{pod.inbound}" for pod in pods]
        caller = {"app": {"endpoints": endpoints, "is_peer": True}}
        async with sidecar(tmp_path, upstreams=caller) as proxy:
            statuses: list[int] = []
            stop = asyncio.Event()
            asking = [
                asyncio.create_task(keep_asking(proxy.inbound, statuses, stop))
                for _ in range(8)
            ]
            for pod in pods:
                await pod.stop_sidecar()
                await answered(statuses, 50, asking)
                await pod.start_sidecar()
                await answered(statuses, 50, asking)
            stop.set()
            await asyncio.gather(*asking)
            assert set(statuses) == {200}
        for pod in pods:
            await pod.stop_sidecar()
    finally:
        for pod in pods:
            await pod.end()


async def answered(
    statuses: list[int], more: int, asking: list[asyncio.Task[None]]
) -> None:
    """Wait until so many more requests have been answered."""
    enough = len(statuses) + more
    while len(statuses) < enough:
        assert not any(task.done() for task in asking), statuses[-20:]
        await asyncio.sleep(LOOK_S)


async def keep_asking(port: int, statuses: list[int], stop: asyncio.Event) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        writer.write(GET.replace(b"GET", b"GET" if len(statuses) % 2 else b"DELETE"))
        head = await reader.readuntil(b"\r\n\r\n")
        statuses.append(status_of(head))
        if statuses[-1] != 200:
            break
        await reader.readexactly(2)
    writer.close()


async def test_who_is_told_to_end_while_it_still_finds_endpoints_ends(
    tmp_path: Path,
) -> None:
    """As process 1 of a container it would not have heard the signal at all."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.setblocking(False)
        silent.bind(("127.0.0.1", 0))
        file = tmp_path / "sidecar.yaml"
        settings = {
            "inbound": {"listen": ANYWHERE},
            "health": {"listen": ANYWHERE},
            "admin": {"listen": ANYWHERE},
            "discovery": {
                "nameservers": [f"127.0.0.1:{silent.getsockname()[1]}"],
                "first_answer": "50s",
            },
            "upstreams": {"app": {"discovery": {"dns": {"name": "app.", "port": 80}}}},
            "routes": [{"name": "all", "upstream": "app"}],
        }
        file.write_text(yaml.safe_dump(settings))
        process = await asyncio.create_subprocess_exec(
            *BOUND, sys.executable, "-m", "sidecar", "run", "-c", str(file),
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await loop.sock_recv(silent, 512)  # It asks, and nobody answers.
        process.send_signal(signal.SIGTERM)
        _, words = await process.communicate()
        assert process.returncode == 0, words
        assert b"serving" not in words
