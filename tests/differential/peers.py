"""nginx, HAProxy and the sidecar side by side, each before a recording origin.

    with Peers.running(folder) as peers:
        peers.ask(raw)              what each of them made of it: `Outcome` by name
        peers.judge(stream)         what nginx and HAProxy read in what was sent on

Behind what is odd, a plain request follows that asks to close: who answers both
closes soon. Who waits for more is given a moment, and then the end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.processes import BOUND
from tests.differential.readers import Request, strict
from tests.support.nginx import NGINX, nginx_origin
from tests.support.process import sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
MISSING = [
    name for name, path in (("nginx", NGINX), ("haproxy", HAPROXY)) if path is None
]
NAMES = ("nginx", "haproxy", "sidecar")
JUDGES = ("nginx", "haproxy")
END = b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
_END_TARGET = b"/end"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
# For one that waits for more of a request that is not whole: until something came,
# which may be late on a busy machine, and then until more comes.
_PATIENCE_S, _NEXT_PATIENCE_S = 1.5, 0.3
_MAX_WAIT_S = 10.0
_NGINX = """
    client_max_body_size 0;
    location / {{
      proxy_pass http://127.0.0.1:{port};
      proxy_http_version 1.1;
    }}
"""
_HAPROXY = """
global
  maxconn 100
defaults
  mode http
  timeout connect 5s
  timeout client 10s
  timeout server 10s
  timeout http-request 10s
frontend inbound
  bind 127.0.0.1:{listen}
  default_backend app
backend app
  server app 127.0.0.1:{port}
"""


class Outcome(NamedTuple):
    """What a proxy made of what a client sent."""

    statuses: list[int]  # Of its final responses.
    streams: list[bytes]  # What it sent on, by connection.

    @property
    def requests(self) -> list[Request]:
        """Those that its origin got whole, without the plain one at the end."""
        got = [
            request for stream in self.streams for request in strict(stream).requests
        ]
        return [request for request in got if request.target != _END_TARGET]

    @property
    def is_refused(self) -> bool:
        """Whether it said no, which the origins never do, or sent nothing on."""
        return not self.requests or any(status >= 400 for status in self.statuses)


class Origin:
    """Keeps the bytes of each connection, and answers each request with a 200."""

    def __init__(self) -> None:
        self.port = 0
        self._streams: list[bytearray] = []
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Origin]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.take()
            await server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        stream = bytearray()
        self._streams.append(stream)
        self._writers.add(writer)
        answered = 0
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                stream += data
                read = strict(bytes(stream))
                writer.write(_OK * (len(read.requests) - answered))
                answered = len(read.requests)
                if read.refusal:
                    break
        self._writers.discard(writer)
        writer.close()

    def take(self) -> list[bytes]:
        """Return what came since the last call, and close what it came on."""
        streams, self._streams = self._streams, []
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        return [bytes(stream) for stream in streams if stream]


class Peer:
    """A proxy that runs, and the origin behind it."""

    def __init__(self, name: str, port: int, origin: Origin) -> None:
        self.name = name
        self._port = port
        self._origin = origin

    async def ask(self, raw: bytes) -> Outcome:
        self._origin.take()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(raw + END)
        answer = b""
        with suppress(ConnectionError):
            answer = await _read(reader)
            if not reader.at_eof():
                writer.write_eof()
                answer += await _read(reader)
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        return Outcome(statuses_of(answer), self._origin.take())


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the end, or until nothing comes any more."""
    answer = b""
    patience_s = _PATIENCE_S
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(patience_s):
                data = await reader.read(65536)
            if not data:
                break
            answer += data
            patience_s = _NEXT_PATIENCE_S
    return answer


def statuses_of(answer: bytes) -> list[int]:
    """Return the statuses of final responses; none of the bodies has such a line."""
    lines = [part[:5] for part in answer.split(b"HTTP/1.")[1:]]
    statuses = [int(line[2:5]) for line in lines if line[2:5].isdigit()]
    return [status for status in statuses if status >= 200]


@asynccontextmanager
async def _haproxy(folder: Path, port: int) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = probe.getsockname()[1]
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.format(listen=listen, port=port))
    assert HAPROXY is not None
    process = await asyncio.create_subprocess_exec(
        *(*BOUND, HAPROXY, "-db", "-q", "-f", str(config)),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _reachable(listen, process)
        yield listen
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _reachable(port: int, process: asyncio.subprocess.Process) -> None:
    while True:
        assert process.returncode is None, "HAProxy did not start"
        with suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.01)


class Peers:
    """All of them, on an event loop of their own that runs while one asks."""

    def __init__(
        self, runner: asyncio.Runner, proxies: list[Peer], judges: list[Peer]
    ) -> None:
        self._runner = runner
        self._proxies = proxies
        self._judges = judges

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Peers]:
        """Start them all."""
        with (
            tempfile.TemporaryDirectory(prefix="differential-") as folder,
            asyncio.Runner() as runner,
        ):
            stack = AsyncExitStack()
            try:
                proxies, judges = runner.run(_start(stack, Path(folder)))
                yield cls(runner, proxies, judges)
            finally:
                runner.run(stack.aclose())

    def ask(self, raw: bytes) -> dict[str, Outcome]:
        """Send the same to each, and return what they made of it."""
        return self._runner.run(_ask(self._proxies, raw))

    def judge(self, stream: bytes) -> dict[str, Outcome]:
        """Let nginx and HAProxy read what was sent on, as if they were the origin."""
        return self._runner.run(_ask(self._judges, stream))


async def _ask(peers: list[Peer], raw: bytes) -> dict[str, Outcome]:
    async with asyncio.timeout(_MAX_WAIT_S):
        outcomes = await asyncio.gather(*(peer.ask(raw) for peer in peers))
    return {peer.name: outcome for peer, outcome in zip(peers, outcomes, strict=True)}


async def _start(stack: AsyncExitStack, folder: Path) -> tuple[list[Peer], list[Peer]]:
    proxies = [await _peer(stack, name, _below(folder, name)) for name in NAMES]
    judges = [await _peer(stack, name, _below(folder, f"{name}-2")) for name in JUDGES]
    return proxies, judges


def _below(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


async def _peer(stack: AsyncExitStack, name: str, folder: Path) -> Peer:
    origin = await stack.enter_async_context(Origin().serving())
    port: int
    if name == "nginx":
        lines = _NGINX.format(port=origin.port)
        port = (await stack.enter_async_context(nginx_origin(folder, lines))).port
    elif name == "haproxy":
        port = await stack.enter_async_context(_haproxy(folder, origin.port))
    else:
        upstream: dict[str, Any] = {"endpoints": [f"127.0.0.1:{origin.port}"]}
        running = await stack.enter_async_context(
            sidecar(folder, upstreams={"app": upstream})
        )
        port = running.inbound
    return Peer(name, port, origin)
