"""Messages of 64 MiB, both ways, whole and in pieces; what a handshake agrees on."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from benchmarks import procfs
from tests.support.process import sidecar
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

MIB = 2**20
LARGE = hashlib.sha256(b"seed").digest() * (64 * MIB // 32)
DIGEST = hashlib.sha256(LARGE).hexdigest()


async def measure_and_return(peer: ServerConnection) -> None:
    """Tell the hash of a message, then send it back as it came."""
    async for message in peer:
        assert isinstance(message, bytes)
        await peer.send(hashlib.sha256(message).hexdigest())
        step = MIB if peer.request and peer.request.path == "/pieces" else 64 * MIB
        await peer.send([message[at : at + step] for at in range(0, 64 * MIB, step)])


@asynccontextmanager
async def behind(folder: Path) -> AsyncIterator[tuple[int, int]]:
    """Yield pid and port of a sidecar before a server."""
    async with serve(
        measure_and_return, "127.0.0.1", 0, max_size=None, compression=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        upstreams = {"app": {"endpoints": [f"127.0.0.1:{port}"]}}
        async with sidecar(folder, upstreams=upstreams) as one:
            yield one.process.pid, one.inbound


@pytest.mark.parametrize("path", ["/whole", "/pieces"])
async def test_64_mib_go_both_ways_in_little_memory(tmp_path: Path, path: str) -> None:
    async with behind(tmp_path) as (pid, port):
        url = f"ws://127.0.0.1:{port}{path}"
        async with connect(url, max_size=None, compression=None, proxy=None) as peer:
            procfs.reset_peak(pid)
            before = procfs.memory(pid).resident_bytes
            step = MIB if path == "/pieces" else 64 * MIB
            await peer.send([LARGE[at : at + step] for at in range(0, 64 * MIB, step)])
            assert await peer.recv() == DIGEST
            back = await peer.recv()
            assert isinstance(back, bytes)
            assert hashlib.sha256(back).hexdigest() == DIGEST
            assert procfs.memory(pid).peak_bytes - before < 16 * MIB


async def test_64_mib_to_and_from_another_client(tmp_path: Path) -> None:
    async with (
        behind(tmp_path) as (_, port),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/whole", max_msg_size=0) as peer,
    ):
        await peer.send_bytes(LARGE)
        assert await peer.receive_str() == DIGEST
        assert hashlib.sha256(await peer.receive_bytes()).hexdigest() == DIGEST


@pytest.mark.parametrize("offered", [["b"], ["a", "b"], ["x", "b", "a"]])
async def test_the_subprotocol_is_between_the_two_ends(offered: list[str]) -> None:
    async def tell(peer: ServerConnection) -> None:
        await peer.send(str(peer.subprotocol))

    known = [Subprotocol("a"), Subprotocol("b")]
    asked = [Subprotocol(name) for name in offered]
    async with serve(tell, "127.0.0.1", 0, subprotocols=known) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        agreed = []
        async with proxied(endpoints=[f"127.0.0.1:{port}"]) as proxy:
            for there in (port, proxy.port):
                url = f"ws://127.0.0.1:{there}"
                async with connect(url, subprotocols=asked, proxy=None) as peer:
                    assert await peer.recv() == peer.subprotocol
                    agreed.append(peer.subprotocol)
        assert agreed[0] == agreed[1] is not None
