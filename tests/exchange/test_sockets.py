"""Where a socket adds something: real refusals, resets, buffers, half closes.

All else is promised on the fake wire, in the files beside this one.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.support.proxy import (
    OK,
    Proxy,
    Talk,
    always_ok,
    body_of,
    header_of,
    proxied,
    status_of,
)

DEAD = ["127.0.0.1:1"]
NO_RETRY = {"preset": "off"}


async def fail_once_by_reset(talk: Talk) -> None:
    """The first connection is reset after the request; the others answer."""
    await talk.request()
    if talk.number == 1:
        talk.reset()
        return
    await talk.send(OK)


async def never(talk: Talk) -> None:
    await talk.request()
    await asyncio.Event().wait()


async def test_nothing_listens() -> None:
    async with proxied(endpoints=DEAD, retry=NO_RETRY) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-CONN-REFUSED"
        assert header_of(answer, "x-316-processed") == "no"


async def test_a_refused_connection_is_tried_again_elsewhere() -> None:
    """Nothing was sent, so even a POST may go to another endpoint."""
    async with proxied() as alive:
        live = f"127.0.0.1:{alive.origin.port}"
        async with proxied(endpoints=[*DEAD, live]) as proxy:
            answers = [await proxy.post() for _ in range(4)]
            assert {status_of(answer) for answer in answers} == {200}
            assert len(alive.origin.requests) == 4


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
async def test_a_reset_is_one(method: str, status: int) -> None:
    async with proxied(fail_once_by_reset) as proxy:
        answer = await proxy.get(method=method)
        assert status_of(answer) == status
        assert len(proxy.origin.requests) == (2 if status == 200 else 1)
        if status != 200:
            assert header_of(answer, "x-316-code") == "316-CONN-RESET"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_idle_connection_that_was_just_closed(method: str) -> None:
    """The keep-alive race: the origin closes after each answer without a word."""

    async def close_silently(talk: Talk) -> None:
        await talk.request()
        await talk.send(OK)

    async with proxied(close_silently) as proxy:
        for _ in range(20):
            answer = await proxy.get(method=method)
            assert status_of(answer) == 200


async def test_a_large_body_goes_through_both_ways() -> None:
    size = 8 * 1024 * 1024

    async def echo(talk: Talk) -> None:
        request = await talk.request()
        body = body_of(request)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        await talk.send(head + body)

    async with proxied(echo) as proxy:
        body = b"0123456789abcdef" * (size // 16)
        assert body_of(await proxy.post(body)) == body


async def test_a_tunnel_ends_half_by_half() -> None:
    async def echo(talk: Talk) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\nhi"
        )
        while data := await talk.reader.read(1000):
            await talk.send(data)
        await talk.send(b"bye")

    async with proxied(echo) as proxy:
        reader, writer = await proxy.connect()
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            b"Upgrade: echo\r\n\r\nfirst"
        )
        assert status_of(await reader.readuntil(b"\r\n\r\n")) == 101
        assert await reader.readexactly(7) == b"hifirst"
        writer.write_eof()
        assert await reader.read() == b"bye"
        writer.close()


async def test_a_client_that_leaves_ends_the_attempt() -> None:
    left = asyncio.Event()

    async def wait_for_the_end(talk: Talk) -> None:
        await talk.request()
        await talk.reader.read()
        left.set()

    async with proxied(wait_for_the_end) as proxy:
        _, writer = await proxy.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not proxy.origin.requests:
            await asyncio.sleep(0)
        writer.close()
        await left.wait()
        while not proxy.faults:
            await asyncio.sleep(0)
        assert proxy.faults[0]["code"] == "316-CLIENT-ABORT"


async def test_a_refused_client_reads_why() -> None:
    """It is still sending: closed at once, it would get a reset instead."""
    async with proxied(body_max="1KiB") as proxy:
        assert status_of(await proxy.post(b"x" * 300_000)) == 413


async def test_a_broken_response_looks_broken() -> None:
    async def break_off(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

    async with proxied(break_off) as proxy:
        assert body_of(await proxy.get()) == b"abc"
        assert proxy.faults[0]["code"] == "316-DATA-TRUNCATED"


def stop_reading(writer: asyncio.StreamWriter) -> None:
    transport: Any = writer.transport  # Of a socket, so it can be paused, too.
    transport.pause_reading()


async def test_a_client_that_does_not_read_holds_nothing_for_long() -> None:
    async def flood(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await talk.send(b"x" * 65536)

    async with proxied(flood, timeouts={"downstream_write": "100ms"}) as proxy:
        _, writer = await proxy.connect()
        stop_reading(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not proxy.faults:
            await asyncio.sleep(0.01)
        assert proxy.faults[0]["timeout_kind"] == "downstream_write"
        assert set(leftovers(proxy)) == {0}
        writer.transport.abort()


async def test_an_upstream_that_does_not_read_is_told_from_a_slow_client() -> None:
    async def deaf(talk: Talk) -> None:
        stop_reading(talk.writer)
        await asyncio.Event().wait()

    async with proxied(deaf, timeouts={"stream_idle": "100ms"}) as proxy:
        answer = await proxy.post(b"x" * 16_000_000)
        assert header_of(answer, "x-316-code") == "316-TIMEOUT-WRITE"


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"request": "50ms"}, "316-TIMEOUT-ERR"),
        ({"per_try": "50ms"}, "316-TIMEOUT-TRY"),
    ],
)
async def test_a_limit_of_time_by_the_real_clock(
    limits: dict[str, str], code: str
) -> None:
    async with proxied(never, timeouts=limits) as proxy:
        assert header_of(await proxy.get(), "x-316-code") == code


async def test_who_waits_for_a_connection_gets_it() -> None:
    async with proxied(always_ok, upstream={"pool": {"max_connections": 1}}) as proxy:
        answers = await asyncio.gather(*(proxy.get() for _ in range(20)))
        assert {status_of(answer) for answer in answers} == {200}
        assert proxy.origin.connections <= 2


def leftovers(proxy: Proxy) -> list[int]:
    """Return what a leak would leave: slots, busy connections, retries."""
    upstream = proxy.app.runtime.upstreams["app"]
    return [
        upstream.requests.count,
        upstream.pool.pending,
        *(endpoint.busy for endpoint in upstream.pool.endpoints),
        *(route.in_flight for route in proxy.app.runtime.routes),
    ]


async def test_nothing_is_left_behind_by_failures() -> None:
    async def all_ways(talk: Talk) -> None:
        while await talk.request():
            match len(talk._origin.requests) % 4:
                case 0:
                    talk.reset()
                    return
                case 1:
                    await talk.send(OK)
                case 2:
                    await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
                    return
                case _:
                    await talk.send(b"nonsense\r\n\r\n")
                    return

    async with proxied(
        all_ways, timeouts={"request": "2s"}, circuit_breaker="off"
    ) as proxy:
        await asyncio.gather(*(proxy.get() for _ in range(40)))
        await asyncio.gather(*(proxy.post() for _ in range(40)))
        assert set(leftovers(proxy)) == {0}


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
async def test_the_any_address_of_ipv6_takes_ipv4_and_calls_it_so() -> None:
    async with proxied(top={"inbound": {"listen": "[::]:0"}}) as proxy:
        for host in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(host, proxy.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert status_of(await reader.read()) == 200
            writer.close()
            seen = proxy.origin.requests[-1]
            assert header_of(seen, "x-forwarded-for") == host
