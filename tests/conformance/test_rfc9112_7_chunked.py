"""RFC 9112, section 7: the chunked coding, read strictly and written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import (
    EVIL,
    assert_ended,
    post,
    response,
    returned,
    sent,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

HEAD = post(b"Transfer-Encoding: chunked")
CHUNKED = response(b"Transfer-Encoding: chunked")
BROKEN = [
    b"+5\r\nhello\r\n",
    b"-5\r\nhello\r\n",
    b"0x5\r\nhello\r\n",
    b"0X5\r\nhello\r\n",
    b" 5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"5\t\r\nhello\r\n",
    b"\t5\r\nhello\r\n",
    b"5\x0b\r\nhello\r\n",
    b"5\0\r\nhello\r\n",
    b"5h\r\nhello\r\n",
    b"5_0\r\nhello\r\n",
    b"5.0\r\nhello\r\n",
    b"5,\r\nhello\r\n",
    b"g\r\nhello\r\n",
    b"\xd9\xa5\r\nhello\r\n",
    b"\r\nhello\r\n",
    b";a\r\nhello\r\n",
    b"f" * 16 + b"\r\nhello\r\n",
    b"1" + b"0" * 16 + b"5\r\nhello\r\n",
    b"0" * 17 + b"5\r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\rhello\r\n",
    b"5\r\r\nhello\r\n",
    b"5\r\nhello\n",
    b"5\r\nhello\r",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello \r\n",
    b"5\r\nhello!\r\n",
    b"5\r\nhello\r\r\n",
    b"5\r\nhello\r\n\r\n",
    b"0\n\r\n",
    b"0\r\n\n",
    b"0\r\n \r\n",
    b"-0\r\n\r\n",
    b"0x0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n",
    b"5;a\rb\r\nhello\r\n",
    b"5;a\0\r\nhello\r\n",
    b"5;a=\x7f\r\nhello\r\n",
    b"5 a\r\nhello\r\n",
    b"5;" + b"a" * 600 + b"\r\nhello\r\n",
    b"5;" + b"a" * 9000,
]


@pytest.mark.parametrize("raw", BROKEN)
@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_a_malformed_chunk_is_refused(
    wire: FakeWire, raw: bytes, piece_bytes: int
) -> None:
    """Before it is sent or in the middle: never is such a request ended upstream."""
    client = wire.client()
    if piece_bytes:
        client.send(HEAD)
        client.send(raw + EVIL, piece_bytes)
    else:
        client.send(HEAD + raw + EVIL)
    assert_ended(client)
    for origin in wire.origins:
        assert origin.is_closed
        assert b"evil" not in origin.received
        assert not origin.received.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("raw", BROKEN)
@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_a_response_with_a_malformed_chunk_is_broken_off(
    wire: FakeWire, raw: bytes, piece_bytes: int
) -> None:
    """The client can see that it is not whole: the last chunk never comes."""
    client = wire.client()
    client.send(get())
    wire.origin().send(CHUNKED + raw + OK, piece_bytes)
    assert wire.origin().is_closed
    assert wire.codes == ["316-DATA-TRANSFER-CODING"]
    answer = client.take()
    if status_of(answer) == 200:
        assert client.is_closed
        assert not answer.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n"),
        (b"005\r\nhello\r\n000\r\n\r\n", b"5\r\nhello\r\n"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"a\r\n0123456789\r\n"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"a\r\n0123456789\r\n"),
        (b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"5\r\nhello\r\n"),
        (b"2\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n", b"3\r\n\r\n0\r\n"),
        (b'5;a;b=c;d="e;f\\""\r\nhello\r\n0;z\r\n\r\n', b"5\r\nhello\r\n"),
        (b"5 ; a = b\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n"),
        (b"0\r\n\r\n", b""),
    ],
)
def test_chunks_are_unwrapped_and_wrapped_anew(
    wire: FakeWire, raw: bytes, content: bytes
) -> None:
    """7.1, 7.1.1: extensions that nobody here knows end here, the content does not."""
    expected = content + b"0\r\n\r\n"
    assert body_of(sent(wire, HEAD + raw)) == expected
    assert body_of(returned(wire, CHUNKED + raw)) == expected


def test_a_size_may_be_as_long_as_a_count_of_bytes_can_be(wire: FakeWire) -> None:
    """It is read as what it is, not cut off: the content then never is whole."""
    client = wire.client()
    client.send(HEAD + b"fffffffffffffff\r\nhello")
    assert wire.origin().received.endswith(b"5\r\nhello\r\n")
    client.send(EVIL)
    assert wire.origin().received.endswith(EVIL + b"\r\n")


@pytest.mark.parametrize("piece_bytes", [0, 1000])
@pytest.mark.parametrize("extension_bytes", [40, 400])
def test_extensions_may_not_outweigh_the_content(
    wire: FakeWire, extension_bytes: int, piece_bytes: int
) -> None:
    """7.1.1: without a limit, one byte of content costs as many as one likes."""
    chunk = b"1;" + b"a" * extension_bytes + b"\r\nb\r\n"
    client = wire.client()
    client.send(HEAD)
    client.send(chunk * 500, piece_bytes)
    assert_ended(client)
    assert wire.origin().is_closed


def test_extensions_that_come_with_content_may_go_on(wire: FakeWire) -> None:
    chunk = b"3e8;sig=" + b"a" * 64 + b"\r\n" + b"b" * 1000 + b"\r\n"
    raw = sent(wire, HEAD + chunk * 400 + b"0\r\n\r\n")
    assert raw.count(b"b" * 1000) == 400


@pytest.mark.parametrize(
    "name",
    [
        "Transfer-Encoding",
        "Content-Length",
        "Host",
        "Connection",
        "Trailer",
        "TE",
        "Max-Forwards",
        "Authorization",
        "Cookie",
        "Set-Cookie",
        "Cache-Control",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "If-Match",
        "Range",
        "Expect",
        "Location",
        "Vary",
        "WWW-Authenticate",
        "X-Forwarded-For",
        "x-316-deadline-ms",
        "X-316-CODE",
    ],
)
def test_a_trailer_that_must_be_known_before_the_content_ends_here(
    wire: FakeWire, name: str
) -> None:
    """6.5.1 of RFC 9110; and none is ever merged into a header section (7.1.2)."""
    raw = f"1\r\na\r\n0\r\n{name}: 5\r\nX-Sum: 6\r\n\r\n".encode()
    expected = b"1\r\na\r\n0\r\nX-Sum: 6\r\n\r\n"
    head, _, body = sent(wire, HEAD + raw).partition(b"\r\n\r\n")
    assert body == expected
    assert b"X-Sum" not in head
    head, _, body = returned(wire, CHUNKED + raw).partition(b"\r\n\r\n")
    assert body == expected
    assert b"X-Sum" not in head


def test_a_trailer_that_connection_names_ends_here(wire: FakeWire) -> None:
    """7.6.1 of RFC 9110: header or trailer."""
    raw = b"1\r\na\r\n0\r\nX-One: 1\r\nX-Two: 2\r\n\r\n"
    expected = b"1\r\na\r\n0\r\nX-Two: 2\r\n\r\n"
    fields = (b"Transfer-Encoding: chunked", b"Connection: x-one")
    assert body_of(sent(wire, post(*fields) + raw)) == expected
    assert body_of(returned(wire, response(*fields) + raw)) == expected


def test_a_client_of_http_1_0_gets_neither_chunks_nor_trailers(wire: FakeWire) -> None:
    answer = wire.ask(
        b"GET / HTTP/1.0\r\n\r\n", CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    assert header_of(answer, "transfer-encoding") is None
    assert body_of(answer) == b"ok"


@pytest.mark.parametrize("te", ["gzip", "chunked", "deflate;q=0.5", "trailers, gzip"])
def test_te_says_only_what_this_hop_understands(wire: FakeWire, te: str) -> None:
    """7.4: with the connection option that keeps the next hop from sending it on."""
    head = sent(wire, get("/", f"TE: {te}", "Connection: TE"))
    expected = "trailers" if "trailers" in te else None
    assert header_of(head, "te") == expected
    assert (header_of(head, "connection") == "TE") is (expected is not None)
