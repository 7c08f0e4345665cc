"""RFC 9112, section 5: field lines, each of which means one thing only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.wire.framing import encode_last_chunk
from tests.conformance.sides import (
    assert_refused,
    assert_replaced,
    post,
    request,
    response,
    returned,
    sent,
)
from tests.support.proxy import header_of
from tests.support.wire import get

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

START = b"GET / HTTP/1.1"
HOST = b"Host: test"


@pytest.mark.parametrize("blank", [b" ", b"\t", b"\x0b", b"\x0c", b"\xa0", b"\r"])
@pytest.mark.parametrize("name", [b"A", b"Content-Length", b"Transfer-Encoding"])
def test_white_space_before_the_colon_is_refused(
    wire: FakeWire, blank: bytes, name: bytes
) -> None:
    """5.1: in a response a proxy must take it out, or not send the response on."""
    line = name + blank + b": 5"
    assert_refused(wire, request(START, HOST, line))
    assert_refused(wire, request(START, line, HOST))
    assert_replaced(wire, response(line))


@pytest.mark.parametrize("fold", [b"\r\n ", b"\r\n\t", b" \r\n  ", b"\r\n \r\n "])
@pytest.mark.parametrize(
    "line", [b"A: b%bc", b"A:%bb", b"Transfer-Encoding:%bchunked", b"A: b%b"]
)
def test_folded_lines_are_refused(wire: FakeWire, line: bytes, fold: bytes) -> None:
    """5.2: 400 for a request, 502 in place of a response."""
    assert_refused(wire, request(START, HOST, line % fold))
    assert_refused(wire, request(START, line % fold, HOST))
    assert_replaced(wire, response(b"Content-Length: 0", line % fold))


@pytest.mark.parametrize(
    "line",
    [
        b": b",
        b" : b",
        b"A",
        b"A b: c",
        b"A(b): c",
        b"A/b: c",
        b"A\0: b",
        b'"A": b',
        b"A@b: c",
        b"{A}: b",
        b"A\xe9: b",
        b"A\x7f: b",
        b"=: b\0",
    ],
)
def test_a_name_that_is_no_token_is_refused(wire: FakeWire, line: bytes) -> None:
    assert_refused(wire, request(START, HOST, line))
    assert_refused(wire, request(START, line, HOST))
    assert_replaced(wire, response(line, b"Content-Length: 0"))


@pytest.mark.parametrize("octet", [*range(9), *range(10, 32), 127])
@pytest.mark.parametrize("value", [b"a%cb", b"%c", b"a%c", b"%ca"])
def test_a_control_octet_in_a_value_is_refused(
    wire: FakeWire, octet: int, value: bytes
) -> None:
    """RFC 9110, 5.5: NUL, CR and LF must be; the others are as invalid."""
    line = b"A: " + value % octet
    if line.endswith(b"\n"):
        line += b"B: c"  # Else it could be the end of the line before.
    assert_refused(wire, request(START, HOST, line))
    assert_replaced(wire, response(b"Content-Length: 0", line))


@pytest.mark.parametrize("value", ["", " ", "\t", " b", "\tb \t", "b c\td"])
def test_a_line_goes_on_with_its_own_white_space(wire: FakeWire, value: str) -> None:
    """Around a value it is not of it; the line is the sender's."""
    line = f"A:{value}"
    assert f"\r\n{line}\r\n".encode() in sent(wire, get("/", line))
    assert f"\r\n{line}\r\n".encode() in returned(wire, response(line.encode()))


def test_too_many_or_too_large_fields_are_told_so(wire: FakeWire) -> None:
    """RFC 9110, 5.4: with a status of the 4xx class; the connection ends."""
    for lines in ([b"A: b"] * 100, [b"A: " + b"b" * 66_000]):
        client = wire.client()
        client.send(request(START, HOST, *lines))
        assert client.take().startswith(b"HTTP/1.1 431 ")
        assert client.has_eof
    assert wire.origins == []


def test_a_response_with_too_large_a_head_is_replaced(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(response(b"A: " + b"b" * 66_000))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert header_of(answer, "x-316-code") == "316-DATA-RESP-HEADER-SIZE"
    assert wire.origin().is_closed


@pytest.mark.parametrize(
    "line",
    [
        b"A : b",
        b"A: b\r\n c",
        b"A: b\0",
        b"A: b\rc",
        b": b",
        b"A",
        b" A: b",
        b"A\xe9: b",
    ],
)
def test_trailers_are_read_as_strictly(wire: FakeWire, line: bytes) -> None:
    """The request was on its way when they came: it is broken off, never ended."""
    client = wire.client()
    client.send(post(b"Transfer-Encoding: chunked") + b"1\r\na\r\n")
    client.send(b"0\r\n" + line + b"\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert wire.origin().is_closed
    assert not wire.origin().received.endswith(encode_last_chunk([]))
