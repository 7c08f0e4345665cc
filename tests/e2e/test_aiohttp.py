"""An aiohttp server as the origin, an aiohttp client before the proxy."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from tests.support.observe import faults_of, idle_connections
from tests.support.proxy import Proxy, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MIB = 2**20


class Shop:
    """The application; it notes what its handlers saw."""

    def __init__(self) -> None:
        self.peers: set[object] = set()
        self.gate = asyncio.Event()
        self.left = asyncio.Event()
        self.close_codes: list[int | None] = []

    async def echo(self, request: web.Request) -> web.Response:
        self.peers.add(
            request.transport and request.transport.get_extra_info("peername")
        )
        return web.Response(
            body=await request.read(),
            headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Kept", "yes")],
        )

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send the second half once the client has seen the first."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self.gate.wait()
        await response.write(b"data: second\n\n")
        return response

    async def endless(self, request: web.Request) -> web.StreamResponse:
        """Send for as long as somebody is there."""
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(4096))
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            self.left.set()
            raise

    async def refuse(self, request: web.Request) -> web.Response:
        """Answer without asking for the body."""
        del request
        return web.Response(status=403, text="no")

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            elif message.type is aiohttp.WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        self.close_codes.append(socket.close_code)
        return socket


async def on_expect(request: web.Request) -> web.StreamResponse | None:
    """Say at the head whether the body is wanted."""
    if request.path == "/unwanted":
        return web.Response(status=417, text="unwanted")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


@asynccontextmanager
async def shop_behind() -> AsyncIterator[tuple[Shop, Proxy, aiohttp.ClientSession]]:
    shop = Shop()
    application = web.Application(client_max_size=0)
    application.router.add_route("*", "/echo", shop.echo)
    application.router.add_get("/stream", shop.stream)
    application.router.add_get("/endless", shop.endless)
    application.router.add_post("/refuse", shop.refuse)
    application.router.add_post("/wanted", shop.echo, expect_handler=on_expect)
    application.router.add_post("/unwanted", shop.echo, expect_handler=on_expect)
    application.router.add_get("/talk", shop.talk)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    endpoint = "{}:{}".format(*runner.addresses[0])
    try:
        async with proxied(endpoints=[endpoint]) as proxy:
            base = f"http://127.0.0.1:{proxy.port}"
            async with aiohttp.ClientSession(base) as session:
                yield shop, proxy, session
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("size", [0, 1, 65_536, 3 * MIB])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_comes_back_whole(size: int, *, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, size, 10_000):
            yield content[start : start + 10_000]

    content = bytes(n % 251 for n in range(size))
    async with shop_behind() as (_, proxy, session):
        data = pieces() if chunked else BytesIO(content)
        async with session.post("/echo", data=data) as answer:
            assert answer.status == 200
            assert await answer.read() == content
            assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert await faults_of(proxy) == []


async def test_one_connection_serves_one_client_after_the_other() -> None:
    async with shop_behind() as (shop, proxy, session):
        for _ in range(10):
            async with session.get("/echo") as answer:
                assert answer.status == 200
        assert len(shop.peers) == 1
        assert await idle_connections(proxy) == 1


async def test_a_part_of_a_stream_arrives_before_the_rest_is_there() -> None:
    async with shop_behind() as (shop, _, session), session.get("/stream") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert await answer.content.readuntil(b"\n\n") == b"data: first\n\n"
        shop.gate.set()
        assert await answer.content.read() == b"data: second\n\n"


async def test_head_has_the_length_and_no_body() -> None:
    async with shop_behind() as (_, _, session):
        for _ in range(2):
            async with session.head("/echo") as answer:
                assert answer.status == 200
                assert await answer.read() == b""


async def test_a_client_that_leaves_ends_the_handler() -> None:
    async with shop_behind() as (shop, _, session):
        async with session.get("/endless") as answer:
            await answer.content.readexactly(100_000)
            answer.close()
        await shop.left.wait()


async def test_a_body_is_sent_when_the_application_asks_for_it() -> None:
    async with (
        shop_behind() as (_, _, session),
        session.post("/wanted", data=b"content", expect100=True) as answer,
    ):
        assert answer.status == 200
        assert await answer.read() == b"content"


async def test_a_body_that_the_application_does_not_want_stays_unsent() -> None:
    async with shop_behind() as (_, proxy, _):
        reader, writer = await proxy.connect()
        writer.write(
            b"POST /unwanted HTTP/1.1\r\nHost: a\r\n"
            b"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"
        )
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 417 ")
        assert answer.endswith(b"unwanted")
        assert b"100 Continue" not in answer
        writer.close()


async def test_an_answer_before_the_end_of_the_body_arrives() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield bytes(1000)
        await asyncio.Event().wait()

    async with (
        shop_behind() as (_, _, session),
        session.post("/refuse", data=slowly()) as answer,
    ):
        assert answer.status == 403
        assert await answer.text() == "no"


async def test_a_websocket_of_its_own_making() -> None:
    async with (
        shop_behind() as (shop, proxy, session),
        session.ws_connect("/talk", max_msg_size=0, compress=15) as socket,
    ):
        await socket.send_str("word")
        assert await socket.receive_str() == "WORD"
        content = bytes(range(256)) * (4 * MIB // 256)
        await socket.send_bytes(content)
        assert await socket.receive_bytes() == content
        await socket.close(code=4001)
        assert shop.close_codes == [4001]
        assert await faults_of(proxy) == []
