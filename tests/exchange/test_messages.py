"""Bytes go through as they came, and what is ambiguous goes nowhere."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.proxy import OK, Talk, body_of, header_of, proxied, status_of


async def test_target_order_case_and_duplicates_stay() -> None:
    async with proxied() as proxy:
        await proxy.get("/a%2Fb/../c?x=1&&y=%20", "X-B: 2", "x-a: 1", "X-B: 3")
        lines = proxy.origin.requests[0].split(b"\r\n")
        assert lines[0] == b"GET /a%2Fb/../c?x=1&&y=%20 HTTP/1.1"
        kept = [line for line in lines if line[:4] in (b"X-B:", b"x-a:")]
        assert kept == [b"X-B: 2", b"x-a: 1", b"X-B: 3"]


async def test_what_connection_names_goes_no_further() -> None:
    async with proxied() as proxy:
        raw = (
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Secret\r\n"
            b"X-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\n"
        )
        await proxy.ask(raw)
        sent = proxy.origin.requests[0].lower()
        for gone in (
            b"x-secret",
            b"\r\nconnection",
            b"keep-alive",
            b"proxy-connection",
        ):
            assert gone not in sent


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def echo_path(talk: Talk) -> None:
        while request := await talk.request():
            path = request.split(b" ")[1]
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path)
            await talk.send(head + path)

    async with proxied(echo_path) as proxy:
        one = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        last = b"GET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await proxy.ask(b"".join(one % n for n in range(4)) + last)
        bodies = [part[-2:] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"/0", b"/1", b"/2", b"/3", b"/4"]


async def test_a_chunked_request_arrives_whole_with_its_trailers() -> None:
    async def until_trailers(talk: Talk) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        body = await talk.reader.readuntil(b"X-T: 1\r\n\r\n")
        talk._origin.requests.append(head + body)
        await talk.send(OK)

    async with proxied(until_trailers) as proxy:
        await proxy.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
            b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
        )
        assert body_of(proxy.origin.requests[0]) == b"5\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n"


async def test_a_response_of_unknown_length_is_chunked_for_the_client() -> None:
    async def until_close(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\n\r\nabc")

    async with proxied(until_close) as proxy:
        answer = await proxy.get()
        assert header_of(answer, "transfer-encoding") == "chunked"
        assert body_of(answer).startswith(b"3\r\nabc\r\n0\r\n")


async def test_http_1_0_gets_no_chunks() -> None:
    async def chunked(talk: Talk) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\n\r\n"
        )

    async with proxied(chunked) as proxy:
        answer = await proxy.ask(b"GET / HTTP/1.0\r\n\r\n")
        assert header_of(answer, "transfer-encoding") is None
        assert body_of(answer) == b"abc"


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_response_without_a_body_ends_with_its_head(method: str) -> None:
    async def no_body(talk: Talk) -> None:
        while request := await talk.request():
            status = b"200 OK" if request.startswith(b"HEAD") else b"304 Not Modified"
            await talk.send(b"HTTP/1.1 %b\r\nContent-Length: 7\r\n\r\n" % status)

    async with proxied(no_body) as proxy:
        answer = await proxy.get(method=method)
        assert header_of(answer, "content-length") == "7"
        assert body_of(answer) == b""


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
        (b"Content-Length: 3\r\nContent-Length: 3", 400),
        (b"Content-Length: +3", 400),
        (b"Transfer-Encoding: xchunked", 400),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"A : b", 400),
        (b"A: b\r\n c", 400),
        (b"A: b\rc", 400),
        (b"A: b\nB: c", 400),
        (b"A: b\0c", 400),
        (b": b", 400),
        (b"Host: b", 400),
        (b"A: " + b"x" * 70_000, 431),
        (b"\r\n".join(b"A%d: b" % n for n in range(101)), 431),
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(
    lines: bytes, status: int
) -> None:
    async with proxied() as proxy:
        raw = b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n"
        answer = await proxy.ask(raw)
        assert status_of(answer) == status
        assert header_of(answer, "x-316-code") == "316-VALIDATION-ERR"
        assert header_of(answer, "connection") == "close"
        assert proxy.origin.requests == []


async def test_a_target_that_is_too_long_is_refused() -> None:
    async with proxied() as proxy:
        assert status_of(await proxy.get("/" + "x" * 9000)) == 414


async def test_a_body_over_the_limit_is_refused() -> None:
    async with proxied(body_max="1KiB") as proxy:
        answer = await proxy.post(b"x" * 2000)
        assert status_of(answer) == 413
        assert header_of(answer, "x-316-code") == "316-DATA-REQ-SIZE"


async def test_a_bad_chunk_is_refused() -> None:
    async def read_all(talk: Talk) -> None:
        await talk.reader.read()

    async with proxied(read_all) as proxy:
        answer = await proxy.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
        )
        assert status_of(answer) == 400


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_a_response_that_breaks_off_looks_broken(response: bytes) -> None:
    async def break_off(talk: Talk) -> None:
        await talk.request()
        await talk.send(response)

    async with proxied(break_off) as proxy:
        answer = await proxy.get()
        assert not answer.endswith(b"0\r\n\r\n")
        assert len(body_of(answer)) < 10
        assert proxy.faults[0]["code"] == "316-DATA-TRUNCATED"


async def test_an_interim_response_reaches_the_client() -> None:
    async def go_on(talk: Talk) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        assert b"100-continue" in head
        await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await talk.reader.readexactly(4) == b"data"
        await talk.send(OK)

    async with proxied(go_on) as proxy:
        reader, writer = await proxy.connect()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
            b"Connection: close\r\nExpect: 100-continue\r\n\r\n"
        )
        interim = await reader.readuntil(b"\r\n\r\n")
        assert interim.startswith(b"HTTP/1.1 100 Continue\r\n")
        writer.write(b"data")
        assert status_of(await reader.read()) == 200
        writer.close()


async def test_an_upgrade_becomes_a_tunnel_both_ways() -> None:
    async def echo(talk: Talk) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\nhi"
        )
        while data := await talk.reader.read(1000):
            await talk.send(data)

    async with proxied(echo) as proxy:
        reader, writer = await proxy.connect()
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            b"Upgrade: echo\r\n\r\nfirst"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert status_of(head) == 101
        assert header_of(head, "upgrade") == "echo"
        assert await reader.readexactly(7) == b"hifirst"
        writer.write(b"second")
        assert await reader.readexactly(6) == b"second"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


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
        assert proxy.faults[0]["status"] == 499


async def test_the_hop_is_told() -> None:
    async with proxied() as proxy:
        answer = await proxy.get("/", "X-Forwarded-For: 10.0.0.9", "x-request-id: abc")
        sent = proxy.origin.requests[0]
        assert header_of(sent, "x-forwarded-for") == "10.0.0.9, 127.0.0.1"
        assert header_of(sent, "x-forwarded-proto") == "http"
        assert header_of(sent, "x-forwarded-host") == "test"
        assert header_of(sent, "x-request-id") == "abc"
        assert str(header_of(sent, "via")).startswith("1.1 sidecar-")
        assert str(header_of(answer, "via")).startswith("1.1 sidecar-")


async def test_what_an_untrusted_client_says_of_others_is_not_believed() -> None:
    async with proxied(top={"trusted_peers": []}) as proxy:
        await proxy.get("/", "X-Forwarded-For: 10.0.0.9", "x-316-attempt: 7")
        sent = proxy.origin.requests[0]
        assert header_of(sent, "x-forwarded-for") == "127.0.0.1"
        assert header_of(sent, "x-316-attempt") == "1"
