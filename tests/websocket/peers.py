"""Both roles, raw and by independent implementations, each noting what it sees."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.websocket.cases import masked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from tests.websocket.cases import Case

    Notes = asyncio.Queue[list[Any]]  # A list for each connection.
    Server = Callable[[Notes], AbstractAsyncContextManager[int]]
    Client = Callable[[int], Any]

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3.
_LIMIT_S = 20.0
_TOLD = (b"upgrade", b"connection")


# Raw.


async def raw_client(port: int, case: Case) -> tuple[list[bytes], bytes]:
    """Send a case; return what the answer's head tells, and all that follows."""
    lines = [
        b"GET /chat HTTP/1.1", b"Host: test", b"Connection: Upgrade",
        b"Upgrade: websocket", b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: 13",
    ]  # fmt: skip
    if case.offer:
        lines.append(b"Sec-WebSocket-Extensions: " + case.offer.encode())
    handshake = b"\r\n".join(lines) + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    early = case.pieces(is_masked=True)[:1] if case.is_early else []
    writer.write(handshake + b"".join(early))
    head = await reader.readuntil(b"\r\n\r\n")
    is_agreed = not case.offer or b"sec-websocket-extensions" in head.lower()
    pieces = case.pieces(is_masked=True, is_agreed=is_agreed)
    await _send_all(writer, pieces[len(early) :])
    if case.end == "eof":
        with suppress(OSError):
            writer.write_eof()
    received = await _read_all(reader)
    writer.close()
    return told(head), received


@asynccontextmanager
async def raw_server(notes: Notes, case: Case) -> AsyncIterator[int]:
    """Send a case to whoever connects; note what the head tells, and what follows."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        pieces = case.pieces(is_masked=False)
        answer = _accepting(head, case.offer)
        if case.is_early:
            answer += b"".join(pieces[:1])
            pieces = pieces[1:]
        await _send_all(writer, [answer, *pieces])
        with suppress(OSError):  # It is the server that closes (RFC 6455, 7.1.1).
            writer.write_eof()
        received = await _read_all(reader)
        writer.close()
        notes.put_nowait([told(head), received])

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _accepting(head: bytes, offer: str) -> bytes:
    key = head.lower().index(b"sec-websocket-key: ") + len(b"sec-websocket-key: ")
    given = head[key:].split(b"\r\n", 1)[0]
    accept = base64.b64encode(hashlib.sha1(given + _GUID).digest())  # noqa: S324
    lines = b"Sec-WebSocket-Accept: " + accept + b"\r\n"
    if offer:
        lines += b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\n" + lines + b"\r\n"
    )


async def _send_all(writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
    """Send each as a segment of its own, as far as the peer listens."""
    with suppress(OSError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(_LIMIT_S):
        received = b""
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                received += data
        return received


def told(head: bytes) -> list[bytes]:
    """Return of a head what a WebSocket is about: without the lines of a hop."""
    first, *lines = head.removesuffix(b"\r\n\r\n").lower().split(b"\r\n")
    kept = [line for line in lines if line.startswith((b"sec-websocket-", *_TOLD))]
    return [first.split(b" ", 2)[1], *sorted(kept)]


def unmasked(data: bytes) -> list[tuple[int, bytes]]:
    """Return first byte and payload of each frame: a client's masks are random."""
    frames = []
    while len(data) >= 2:
        size, at = data[1] & 127, 2
        if size > 125:
            at += 2 if size == 126 else 8
            size = int.from_bytes(data[2:at], "big")
        is_masked = data[1] >> 7
        mask, at = data[at : at + 4 * is_masked], at + 4 * is_masked
        payload = data[at : at + size]
        frames.append((data[0], masked(payload, mask) if is_masked else payload))
        data = data[at + size :]
    return frames


def comparable(data: object) -> object:
    return repr(data) if isinstance(data, Exception) else data


# By independent implementations. None answers messages of its own accord, so what
# comes back (pongs and closes) does not depend on who is quicker.


@asynccontextmanager
async def websockets_server(notes: Notes) -> AsyncIterator[int]:
    async def note(peer: ServerConnection) -> None:
        seen: list[Any] = [list(map(str, peer.protocol.extensions))]
        try:
            async for message in peer:
                seen.append(message)  # noqa: PERF401 - it may break off
        except (ConnectionClosed, UnicodeDecodeError):
            pass
        seen.append((peer.close_code, peer.close_reason))
        notes.put_nowait(seen)

    async with serve(note, "127.0.0.1", 0, max_size=None) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@asynccontextmanager
async def aiohttp_server(notes: Notes) -> AsyncIterator[int]:
    async def note(request: web.Request) -> web.WebSocketResponse:
        peer = web.WebSocketResponse(max_msg_size=0)
        await peer.prepare(request)
        seen: list[Any] = []
        async for message in peer:
            seen.append((message.type, comparable(message.data)))  # noqa: PERF401
        seen.append(peer.close_code)
        notes.put_nowait(seen)
        return peer

    app = web.Application()
    app.router.add_get("/chat", note)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def websockets_client(port: int) -> list[Any]:
    seen: list[Any] = []
    try:
        async with connect(
            f"ws://127.0.0.1:{port}/chat", max_size=None, proxy=None
        ) as peer:
            with suppress(ConnectionClosed, UnicodeDecodeError):
                async for message in peer:
                    seen.append(message)  # noqa: PERF401 - it may break off
            seen.append((peer.close_code, peer.close_reason))
    except WebSocketException as error:
        seen.append(type(error))
    return seen


async def aiohttp_client(port: int) -> list[Any]:
    seen: list[Any] = []
    url = f"http://127.0.0.1:{port}/chat"
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, max_msg_size=0, compress=15) as peer,
        ):
            async for message in peer:
                seen.append((message.type, comparable(message.data)))  # noqa: PERF401
            seen.append(peer.close_code)
    except aiohttp.ClientError as error:
        seen.append(type(error))
    return seen
