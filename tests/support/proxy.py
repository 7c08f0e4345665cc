"""A real sidecar on loopback, before an origin that does what a script says."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.app import App
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    Script = Callable[["Talk"], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANYWHERE = "127.0.0.1:0"


class Talk:
    """One connection to the origin, as its script sees it."""

    def __init__(
        self,
        origin: Origin,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._origin = origin
        self.reader = reader
        self.writer = writer
        self.number = origin.connections  # From 1.

    async def request(self) -> bytes:
        """Return head and body of the next request; empty at the end."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return b""
        body = b""
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            body = await self.reader.readuntil(b"0\r\n\r\n")
        elif b"content-length: " in lower:
            size = int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await self.reader.readexactly(size)
        self._origin.requests.append(head + body)
        return head + body

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close with RST, as a crashed process's kernel may do."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Origin:
    """Counts connections and keeps requests."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(Talk(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def always_ok(talk: Talk) -> None:
    """Answer every request with a short 200."""
    while await talk.request():
        await talk.send(OK)


class Proxy:
    """The sidecar under test, and the origin behind it."""

    def __init__(self, app: App, origin: Origin) -> None:
        self.app = app
        self.origin = origin
        self.port = app.addresses["inbound"][1]

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Those of requests: a busy machine may add a stall of the loop."""
        return [f for f in self.app.recorder.feed.newest() if f["listener"]]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, raw: bytes) -> bytes:
        """Send bytes, return all that comes until the proxy closes."""
        reader, writer = await self.connect()
        writer.write(raw)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def get(self, path: str = "/", *lines: str, method: str = "GET") -> bytes:
        """Send a request without a body on a connection of its own."""
        head = [f"{method} {path} HTTP/1.1", "Host: test", "Connection: close", *lines]
        return await self.ask(("\r\n".join(head) + "\r\n\r\n").encode())

    async def post(self, body: bytes = b"data", path: str = "/", *lines: str) -> bytes:
        head = [
            f"POST {path} HTTP/1.1",
            "Host: test",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *lines,
        ]
        return await self.ask(("\r\n".join(head) + "\r\n\r\n").encode() + body)


@asynccontextmanager
async def proxied(
    script: Script = always_ok,
    *,
    upstream: dict[str, Any] | None = None,
    endpoints: list[str] | None = None,
    config: Path | None = None,
    **route: Any,
) -> AsyncIterator[Proxy]:
    """Run a sidecar with one route, whose keys are given, before `script`.

    `config` is the file of a reload; it need not be there before.
    """
    top = route.pop("top", {})
    origin = Origin(script)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    origin.port = server.sockets[0].getsockname()[1]
    app = {"endpoints": endpoints or [f"127.0.0.1:{origin.port}"], **(upstream or {})}
    if "discovery" in app:
        del app["endpoints"]
    settings = {
        "inbound": {"listen": ANYWHERE},
        "health": {"listen": ANYWHERE},
        "admin": {"listen": ANYWHERE},
        "upstreams": {"app": app},
        "routes": [{"name": "all", "upstream": "app", **route}],
        "telemetry": {"access_log": {"mode": "off"}},
        **top,
    }
    loaded = load_text(yaml.safe_dump(settings))
    sidecar = App(loaded, stream=StringIO(), config=str(config or "") or None)
    await sidecar.start()
    try:
        yield Proxy(sidecar, origin)
    finally:
        await sidecar.close()
        server.close()
        await origin.end()
        await server.wait_closed()


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])


def header_of(message: bytes, name: str) -> str | None:
    head = message.split(b"\r\n\r\n", 1)[0]
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name.lower().encode():
            return value.strip().decode("latin-1")
    return None


def body_of(message: bytes) -> bytes:
    return message.split(b"\r\n\r\n", 1)[1]
