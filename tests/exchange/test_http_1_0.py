"""Clients of HTTP/1.0, and origins that speak it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

ASK = b"GET / HTTP/1.0\r\n\r\n"
ASK_ON = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
)


def test_its_connection_ends_after_the_response(wire: FakeWire) -> None:
    client = wire.client()
    client.send(ASK)
    wire.origin().send(OK)
    assert header_of(client.take(), "connection") == "close"
    assert client.is_closed
    assert wire.upstream.pool.open_connections == 1  # The origin's goes on.


def test_its_connection_is_kept_if_it_asks(wire: FakeWire) -> None:
    """RFC 9112, C.2.2: and it is told, for it would not know."""
    client = wire.client()
    for _ in range(2):
        client.send(ASK_ON)
        wire.origin().send(OK)
        assert header_of(client.take(), "connection") == "keep-alive"
    assert not client.is_closed


def test_it_gets_no_chunks(wire: FakeWire) -> None:
    """RFC 9112, 6.1: the end of the connection is the end of the body."""
    client = wire.client()
    client.send(ASK_ON)
    wire.origin().send(CHUNKED)
    answer = client.take()
    assert header_of(answer, "transfer-encoding") is None
    assert header_of(answer, "connection") == "close"
    assert body_of(answer) == b"abcde"
    assert client.is_closed


def test_a_broken_response_does_not_look_like_a_whole_one(wire: FakeWire) -> None:
    """An orderly close would be the end of the body: so it is a reset."""
    client = wire.client()
    client.send(ASK)
    wire.origin().send(CHUNKED[:60])
    wire.origin().leave()
    assert client.transport.was_aborted
    assert wire.codes == ["316-DATA-TRUNCATED"]


def test_the_origin_is_spoken_to_in_1_1(wire: FakeWire) -> None:
    """RFC 9110, 2.5: a hop speaks its own version, and says what came."""
    client = wire.client()
    client.send(b"GET /x HTTP/1.0\r\nHost: shop\r\n\r\n")
    sent = wire.origin().take()
    assert sent.startswith(b"GET /x HTTP/1.1\r\n")
    assert header_of(sent, "host") == "shop"
    assert str(header_of(sent, "via")).startswith("1.0 sidecar-")
    wire.origin().send(OK)


def test_without_a_host_the_endpoint_is_the_host(wire: FakeWire) -> None:
    """RFC 9112, 3.2: HTTP/1.1 must have one."""
    client = wire.client()
    client.send(ASK)
    assert wire.origin().take().count(b"\r\nHost: 10.0.0.1:80\r\n") == 1
    wire.origin().send(OK)


@pytest.mark.parametrize("connection", [b"", b"Connection: keep-alive\r\n"])
def test_an_origin_of_1_0_is_understood(wire: FakeWire, connection: bytes) -> None:
    """Its connection is used again only where it says so."""
    raw = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n" + connection + b"\r\nok"
    answer = wire.ask(get(), raw)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body_of(answer) == b"ok"
    assert wire.upstream.pool.open_connections == (1 if connection else 0)


def test_a_refusal_ends_its_connection_too(wire: FakeWire) -> None:
    wire.refuse()
    client = wire.client()
    client.send(ASK)
    wire.clock.advance(1)
    assert status_of(client.take()) == 502
    assert client.is_closed
