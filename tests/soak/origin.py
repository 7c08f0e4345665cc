"""An origin that misbehaves on command, in a process of its own.

    python -m tests.soak.origin PORT LOG SEED BOOT

Port 0 takes a free one; the port is printed when it listens. Each line of standard
input is the mood it is in from then on; it ends with its standard input.

    calm      serves
    slow      lets its clients wait, also in the middle of an answer
    garbage   some answers are no HTTP, or end too early
    reset     some connections are reset, at any moment
    hasty     closes each connection right behind the answer, unannounced
    refuse    does not listen, and closes what is idle

What it acts on it writes down before it answers:

    {"id", "did": "acted", "try", "sha", "boot"}
    {"id", "did": "sent" or "gone", "boot"}     a stream is whole, or nobody is there
    {"id", "did": "heard", "runs", "boot"}      a WebSocket is over: the numbers heard
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from random import Random

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tests.soak.journal import Journal, Runs

_SHARE = 0.12  # Of the requests that a mood hits: few enough for a closed breaker.
_MOST_DELAY_S = 2.6
_RESET = struct.pack("ii", 1, 0)
_LIMIT_BYTES = 2**17
_GARBAGE = (
    b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    b"HTTP/1.1 200 O",
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
)


class Asked:
    """A request whose head was read."""

    def __init__(self, raw: bytes) -> None:
        lines = raw.decode("latin-1").split("\r\n")
        self.raw = raw
        self.method, self.target, _ = lines[0].split(" ")
        self.named = {
            name.lower(): value
            for name, _, value in (line.partition(": ") for line in lines[1:] if line)
        }
        _, self.kind, self.id = self.target.split("?")[0].split("/")
        self.number = int(self.target.partition("?n=")[2] or "0")


class Origin:
    """All of its state; `mood` changes by command."""

    def __init__(self, journal: Journal, rng: Random, boot: int) -> None:
        self.mood = "calm"
        self.rng = rng
        self.boot = boot
        self._journal = journal
        self._port = 0
        self._acceptor: asyncio.Task[None] | None = None
        self._idle: set[asyncio.StreamWriter] = set()
        self._talks: set[asyncio.Task[None]] = set()

    def listen(self, port: int) -> int:
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        listener.setblocking(False)
        self._port = int(listener.getsockname()[1])
        self._acceptor = asyncio.create_task(self._accept(listener))
        return self._port

    async def change(self, mood: str) -> None:
        """Be in this mood from now on."""
        self.mood = mood
        if mood == "refuse" and self._acceptor is not None:
            self._acceptor.cancel()
            self._acceptor = None
            for writer in list(self._idle):
                writer.close()
        elif mood != "refuse" and self._acceptor is None:
            self.listen(self._port)

    def note(self, asked: Asked, did: str, **more: object) -> None:
        self._journal.note(id=asked.id, did=did, boot=self.boot, **more)

    def is_hit(self) -> bool:
        """Tell whether the mood hits the present request."""
        return self.rng.random() < _SHARE

    async def _accept(self, listener: socket.socket) -> None:
        """Accept by hand: a server of asyncio drops who comes while it closes."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                sock, _ = await loop.sock_accept(listener)
                streams = await asyncio.open_connection(sock=sock, limit=_LIMIT_BYTES)
                talk = loop.create_task(self._converse(*streams))
                self._talks.add(talk)
                talk.add_done_callback(self._talks.discard)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                if not await Talk(self, reader, writer).serve(Asked(head)):
                    break
        self._idle.discard(writer)
        writer.close()


class Talk:
    """One request on its connection."""

    def __init__(
        self,
        origin: Origin,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._origin = origin
        self._reader = reader
        self._writer = writer

    async def serve(self, asked: Asked) -> bool:
        """Act and answer; return whether another request may follow."""
        origin = self._origin
        if origin.mood == "reset" and origin.is_hit():
            return await self._reset_at_some_moment(asked)
        if asked.kind == "ws":
            await self._echo(asked)
            return False
        body = await self._body(asked)
        self._act(asked, body)
        if origin.mood == "slow":
            await asyncio.sleep(origin.rng.uniform(0.0, _MOST_DELAY_S))
        if origin.mood == "garbage" and origin.is_hit():
            self._writer.write(origin.rng.choice(_GARBAGE))
            self._note_end(asked, is_whole=False)
            return False
        await self._answer(asked, body)
        return origin.mood != "hasty"

    def _act(self, asked: Asked, body: bytes) -> None:
        sha = hashlib.sha256(body).hexdigest()[:16]
        attempt = int(asked.named.get("x-316-attempt", "1"))
        self._origin.note(asked, "acted", **{"try": attempt, "sha": sha})

    async def _body(self, asked: Asked) -> bytes:
        if "transfer-encoding" not in asked.named:
            size = int(asked.named.get("content-length", "0"))
            return await self._reader.readexactly(size)
        body = b""
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return body

    async def _answer(self, asked: Asked, body: bytes) -> None:
        if asked.kind == "get":
            content = get_content(asked.id, asked.number)
        elif asked.kind == "post":
            content = hashlib.sha256(body).hexdigest()[:16].encode()
        else:
            await self._stream(asked)
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content)
        self._writer.write(head + content)
        await self._writer.drain()

    async def _stream(self, asked: Asked) -> None:
        """Send numbered lines; as events with time between them, or at once."""
        is_slow = asked.kind == "events"
        media = b"text/event-stream" if is_slow else b"text/plain"
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %b\r\n"
        self._writer.write(head % media + b"\r\n")
        try:
            for number in range(asked.number):
                if self._reader.at_eof() or self._writer.is_closing():
                    raise ConnectionResetError
                line = b"%b:%d\n" % (asked.id.encode(), number)
                self._writer.write(b"%x\r\n%b\r\n" % (len(line), line))
                await self._writer.drain()
                await self._pause(is_slow=is_slow)
            self._writer.write(b"0\r\n\r\n")
            await self._writer.drain()
        except OSError:
            self._note_end(asked, is_whole=False)
            raise
        self._note_end(asked, is_whole=True)

    async def _pause(self, *, is_slow: bool) -> None:
        if is_slow:
            await asyncio.sleep(0.01)
        elif self._origin.mood == "slow":
            await asyncio.sleep(0.002)

    def _note_end(self, asked: Asked, *, is_whole: bool) -> None:
        if asked.kind in {"lines", "events"}:
            self._origin.note(asked, "sent" if is_whole else "gone")

    async def _reset_at_some_moment(self, asked: Asked) -> bool:
        """Before the body, behind it, mostly having acted, or in the answer."""
        moment = self._origin.rng.choice(("head", "body", "acted", "acted", "answer"))
        if moment != "head" and asked.kind != "ws":
            body = await self._body(asked)
            if moment != "body":
                self._act(asked, body)
                self._note_end(asked, is_whole=False)
        if moment == "answer":
            self._writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()
        return False

    async def _echo(self, asked: Asked) -> None:
        """Be a WebSocket that says what it hears."""
        self._act(asked, b"")
        protocol, runs = ServerProtocol(), Runs()
        protocol.receive_data(asked.raw)
        try:
            await self._echo_frames(protocol, runs)
        finally:
            self._origin.note(asked, "heard", runs=runs.runs)

    async def _echo_frames(self, protocol: ServerProtocol, runs: Runs) -> None:
        while True:
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    runs.add(int(event.data))
                    protocol.send_text(bytes(event.data))
            pieces = protocol.data_to_send()
            self._writer.writelines([piece for piece in pieces if piece])
            await self._writer.drain()
            if b"" in pieces:  # All is said.
                return
            data = await self._reader.read(_LIMIT_BYTES)
            if data:
                protocol.receive_data(data)
            else:
                protocol.receive_eof()


def get_content(name: str, size: int) -> bytes:
    """Return the right answer to a GET."""
    line = f"{name}\n".encode()
    return (line * (size // len(line) + 1))[:size]


async def main(port: int, log: Path, seed: int, boot: int) -> None:
    """Serve until the standard input ends."""
    origin = Origin(Journal(log), Random(seed), boot)
    sys.stdout.write(f"{origin.listen(port)}\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while mood := (await commands.readline()).decode().strip():
        await origin.change(mood)


if __name__ == "__main__":
    _, port_, log_, seed_, boot_ = sys.argv
    asyncio.run(main(int(port_), Path(log_), int(seed_), int(boot_)))
