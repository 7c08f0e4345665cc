"""Clients as they are: h11, http.client, and some that only speak bytes."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import struct

import h11
import pytest

from tests.support.observe import faults_of, until
from tests.support.proxy import (
    Talk,
    body_of,
    header_of,
    proxied,
    status_of,
)
from tests.support.scripts import echo

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# Bytes.


async def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async with proxied(echo) as proxy:
        get = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n+%02d"
        head = b"HEAD /%d HTTP/1.1\r\nHost: a\r\n\r\n"
        raw = b"".join((get % n) + (post % n) + (head % n) for n in range(10, 30))
        last = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await proxy.ask(raw + last)
        bodies = [body_of(part) for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        expected = [
            body for n in range(10, 30) for body in (b"/%d" % n, b"+%02d" % n, b"")
        ]
        assert bodies == [*expected, b"/last"]
        assert await faults_of(proxy) == []


async def test_a_request_in_single_bytes_is_one_request() -> None:
    async with proxied(echo) as proxy:
        reader, writer = await proxy.connect()
        raw = (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n0\r\n\r\n"
        )
        for byte in raw:
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        head = await reader.readuntil(b"\r\n\r\n")
        assert status_of(head) == 200
        writer.close()


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "Close, X", False),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "close", False),
    ],
)
async def test_a_connection_stays_as_the_client_wants(
    version: str, connection: str | None, *, stays: bool
) -> None:
    async with proxied(echo) as proxy:
        reader, writer = await proxy.connect()
        line = "" if connection is None else f"Connection: {connection}\r\n"
        raw = f"GET /abc HTTP/{version}\r\nHost: a\r\n{line}\r\n".encode()
        for _ in range(3 if stays else 1):
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            assert status_of(head) == 200
            assert await reader.readexactly(4) == b"/abc"
            told = (header_of(head, "connection") or "").lower()
            if version == "1.0" and stays:
                assert told == "keep-alive"
            assert (told == "close") is (not stays) or version == "1.0"
        if not stays:
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("line", ["Connection: close\r\n", ""])
async def test_a_client_that_has_said_all_still_gets_its_answer(line: str) -> None:
    """It closes its half right behind a last request, as nc and old tools do."""
    may_answer = asyncio.Event()

    async def wait(talk: Talk) -> None:
        await talk.request()
        await may_answer.wait()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with proxied(wait) as proxy:
        reader, writer = await proxy.connect()
        writer.write(f"GET /abc HTTP/1.1\r\nHost: a\r\n{line}\r\n".encode())
        writer.write_eof()
        while not proxy.origin.requests:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)  # The probe has looked several times.
        may_answer.set()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body_of(answer) == b"ok"
        writer.close()


async def test_a_stream_outlives_the_limit_of_a_request() -> None:
    """Server-sent events: what counts is that something comes."""

    async def events(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(5):
            await talk.send(b"data: %d\n\n" % number)
            await asyncio.sleep(0.05)  # Two of these are over the limit.

    async with proxied(events, timeouts={"request": "80ms"}) as proxy:
        answer = await proxy.get()
        assert [b"data: %d\n\n" % n in answer for n in range(5)] == [True] * 5
        assert answer.endswith(b"0\r\n\r\n")
        assert await faults_of(proxy) == []


async def test_an_upload_may_take_longer_than_the_limit_of_a_request() -> None:
    """Its clock starts when the request has been read."""
    async with proxied(echo, timeouts={"request": "80ms"}) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.05)  # Two of these are over the limit.
            writer.write(b"x")
        assert status_of(await reader.readuntil(b"xxxxx")) == 200
        writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"], ids=["0", "1", "2"]
)
async def test_a_client_that_leaves_before_it_asked_is_no_failure_of_anybody(
    sent: bytes,
) -> None:
    async with proxied(echo) as proxy:
        _, writer = await proxy.connect()
        writer.write(sent)
        writer.close()
        await writer.wait_closed()
        assert status_of(await proxy.get()) == 200
        assert await faults_of(proxy) == []


@pytest.mark.parametrize("begun", [b"", CHUNKED + b"1\r\na\r\n"], ids=["", "body"])
@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_leaves_ends_the_attempt(how: str, begun: bytes) -> None:
    """A close is first of all an end of input; half of those are no leave."""
    left = asyncio.Event()

    async def wait_for_end(talk: Talk) -> None:
        await talk.request()
        await talk.send(begun)
        with contextlib.suppress(ConnectionError):
            await talk.reader.read()
        left.set()

    async with proxied(wait_for_end) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        if begun:
            await reader.readuntil(b"a\r\n")
        while not proxy.origin.requests:
            await asyncio.sleep(0)
        if how == "reset":
            sock = writer.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        await left.wait()

        async def is_recorded() -> bool:
            return bool(await faults_of(proxy))

        await until(is_recorded)
        record = (await faults_of(proxy))[0]
        assert record["code"] == "316-CLIENT-ABORT"
        assert record["status"] == (200 if begun else 499)


# h11: strict about all that it reads.


class Strict:
    """A client by h11."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._protocol = h11.Connection(h11.CLIENT)

    def send(self, event: h11.Event) -> None:
        self._writer.write(self._protocol.send(event) or b"")

    async def read(self) -> h11.Event:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self._reader.read(65_536))
        assert not isinstance(event, type)
        return event

    async def rest(self) -> tuple[bytes, h11.EndOfMessage]:
        """Return what is left of a body, and its end."""
        body = b""
        while isinstance(event := await self.read(), h11.Data):
            body += event.data
        assert isinstance(event, h11.EndOfMessage)
        return body, event

    def start_next(self) -> None:
        self._protocol.start_next_cycle()


async def test_a_strict_client_reads_one_response_after_the_other() -> None:
    async with proxied(echo) as proxy:
        reader, writer = await proxy.connect()
        client = Strict(reader, writer)
        for method, body in (("GET", b""), ("HEAD", b""), ("POST", b"x" * 50_000)) * 3:
            lines = [("Host", "a")]
            if method == "POST":
                lines.append(("Transfer-Encoding", "chunked"))
            client.send(h11.Request(method=method, target="/t", headers=lines))
            for start in range(0, len(body), 7_000):
                client.send(h11.Data(data=body[start : start + 7_000]))
            client.send(h11.EndOfMessage())
            head = await client.read()
            assert isinstance(head, h11.Response)
            assert head.status_code == 200
            content, _ = await client.rest()
            assert (content == b"") is (method == "HEAD")
            client.start_next()
        writer.close()


async def test_a_strict_client_gets_the_trailers() -> None:
    async def with_trailers(talk: Talk) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n"
        )

    async with proxied(with_trailers) as proxy:
        reader, writer = await proxy.connect()
        client = Strict(reader, writer)
        lines = [("Host", "a"), ("TE", "trailers")]
        client.send(h11.Request(method="GET", target="/", headers=lines))
        client.send(h11.EndOfMessage())
        await client.read()
        body, end = await client.rest()
        assert body == b"abc"
        assert list(end.headers) == [(b"x-sum", b"6")]
        writer.close()


async def test_a_strict_client_reads_a_named_failure_and_goes_on() -> None:
    async with proxied(endpoints=["127.0.0.1:1"], retry={"preset": "off"}) as proxy:
        reader, writer = await proxy.connect()
        client = Strict(reader, writer)
        for method in ("GET", "HEAD", "GET"):
            client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            client.send(h11.EndOfMessage())
            head = await client.read()
            assert isinstance(head, h11.Response)
            assert head.status_code == 502
            body, _ = await client.rest()
            assert (body == b"") is (method == "HEAD")
            client.start_next()
        writer.close()


async def test_a_strict_client_notices_that_a_response_broke_off() -> None:
    async def break_off(talk: Talk) -> None:
        await talk.request()
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await talk.send(b"3\r\nabc\r\n")

    async with proxied(break_off) as proxy:
        reader, writer = await proxy.connect()
        client = Strict(reader, writer)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        await client.read()
        with pytest.raises((h11.RemoteProtocolError, ConnectionResetError)):
            await client.rest()
        writer.close()


# http.client, which blocks, on a thread.


async def test_the_standard_librarys_client_keeps_its_connection() -> None:
    def converse(port: int) -> list[tuple[int, bytes]]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        said = []
        for method, body in (("GET", None), ("POST", b"data"), ("PUT", [b"da", b"ta"])):
            client.request(method, "/p", body, encode_chunked=True)
            answer = client.getresponse()
            said.append((answer.status, answer.read()))
            assert client.sock is not None
        client.close()
        return said

    async with proxied(echo) as proxy:
        said = await asyncio.to_thread(converse, proxy.port)
        assert said[:2] == [(200, b"/p"), (200, b"data")]
        assert said[2][0] == 200
