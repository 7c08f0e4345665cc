"""Nobody holds the admin or the health server for long, or for himself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from sidecar.admin.door import MAX_GUESTS, PATIENCE_S, Door, Guest
from tests.support.admin import client_of
from tests.support.clock import FakeClock
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Served:
    """A server behind a door with a clock of the test's own."""

    def __init__(self, door: Door, clock: FakeClock, port: int) -> None:
        self.door = door
        self.clock = clock
        self._port = port
        self.made = 0  # Connections that came in, ever.

    async def connect(
        self, data: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        seen = self.made
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while self.made == seen:
            await asyncio.sleep(0)
        writer.write(data)
        return reader, writer


@asynccontextmanager
async def served(max_guests: int = 3) -> AsyncIterator[Served]:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(text="here")

    clock = FakeClock()

    async def noted(request: web.BaseRequest) -> web.StreamResponse:
        door.asked(request.protocol)
        return await answer(request)

    inner = web.Server(noted)

    def make() -> web.RequestHandler:
        it.made += 1
        return inner()

    door = Door(clock, make, max_guests)
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    it = Served(door, clock, server.sockets[0].getsockname()[1])
    try:
        yield it
    finally:
        server.close()
        await inner.shutdown(1.0)
        await server.wait_closed()


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait for the end; tell whether it came without a byte."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("data", [b"", b"GET", GET[:-2]], ids=["none", "some", "most"])
async def test_who_never_asks_is_cut(data: bytes) -> None:
    async with served() as door:
        reader, writer = await door.connect(data)
        door.clock.advance(PATIENCE_S - 0.001)
        assert len(door.door) == 1
        door.clock.advance(0.001)
        assert await ended(reader)
        assert len(door.door) == 0
        writer.close()


async def test_a_byte_now_and_then_buys_no_time() -> None:
    """As slowloris does: only a whole head does."""
    async with served() as door:
        reader, writer = await door.connect(b"GET / HTTP/1.1\r\n")
        for _ in range(10):
            writer.write(b"a: b\r\n")
            await writer.drain()
            door.clock.advance(PATIENCE_S / 10)
        assert await ended(reader)
        writer.close()


async def test_who_asks_again_in_time_stays() -> None:
    async with served() as door:
        reader, writer = await door.connect()
        for _ in range(3):
            writer.write(GET)
            assert b"200" in await reader.readuntil(b"here")
            door.clock.advance(PATIENCE_S - 1)
        assert len(door.door) == 1
        door.clock.advance(1)
        assert await ended(reader)
        writer.close()


async def test_when_it_is_full_the_longest_silent_one_goes() -> None:
    async with served(max_guests=2) as door:
        first = await door.connect()
        second = await door.connect()
        first[1].write(GET)
        await first[0].readuntil(b"here")  # So the second is silent for longer.
        third = await door.connect(GET)
        assert b"200" in await third[0].readuntil(b"here")
        assert await ended(second[0])
        first[1].write(GET)
        assert b"200" in await first[0].readuntil(b"here")
        for _, writer in (first, second, third):
            writer.close()


async def test_a_probe_is_answered_while_others_hold_all_there_is() -> None:
    """The servers of a sidecar have such doors, the health server above all."""
    async with proxied() as proxy:
        for server in ("health", "admin"):
            host, port = proxy.app.addresses[server]
            held = [
                await asyncio.open_connection(host, port) for _ in range(MAX_GUESTS + 9)
            ]
            async with client_of(proxy, server) as client:
                path = "/healthz/live" if server == "health" else "/"
                assert (await client.ask(path))[0] == 200
            for reader, _ in held[:9]:
                assert await ended(reader)
            for _, writer in held:
                writer.close()


async def test_what_a_guest_hears_goes_on_to_the_server() -> None:
    """And the end of the client's half ends the connection, as without a door."""
    heard: list[str] = []

    class Inner:
        def __getattr__(self, name: str) -> Any:
            return lambda *_: heard.append(name)

    guest = Guest(Door(FakeClock(), Inner), Inner())  # type: ignore[arg-type]
    guest.connection_made(asyncio.Transport())
    guest.data_received(b"x")
    guest.pause_writing()
    guest.resume_writing()
    assert guest.eof_received() is None
    guest.connection_lost(None)
    assert heard == [
        "connection_made", "data_received", "pause_writing", "resume_writing",
        "eof_received", "connection_lost",
    ]  # fmt: skip
