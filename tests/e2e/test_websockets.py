"""The `websockets` package on both ends of a tunnel: frames go through as bytes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from tests.support.observe import fault_of, faults_of, idle_connections
from tests.support.proxy import Proxy, header_of, proxied, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[ServerConnection], Awaitable[None]]

MIB = 2**20


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


@asynccontextmanager
async def behind(handler: Handler, **route: Any) -> AsyncIterator[Proxy]:
    """Serve WebSockets behind the proxy."""
    server = await serve(handler, "127.0.0.1", 0, max_size=None)
    port = next(iter(server.sockets)).getsockname()[1]
    try:
        async with proxied(endpoints=[f"127.0.0.1:{port}"], **route) as proxy:
            yield proxy
    finally:
        server.close()
        await server.wait_closed()


def join(proxy: Proxy, *, compression: str | None = "deflate") -> connect:
    url = f"ws://127.0.0.1:{proxy.port}/chat?room=1"
    return connect(url, compression=compression, max_size=None, proxy=None)


def extensions_of(socket: ClientConnection) -> list[str]:
    return [extension.name for extension in socket.protocol.extensions]


async def test_words_come_back() -> None:
    async with behind(echo) as proxy, join(proxy) as socket:
        for word in ("one", "two", "", "drei"):
            await socket.send(word)
            assert await socket.recv() == word
        assert await faults_of(proxy) == []


async def test_one_tunnel_comes_after_the_other() -> None:
    """Their handshakes differ in nothing but the key."""
    async with behind(echo) as proxy:
        for word in ("one", "two", "three"):
            async with join(proxy) as socket:
                await socket.send(word)
                assert await socket.recv() == word


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_a_large_message_comes_back_whole(compression: str | None) -> None:
    content = bytes(range(256)) * (8 * MIB // 256)
    async with behind(echo) as proxy, join(proxy, compression=compression) as socket:
        await socket.send(content)
        assert await socket.recv() == content


async def test_compression_is_between_the_two_ends() -> None:
    """The offer and the answer go through, so both ends have agreed."""
    agreed: list[str] = []

    async def note(socket: ServerConnection) -> None:
        agreed.extend(extension.name for extension in socket.protocol.extensions)
        await echo(socket)

    async with behind(note) as proxy, join(proxy) as socket:
        await socket.send("x" * 1000)
        assert await socket.recv() == "x" * 1000
        assert agreed == extensions_of(socket) == ["permessage-deflate"]


async def test_ping_and_pong_go_both_ways() -> None:
    async def ping_back(socket: ServerConnection) -> None:
        await (await socket.ping(b"from the server"))
        await socket.send("was answered")
        await socket.wait_closed()

    async with behind(ping_back) as proxy, join(proxy) as socket:
        assert await socket.recv() == "was answered"
        assert await (await socket.ping(b"from the client")) >= 0


async def test_the_client_closes_first() -> None:
    seen: list[tuple[int | None, str | None]] = []
    done = asyncio.Event()

    async def until_closed(socket: ServerConnection) -> None:
        await socket.wait_closed()
        seen.append((socket.close_code, socket.close_reason))
        done.set()

    async with behind(until_closed) as proxy:
        async with join(proxy) as socket:
            await socket.close(4002, "enough")
        await done.wait()
        assert seen == [(4002, "enough")]
        assert (socket.close_code, socket.close_reason) == (4002, "enough")
        assert await faults_of(proxy) == []
        assert await idle_connections(proxy) == 0


async def test_the_server_closes_first() -> None:
    async def close(socket: ServerConnection) -> None:
        await socket.send("last words")
        await socket.close(1001, "going away")

    async with behind(close) as proxy, join(proxy) as socket:
        assert await socket.recv() == "last words"
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1001, "going away")
        assert await faults_of(proxy) == []


async def test_a_server_that_dies_is_seen_to_have_died() -> None:
    """No close frame is made up: the client is told 1006."""

    async def die(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    async with behind(die) as proxy, join(proxy) as socket:
        await socket.send("die")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1006


async def test_what_the_server_sends_right_behind_its_handshake_arrives() -> None:
    async def eager(socket: ServerConnection) -> None:
        for number in range(100):
            await socket.send(str(number))

    async with behind(eager) as proxy, join(proxy) as socket:
        words = [await socket.recv() for _ in range(100)]
        assert words == [str(number) for number in range(100)]


async def test_what_the_client_sends_right_behind_its_handshake_arrives() -> None:
    """In the same segment, before anybody has agreed to the upgrade."""
    async with behind(echo) as proxy:
        url = parse_uri(f"ws://127.0.0.1:{proxy.port}/")
        client = ClientProtocol(url)
        client.send_request(client.connect())
        handshake = b"".join(client.data_to_send())
        frame = Frame(Opcode.TEXT, b"early").serialize(mask=True)
        reader, writer = await proxy.connect()
        writer.write(handshake + frame)
        client.receive_data(await reader.readuntil(b"\r\n\r\n"))
        client.receive_data(await reader.readexactly(2 + len("early")))
        response, echoed = client.events_received()
        assert isinstance(response, Response)
        assert response.status_code == 101
        assert isinstance(echoed, Frame)
        assert bytes(echoed.data) == b"early"
        writer.close()


async def test_a_tunnel_outlives_the_limits_of_a_request() -> None:
    timeouts = {"request": "50ms", "per_try": "40ms", "stream_idle": "50ms"}
    async with behind(echo, timeouts=timeouts) as proxy, join(proxy) as socket:
        for _ in range(3):
            await asyncio.sleep(0.1)  # Longer than each of them.
            await socket.send("still here")
            assert await socket.recv() == "still here"


async def test_a_tunnel_where_nothing_moves_ends() -> None:
    timeouts = {"tunnel_idle": "100ms"}
    async with behind(echo, timeouts=timeouts) as proxy, join(proxy) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        record = await fault_of(proxy)
        assert record["code"] == "316-TIMEOUT-IDLE"
        assert record["timeout_kind"] == "tunnel_idle"
        assert record["phase"] == "tunnel"


async def test_a_refused_handshake_is_the_applications_answer() -> None:
    def refuse(socket: ServerConnection, _: object) -> Response:
        return socket.respond(401, "who are you?")

    server = await serve(echo, "127.0.0.1", 0, process_request=refuse)
    port = next(iter(server.sockets)).getsockname()[1]
    async with proxied(endpoints=[f"127.0.0.1:{port}"]) as proxy:
        with pytest.raises(InvalidStatus) as caught:
            async with join(proxy):
                pass
        assert caught.value.response.status_code == 401
        assert caught.value.response.body == b"who are you?"
    server.close()
    await server.wait_closed()


async def test_a_handshake_that_nobody_hears_is_a_named_failure() -> None:
    async with proxied(endpoints=["127.0.0.1:1"], retry={"preset": "off"}) as proxy:
        with pytest.raises(InvalidStatus) as caught:
            async with join(proxy):
                pass
        assert caught.value.response.status_code == 502
        assert caught.value.response.headers["x-316-code"] == "316-CONN-REFUSED"


async def test_a_version_the_server_does_not_speak_gets_its_426_or_400() -> None:
    async with behind(echo) as proxy:
        answer = await proxy.ask(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Version: 7\r\n\r\n"
        )
        assert status_of(answer) in (400, 426)
        assert header_of(answer, "x-316-code") is None
