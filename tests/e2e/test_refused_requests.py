"""What two readers could read differently goes nowhere: 400 and the end.

The origin must not see a byte of it, nor of what comes behind it on the same
connection: that is how a request is smuggled (RFC 9112, 11.2).
"""

from __future__ import annotations

import re

import pytest

from tests.support.observe import fault_of
from tests.support.proxy import Talk, body_of, header_of, proxied, status_of

BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

REQUEST_LINES = [
    (b"GET / HTTP/1.2", 505),
    (b"GET / HTTP/2.0", 505),
    (b"GET / HTTP/0.9", 505),
    (b"GET /", 400),
    (b"GET  / HTTP/1.1", 400),
    (b"GET / HTTP/1.1 ", 400),
    (b" GET / HTTP/1.1", 400),
    (b"GET / http/1.1", 400),
    (b"GET / HTTP/1.10", 400),
    (b"G(T / HTTP/1.1", 400),
    (b"GET\t/\tHTTP/1.1", 400),
    (b"GET /\0 HTTP/1.1", 400),
    (b"GET /\xff HTTP/1.1", 400),
    (b"GET a HTTP/1.1", 400),
    (b"GET /#f HTTP/1.1", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1", 414),
]

FIELDS = [
    (b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
    (b"Transfer-Encoding: chunked\r\nContent-Length: 0", 400),
    (b"Content-Length: 3\r\nContent-Length: 3", 400),
    (b"Content-Length: 3\r\nContent-Length: 4", 400),
    (b"Content-Length: 3, 3", 400),
    (b"Content-Length: -1", 400),
    (b"Content-Length: +3", 400),
    (b"Content-Length: 0x3", 400),
    (b"Content-Length: 3 3", 400),
    (b"Content-Length:", 400),
    (b"Content-Length: 99999999999999999999", 400),
    (b"Transfer-Encoding: xchunked", 400),
    (b"Transfer-Encoding: identity", 400),
    (b"Transfer-Encoding: chunked, chunked", 400),
    (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    (b"Transfer-Encoding: gzip, chunked", 501),
    (b"Transfer-Encoding: \x0bchunked", 400),
    (b"Transfer-Encoding : chunked", 400),
    (b"A : b", 400),
    (b"A: b\r\n c", 400),
    (b"A: b\r\n\tc", 400),
    (b" A: b", 400),
    (b"A: b\rc", 400),
    (b"A: b\nB: c", 400),
    (b"A: b\0c", 400),
    (b"A\0: b", 400),
    (b": b", 400),
    (b"A", 400),
    (b"A(: b", 400),
    (b"A\xe9: b", 400),
    (b"Host: b", 400),
    (b"A: " + b"x" * 70_000, 431),
    (b"\r\n".join(b"A%d: b" % n for n in range(101)), 431),
]

CHUNKS = [
    b"xyz\r\n",
    b"-1\r\n",
    b"+3\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b" 3\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"3\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc\n",
    b"ffffffffffffffffff\r\n",
    b"\r\n",
    b"3;a\0b\r\nabc\r\n",
    b"0\r\nA : b\r\n\r\n",
]


def named(value: object) -> str | None:
    """Name a case by its first bytes."""
    return ascii(value[:40])[2:-1] if isinstance(value, bytes) else None


async def is_refused(raw: bytes, status: int) -> None:
    async with proxied() as proxy:
        answer = await proxy.ask(raw + BEHIND)
        assert status_of(answer) == status
        assert header_of(answer, "x-316-code") == "316-VALIDATION-ERR"
        assert header_of(answer, "connection") == "close"
        assert len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", answer)) == 1
        assert (await fault_of(proxy))["origin"] == "client"
        assert proxy.origin.requests == []


@pytest.mark.parametrize(("line", "status"), REQUEST_LINES, ids=named)
async def test_a_request_line(line: bytes, status: int) -> None:
    await is_refused(line + b"\r\nHost: a\r\n\r\n", status)


@pytest.mark.parametrize(("lines", "status"), FIELDS, ids=named)
async def test_a_field(lines: bytes, status: int) -> None:
    await is_refused(b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n", status)


async def test_what_was_sent_before_makes_no_difference() -> None:
    """Lines that are good one by one are judged anew where they come together."""
    good = (
        b"Content-Length: 3\r\n\r\nabc",
        b"Content-Length: 4\r\n\r\nabcd",
        b"Content-Length: 0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    )
    start = b"POST / HTTP/1.1\r\nHost: a\r\n"
    async with proxied() as proxy:
        for rest in good * 2:
            answer = await proxy.ask(start + b"Connection: close\r\n" + rest)
            assert status_of(answer) == 200
        for lines, status in FIELDS:
            answer = await proxy.ask(start + lines + b"\r\n\r\n" + BEHIND)
            assert (lines, status_of(answer)) == (lines, status)
        assert len(proxy.origin.requests) == len(good * 2)


@pytest.mark.parametrize("head", [b"", b"Host: \xe9\r\n", b"Host: a b\r\n"], ids=named)
async def test_a_host(head: bytes) -> None:
    await is_refused(b"GET / HTTP/1.1\r\n" + head + b"\r\n", 400)


@pytest.mark.parametrize("chunks", CHUNKS, ids=named)
async def test_a_chunk(chunks: bytes) -> None:
    """The head is on its way already; the body must not look complete."""
    ends = []

    async def read_all(talk: Talk) -> None:
        ends.append(await talk.reader.read())

    async with proxied(read_all) as proxy:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await proxy.ask(head + chunks + BEHIND)
        assert status_of(answer) == 400
        assert header_of(answer, "x-316-code") == "316-VALIDATION-ERR"
        assert header_of(answer, "connection") == "close"
        assert b"smuggled" not in b"".join(ends)
        assert not any(body_of(end).endswith(b"0\r\n\r\n") for end in ends if end)
