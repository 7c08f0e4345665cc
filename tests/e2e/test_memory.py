"""What is large or slow costs no memory: the fast side waits for the slow one."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.process import Sidecar
from tests.support.process import sidecar as start_sidecar
from tests.support.proxy import OK, Origin, Talk, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

MIB = 2**20
BODY = 32 * MIB
PIECE = 256 * 1024
ALLOWED = 16 * MIB  # For a stream, whatever its size.


@asynccontextmanager
async def before(
    folder: Path, script: Callable[[Talk], Awaitable[None]]
) -> AsyncIterator[Sidecar]:
    """Run a sidecar of its own before `script`, warm."""
    origin = Origin(script)
    listener = socket.create_server(("127.0.0.1", 0))
    hold_little(listener)
    server = await asyncio.start_server(origin.serve, sock=listener)
    port = listener.getsockname()[1]
    settings: dict[str, Any] = {
        "upstreams": {"app": {"endpoints": [f"127.0.0.1:{port}"]}},
        "routes": [{"name": "all", "upstream": "app"}],
    }
    try:
        async with start_sidecar(folder, **settings) as sidecar:
            _, writer, head = await begin(sidecar, "GET /warm")
            assert status_of(head) == 200
            writer.close()
            yield sidecar
    finally:
        server.close()
        await origin.end()


def hold_little(sock: socket.socket) -> None:
    """Keep the system's own buffers out of what is measured."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)


async def connect(
    sidecar: Sidecar,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket()
    hold_little(sock)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", sidecar.inbound))
    return await asyncio.open_connection(sock=sock)


async def begin(
    sidecar: Sidecar, line: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    """Ask, and return the head of the answer."""
    reader, writer = await connect(sidecar)
    writer.write(f"{line} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return reader, writer, await reader.readuntil(b"\r\n\r\n")


async def test_a_client_that_reads_slowly(tmp_path: Path) -> None:
    sent = 0

    async def flood(talk: Talk) -> None:
        nonlocal sent
        while request := await talk.request():
            if b"/warm" in request:
                await talk.send(OK)
                continue
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY)
            while sent < BODY:
                await talk.send(bytes(PIECE))
                sent += PIECE

    async with before(tmp_path, flood) as sidecar:
        base = sidecar.resident_bytes
        reader, writer, _ = await begin(sidecar, "GET /large")
        read = ahead = grown = 0
        while read < BODY:
            await reader.readexactly(PIECE)
            read += PIECE
            await asyncio.sleep(0.004)  # Time for the origin to run ahead, if it may.
            ahead = max(ahead, sent - read)
            grown = max(grown, sidecar.resident_bytes - base)
        assert ahead < ALLOWED  # It was held back.
        assert grown < ALLOWED
        writer.close()


async def test_an_upstream_that_reads_slowly(tmp_path: Path) -> None:
    read = 0

    async def sip(talk: Talk) -> None:
        nonlocal read
        head = await talk.reader.readuntil(b"\r\n\r\n")
        while b"/warm" not in head and read < BODY:
            await talk.reader.readexactly(PIECE)
            read += PIECE
            await asyncio.sleep(0.004)  # Time for the client to run ahead, if it may.
        await talk.send(OK)

    async with before(tmp_path, sip) as sidecar:
        base = sidecar.resident_bytes
        reader, writer = await connect(sidecar)
        head = f"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n"
        writer.write(head.encode())
        sent = ahead = grown = 0
        while sent < BODY:
            writer.write(bytes(PIECE))
            await writer.drain()
            sent += PIECE
            ahead = max(ahead, sent - read)
            grown = max(grown, sidecar.resident_bytes - base)
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 200
        assert ahead < ALLOWED
        assert grown < ALLOWED
        writer.close()
