"""RFC 9112, section 6: where a message ends, in one reading only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import (
    EVIL,
    EVIL_ANSWER,
    assert_ended,
    assert_next_is_right,
    assert_refused,
    assert_replaced,
    post,
    request,
    response,
    returned,
    sent,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

TE = b"Transfer-Encoding: chunked"
CL = b"Content-Length: 5"
CHUNKS = b"2\r\nok\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"", 400),
        (b"identity", 400),
        (b"chunked, identity", 400),
        (b"identity, chunked", 501),
        (b"xchunked", 400),
        (b"chunkedx", 400),
        (b"x-chunked", 400),
        (b"chunk", 400),
        (b"chunked, chunked", 400),
        (b"chunked,", 400),
        (b",chunked", 400),
        (b"chunked;a=b", 400),
        (b'"chunked"', 400),
        (b"'chunked'", 400),
        (b"chunked\t\x0b", 400),
        (b"\x0bchunked", 400),
        (b"\x0cchunked", 400),
        (b"chun\0ked", 400),
        (b"chunked\xa0", 400),
        (b"ch\xc3\xbcnked", 400),
        (b"chu nked", 400),
        (b"gzip", 400),
        (b"chunked, gzip", 400),
        (b"gzip, chunked", 501),
        (b"gzip;q=1, chunked", 501),
        (b"cow, chunked", 501),
    ],
)
def test_a_request_with_any_coding_but_chunked_is_refused(
    wire: FakeWire, value: bytes, status: int
) -> None:
    """6.1, 6.3: 400 where chunked is not last, 501 for a coding nobody here knows."""
    assert_refused(wire, post(b"Transfer-Encoding: " + value) + b"0\r\n\r\n", status)
    assert_refused(wire, post(b"TRANSFER-ENCODING:" + value) + b"0\r\n\r\n", status)


@pytest.mark.parametrize("value", [b"chunked", b" Chunked ", b"\tCHUNKED"])
def test_chunked_is_known_in_any_case(wire: FakeWire, value: bytes) -> None:
    raw = sent(wire, post(b"Transfer-Encoding:" + value) + CHUNKS)
    assert header_of(raw, "transfer-encoding") == "chunked"
    assert raw.lower().count(b"transfer-encoding") == 1
    assert raw.endswith(b"\r\n\r\n" + CHUNKS)


@pytest.mark.parametrize(
    "fields",
    [
        (TE, CL),
        (CL, TE),
        (CL, b"A: b", TE),
        (TE, b"Content-Length: 0"),
        (b"content-length: 5", b"tRANSFER-eNCODING: CHUNKED"),
        (TE, TE),
        (TE, b"transfer-encoding: identity"),
        (b"Transfer-Encoding: identity", TE),
        (TE, b"Transfer-Encoding:"),
        (CL, b"Content-Length: 5"),
        (CL, b"content-length: 6"),
        (CL, b"A: b", b"CONTENT-LENGTH: 0"),
        (CL, b"Content-Length:"),
    ],
)
def test_two_lengths_are_refused(wire: FakeWire, fields: tuple[bytes, ...]) -> None:
    """6.3: also where both say the same."""
    assert_refused(wire, post(*fields) + b"0\r\n\r\n")
    assert_refused(wire, request(b"GET / HTTP/1.1", b"Host: a", *fields))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"+5",
        b"-5",
        b"0x5",
        b"5 5",
        b"5, 5",
        b"5,5",
        b"5, 6",
        b"5,",
        b",5",
        b"5;a",
        b"5.0",
        b"5e0",
        b"5a",
        b"a",
        b'"5"',
        b"\xb2",
        b"\xd9\xa5",
        b"5_0",
        b"1,000",
        b"1" + b"0" * 18,
        b"9" * 20,
        b"18446744073709551621",
        b"9" * 5000,
        b"5\0",
        b"5\x0b",
        b"\x0c5",
    ],
)
def test_a_length_that_is_no_number_is_refused(wire: FakeWire, value: bytes) -> None:
    """8.6 of RFC 9110, 6.3: what wraps, rounds or is cut off elsewhere is none."""
    assert_refused(wire, post(b"Content-Length: " + value) + b"hello")
    if len(value) < 100:
        assert_replaced(wire, response(b"Content-Length: " + value) + b"hello")


@pytest.mark.parametrize("value", ["5", "5 ", "\t5\t", "005", "0000000000000000005"])
def test_a_length_goes_on_in_one_spelling(wire: FakeWire, value: str) -> None:
    """010 is eight for some: leading zeros end here."""
    raw = sent(wire, post(b"Content-Length:" + value.encode()) + b"hello")
    length = header_of(raw, "content-length")
    assert (length, body_of(raw)) == ("5", b"hello")
    answer = returned(wire, response(b"Content-Length:" + value.encode()) + b"hello")
    assert (header_of(answer, "content-length"), body_of(answer)) == ("5", b"hello")


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_http_1_0_has_no_codings(wire: FakeWire, connection: bytes) -> None:
    """6.1: the framing is faulty, whether there is a length or not."""
    for fields in ((TE,), (TE, CL), (b"Transfer-Encoding: identity",)):
        head = request(
            b"POST / HTTP/1.0", b"Host: a", b"Connection: " + connection, *fields
        )
        assert_refused(wire, head + CHUNKS)
    line = b"HTTP/1.0 200 OK"
    assert_replaced(wire, response(TE, line=line) + CHUNKS)
    assert_replaced(wire, response(TE, CL, line=line) + CHUNKS)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "POST"])
def test_a_request_without_a_length_has_no_body(wire: FakeWire, method: str) -> None:
    """6.3, rule 7: what follows it is the next request."""
    client = wire.client()
    client.send(get("/1", method=method) + get("/2"))
    assert wire.origin().take().endswith(b"\r\n\r\n")
    wire.origin().send(response(b"Content-Length: 0"))
    assert wire.origin().take().startswith(b"GET /2 ")
    wire.origin().send(OK)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_body_of_any_method_is_a_body(wire: FakeWire, method: str) -> None:
    """A request inside it is content, here and for the origin."""
    client = wire.client()
    head = get("/1", f"Content-Length: {len(EVIL)}", method=method)
    client.send(head + EVIL + get("/2"))
    raw = wire.origin().take()
    assert header_of(raw, "content-length") == str(len(EVIL))
    assert body_of(raw) == EVIL
    wire.origin().send(response(b"Content-Length: 0"))
    assert wire.origin().take().startswith(b"GET /2 ")
    wire.origin().send(OK)


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_body_of_a_refused_request_is_no_request(
    make: MakeWire, *, is_whole: bool
) -> None:
    """9.3: it is read to its end, or the connection ends."""
    wire = make(matches=[{"path": {"value": "/a"}}])
    client = wire.client()
    length = len(EVIL) if is_whole else len(EVIL) + 1
    client.send(get("/b", f"Content-Length: {length}", method="POST") + EVIL)
    answer = client.take()
    assert status_of(answer) == 404
    assert wire.origins == []
    assert (header_of(answer, "connection") == "close") is not is_whole
    assert client.has_eof is not is_whole
    client.send(get("/a"))
    assert len(wire.origins) == int(is_whole)
    if is_whole:
        wire.origin().send(OK)
        assert status_of(client.take()) == 200


# Responses.


@pytest.mark.parametrize(
    "fields", [(TE, CL), (CL, TE), (CL, CL), (CL, b"Content-Length: 6")]
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_response_with_two_lengths_is_replaced(
    wire: FakeWire, fields: tuple[bytes, ...], method: str
) -> None:
    """6.3: by a 502, and the connection to the server ends; 8.6 for HEAD."""
    request_ = get(method=method)
    assert_replaced(wire, response(*fields) + CHUNKS, request_=request_)


@pytest.mark.parametrize(
    "value",
    [
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked, chunked",
        b"xchunked",
        b"identity",
        b"chunked;a=b",
        b",chunked",
    ],
)
def test_a_response_with_an_unknown_coding_is_replaced(
    wire: FakeWire, value: bytes
) -> None:
    """It cannot be read, and so not be framed for the client."""
    raw = response(b"Transfer-Encoding: " + value) + CHUNKS
    assert_replaced(wire, raw, "316-DATA-TRANSFER-CODING")


def test_two_codings_of_a_response_are_one_too_many(wire: FakeWire) -> None:
    for other in (TE, b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip"):
        raw = response(TE, other) + CHUNKS
        assert_replaced(wire, raw, "316-DATA-TRANSFER-CODING")


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), ("GET", 204), ("GET", 205), ("GET", 304), ("HEAD", 404)],
)
@pytest.mark.parametrize("fields", [(CL,), (TE,), ()])
def test_a_body_that_must_not_be_is_never_a_response(
    wire: FakeWire, method: str, status: int, fields: tuple[bytes, ...]
) -> None:
    """6.3, rule 1: the client sees none of it, and the connection is not reused."""
    for piece_bytes in (0, 1):
        client = wire.client()
        client.send(get(method=method))
        raw = response(*fields, line=b"HTTP/1.1 %d X" % status)
        wire.origin().send(raw + EVIL_ANSWER, piece_bytes)
        answer = client.take()
        assert status_of(answer) == status
        assert body_of(answer) == b""
        assert header_of(answer, "transfer-encoding") is None
        assert wire.origin().is_closed
        assert_next_is_right(wire, client)


@pytest.mark.parametrize("piece_bytes", [0, 1, 60])
@pytest.mark.parametrize(
    "raw", [OK, response(TE) + CHUNKS, response(b"Content-Length: 0")]
)
def test_more_than_was_declared_is_no_response(
    wire: FakeWire, raw: bytes, piece_bytes: int
) -> None:
    """6.3: whoever reads it as the answer to the next request is split."""
    client = wire.client()
    client.send(get())
    wire.origin().send(raw + EVIL_ANSWER, piece_bytes)
    answer = client.take()
    assert status_of(answer) == 200
    assert b"evil" not in answer
    assert wire.origin().is_closed
    assert_next_is_right(wire, client)


def test_a_response_that_nobody_asked_for_is_none(wire: FakeWire) -> None:
    """On a connection that is idle, with a request behind it or without."""
    wire.ask(get(), OK)
    assert not wire.origin().is_closed
    wire.origin().send(EVIL_ANSWER)
    assert wire.origin().is_closed
    assert_next_is_right(wire, wire.client())


def test_a_response_until_the_close_is_the_last_of_its_connection(
    wire: FakeWire,
) -> None:
    """6.3, rule 8: it is chunked for a client of HTTP/1.1."""
    client = wire.client()
    client.send(get())
    wire.origin().send(response() + EVIL_ANSWER)
    wire.origin().send_eof()
    answer = client.take()
    assert header_of(answer, "transfer-encoding") == "chunked"
    assert body_of(answer).endswith(b"\r\n0\r\n\r\n")
    assert wire.origin().is_closed
    assert_next_is_right(wire, client)


@pytest.mark.parametrize("status", [b"100", b"103", b"204"])
def test_no_length_and_no_coding_where_none_may_be(
    wire: FakeWire, status: bytes
) -> None:
    """6.1, and 8.6 of RFC 9110: a client would wait for a body."""
    for field in (CL, TE, b"Content-Length: 0"):
        raw = response(field, line=b"HTTP/1.1 %b X" % status)
        answer = returned(wire, raw if status == b"204" else raw + OK)
        head = answer.partition(b"\r\n\r\n")[0].lower()
        assert b"content-length" not in head
        assert b"transfer-encoding" not in head


def test_a_client_that_sends_less_than_it_declared_has_sent_nothing_whole(
    wire: FakeWire,
) -> None:
    """6.3, and 8: the origin's connection breaks off before the end of the body."""
    for head, part in ((post(CL), b"hell"), (post(TE), b"2\r\nok\r\n")):
        client = wire.client()
        client.send(head + part)
        assert wire.origin().received.endswith(part)
        client.send_eof()
        assert wire.origin().is_closed


def test_a_refused_length_ends_the_row_of_requests(wire: FakeWire) -> None:
    """What was good before it is answered; then it, and nothing behind it."""
    client = wire.client()
    client.send(get("/1") + post(TE, CL) + b"0\r\n\r\n" + EVIL)
    assert wire.origin().take().startswith(b"GET /1 ")
    wire.origin().send(OK)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 400 ") == 1
    assert wire.origin().take() == b""
    client.send(EVIL)
    assert (client.take(), wire.origin().take()) == (b"", b"")


def test_head_limits_below_the_line_limit_hold(make: MakeWire) -> None:
    wire = make(top={"limits": {"request_line": "8KiB", "headers": "1KiB"}})
    client = wire.client()
    client.send(get("/", "A: " + "b" * 1100))
    assert_ended(client, 431)
    assert wire.origins == []
