"""Reloads of a sidecar that serves, on real sockets: nobody is to notice."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from sidecar.admin.token import VARIABLE
from tests.support.admin import TOKEN
from tests.support.process import LOOK_S, Sidecar, sidecar
from tests.support.proxy import ANYWHERE, OK, Origin, Talk, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENTS = 16
RELOADS = 100
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
UPGRADE = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
)
REJECTED = "316-CONFIG-REJECTED"


async def answer(talk: Talk) -> None:
    while request := await talk.request():
        if b"\r\nUpgrade: echo\r\n" in request:
            await talk.send(SWITCHED)
            while data := await talk.reader.read(100):
                await talk.send(data)
            return
        await talk.send(OK)


class Served:
    """A sidecar before an origin, and the file that it goes by."""

    def __init__(self, proxy: Sidecar, file: Path, origin_port: int) -> None:
        self.proxy = proxy
        self.file = file
        self._origin_port = origin_port
        self._url = f"http://127.0.0.1:{proxy.admin}"

    def text(self, **changes: Any) -> str:
        app = {"endpoints": [f"127.0.0.1:{self._origin_port}"]}
        app |= changes.pop("app", {})
        listening = {"listen": ANYWHERE}
        settings = {
            "inbound": listening,
            "health": listening,
            "admin": listening,
            "upstreams": {"app": app},
            "routes": [{"name": "all", "upstream": "app", **changes}],
        }
        return yaml.safe_dump(settings)

    async def reload(self, text: str) -> tuple[int, dict[str, Any]]:
        """Write the file, and ask for it; return status and answer."""
        self.file.write_text(text)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(self._url, headers=headers) as session,
            session.post("/reload") as got,
        ):
            return got.status, await got.json()

    async def get(self, path: str) -> Any:
        async with aiohttp.ClientSession(self._url) as session:
            return await (await session.get(path)).json()

    async def version(self) -> str:
        return str((await self.get("/"))["config_version"])

    async def until_another(self, version: str) -> None:
        """Wait until another configuration is in force; the test's time bounds it."""
        while await self.version() == version:
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def served(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> AsyncIterator[Served]:
    monkeypatch.setenv(VARIABLE, TOKEN)
    origin = Origin(answer)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstreams = {"app": {"endpoints": [f"127.0.0.1:{port}"]}}
    try:
        async with sidecar(folder, *arguments, upstreams=upstreams) as proxy:
            yield Served(proxy, folder / "sidecar.yaml", port)
    finally:
        server.close()
        await origin.end()


async def keep_asking(port: int, statuses: list[int], stop: asyncio.Event) -> None:
    """Ask one thing after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while not stop.is_set():
        writer.write(GET if len(statuses) % 2 else POST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(2) == b"ok"
        statuses.append(status_of(head))
    writer.close()
    await writer.wait_closed()


@pytest.mark.timeout(120)
async def test_a_hundred_reloads_under_load_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the files are broken, and half of the good ones change the pool."""
    async with served(tmp_path, monkeypatch, "--no-watch") as it:
        port = it.proxy.inbound
        tunnel, tunnel_writer = await asyncio.open_connection("127.0.0.1", port)
        tunnel_writer.write(UPGRADE)
        await tunnel.readuntil(b"\r\n\r\n")
        stop = asyncio.Event()
        statuses: list[list[int]] = [[] for _ in range(CLIENTS)]
        asking = [asyncio.create_task(keep_asking(port, s, stop)) for s in statuses]
        for n in range(RELOADS // 4):
            request = {"timeouts": {"request": f"{n + 2}s"}}
            pool = {"app": {"pool": {"max_connections": 100 + n}}}
            for change in (request, request | pool):
                status, told = await it.reload(it.text(**change))
                assert (status, told["result"]) == (200, "applied"), told
            for broken in ("routes: [", it.text(timeouts={"request": "soon"})):
                status, told = await it.reload(broken)
                assert (status, told["result"]) == (422, "rejected"), told
        tunnel_writer.write(b"still here")
        assert await tunnel.readexactly(10) == b"still here"
        tunnel_writer.close()
        stop.set()
        await asyncio.gather(*asking)
        assert all(statuses)
        assert {status for each in statuses for status in each} == {200}
        faults = await it.get("/faults?limit=1000")
        assert {fault["code"] for fault in faults} == {REJECTED}
        assert any("sidecar.yaml:" in fault["detail"] for fault in faults)


async def test_what_is_wrong_is_told_with_its_place_and_the_old_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch, "--no-watch") as it:
        before = await it.version()
        text = it.text() + "servce: shop\n"
        status, told = await it.reload(text)
        line = text.count("\n")
        assert status == 422
        assert told["version"] == await it.version() == before
        assert told["problems"] == [
            f"{it.file}:{line}:1: servce: is not a known key (did you mean 'service'?)"
        ]
        (fault,) = await it.get(f"/faults?code={REJECTED}")
        assert told["problems"][0] in fault["detail"]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{it.proxy.health}/metrics") as got,
        ):
            metrics = await got.text()
        assert 'sidecar_config_reloads_total{result="rejected"} 1.0' in metrics
        assert "sidecar_config_last_reload_successful 0.0" in metrics


async def test_what_needs_a_restart_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch, "--no-watch") as it:
        text = it.text(timeouts={"request": "3s"}) + "service: another\n"
        status, told = await it.reload(text)
        assert status == 200
        assert told["changes"] == ['route "all": timeouts: request: 15s -> 3s']
        assert "service: needs a restart" in told["warnings"]


async def test_sighup_reads_the_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path, monkeypatch) as it:
        before = await it.version()
        it.file.write_text(it.text(timeouts={"request": "3s"}))
        it.proxy.process.send_signal(signal.SIGHUP)
        await it.until_another(before)


async def test_a_config_map_that_is_swapped_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kubelet does it: the file is a link into a link that is renamed."""
    async with served(tmp_path, monkeypatch) as it:
        before = await it.version()
        for n in range(2):
            content = tmp_path / f"..2026_{n}"
            content.mkdir()
            text = it.text(timeouts={"request": f"{n + 3}s"})
            (content / "sidecar.yaml").write_text(text)
            (tmp_path / "..data_tmp").symlink_to(content.name)
            (tmp_path / "..data_tmp").rename(tmp_path / "..data")
            if not it.file.is_symlink():
                it.file.unlink()
                it.file.symlink_to(Path("..data") / "sidecar.yaml")
            await it.until_another(before)
            before = await it.version()
