"""Fields behind a body, in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of, header_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

POST = get("/", "Transfer-Encoding: chunked", "Trailer: X-Sum", method="POST")
BODY = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\nx-sum:6 \r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"


def test_trailers_of_a_request_arrive(wire: FakeWire) -> None:
    """In order, with duplicates; extensions of chunks end here (RFC 9112, 7.1.1)."""
    client = wire.client()
    client.send(POST + BODY)
    sent = wire.origin().take()
    assert header_of(sent, "trailer") == "X-Sum"
    assert body_of(sent) == b"5\r\nabcde\r\n0\r\nX-Sum: 5\r\nx-sum: 6\r\n\r\n"
    wire.origin().send(OK)


def test_trailers_of_a_response_arrive(wire: FakeWire) -> None:
    answer = wire.ask(get(), CHUNKED + BODY)
    assert header_of(answer, "trailer") == "X-Sum"
    assert body_of(answer) == b"5\r\nabcde\r\n0\r\nX-Sum: 5\r\nx-sum: 6\r\n\r\n"


def test_trailers_arrive_after_a_body_that_went_before(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(CHUNKED + b"3\r\nabc\r\n")
    assert client.take().endswith(b"3\r\nabc\r\n")
    wire.origin().send(b"0\r\nX-Sum: 5\r\n\r\n")
    assert client.take() == b"0\r\nX-Sum: 5\r\n\r\n"


@pytest.mark.parametrize("name", ["Content-Length", "Host", "Connection", "Set-Cookie"])
def test_trailers_that_mean_something_else_end_here(wire: FakeWire, name: str) -> None:
    """RFC 9110, 6.5.1: framing, routing and control belong in the head."""
    last = f"0\r\n{name}: 5\r\nX-Sum: 5\r\n\r\n".encode()
    client = wire.client()
    client.send(POST + b"1\r\na\r\n" + last)
    assert body_of(wire.origin().take()) == b"1\r\na\r\n0\r\nX-Sum: 5\r\n\r\n"
    wire.origin().send(CHUNKED + b"1\r\na\r\n" + last)
    assert body_of(client.take()) == b"1\r\na\r\n0\r\nX-Sum: 5\r\n\r\n"


def test_where_there_are_no_chunks_there_are_no_trailers(wire: FakeWire) -> None:
    answer = wire.ask(b"GET / HTTP/1.0\r\n\r\n", CHUNKED + BODY)
    assert body_of(answer) == b"abcde"


def test_trailers_of_one_response_are_not_of_the_next(wire: FakeWire) -> None:
    client = wire.client()
    for last in (b"0\r\nX-Sum: 5\r\n\r\n", b"0\r\n\r\n"):
        client.send(get())
        wire.origin().send(CHUNKED + b"1\r\na\r\n" + last)
        assert body_of(client.take()) == b"1\r\na\r\n" + last


def test_te_trailers_is_asked_for_hop_by_hop(wire: FakeWire) -> None:
    """Servers of gRPC look for it; Connection must name it (RFC 9110, 10.1.4)."""
    client = wire.client()
    client.send(get("/", "TE: trailers, deflate", "Connection: TE"))
    sent = wire.origin().take()
    assert header_of(sent, "te") == "trailers"
    assert header_of(sent, "connection") == "TE"


def test_trailers_that_are_too_large_break_the_response(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(CHUNKED + b"1\r\na\r\n")
    wire.origin().send(b"0\r\nX-Sum: " + b"x" * 20_000 + b"\r\n\r\n")
    assert client.is_closed
    assert not client.take().endswith(b"0\r\n\r\n")
    assert wire.codes == ["316-DATA-RESP-TRAILER-SIZE"]
