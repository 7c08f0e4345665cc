"""Responses that have no body, whatever their fields declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

HEAD = get(method="HEAD")


@pytest.mark.parametrize(
    ("request_", "status"), [(HEAD, 200), (get(), 304), (HEAD, 404), (HEAD, 304)]
)
def test_the_length_that_a_get_would_have_is_told(
    wire: FakeWire, request_: bytes, status: int
) -> None:
    """RFC 9110, 8.6: and no byte of content follows, so the next answer is right."""
    client = wire.client()
    for _ in range(2):
        client.send(request_)
        raw = b"HTTP/1.1 %d X\r\nContent-Length: 700\r\n\r\n" % status
        wire.origin().send(raw)
        answer = client.take()
        assert status_of(answer) == status
        assert header_of(answer, "content-length") == "700"
        assert body_of(answer) == b""
    assert len(wire.origins) == 1


def test_a_204_has_no_length(wire: FakeWire) -> None:
    """RFC 9110, 8.6: a client that believes it waits for a body."""
    answer = wire.ask(get(), b"HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n")
    assert header_of(answer, "content-length") is None
    assert body_of(answer) == b""


@pytest.mark.parametrize("status", [200, 204, 304])
def test_a_coding_is_not_told_where_no_body_is(wire: FakeWire, status: int) -> None:
    """RFC 9112, 6.1: nor a last chunk sent."""
    raw = b"HTTP/1.1 %d X\r\nTransfer-Encoding: chunked\r\n\r\n" % status
    answer = wire.ask(HEAD, raw)
    assert header_of(answer, "transfer-encoding") is None
    assert body_of(answer) == b""
    assert wire.upstream.pool.open_connections == 1


def test_a_body_that_must_not_be_is_no_next_response(wire: FakeWire) -> None:
    """Such a connection is not used again: the rest could be anything."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    assert body_of(wire.ask(HEAD, raw)) == b""
    assert wire.origin().is_closed
    assert body_of(wire.ask(get(), OK)) == b"ok"


def test_a_refusal_of_head_has_no_body(wire: FakeWire) -> None:
    """But the length and type that a GET would get."""
    wire.refuse()
    client = wire.client()
    client.send(HEAD)
    wire.clock.advance(1)
    answer = client.take()
    assert int(str(header_of(answer, "content-length"))) > 100
    assert body_of(answer) == b""
    assert not client.is_closed


def test_an_empty_body_is_no_body_at_all(wire: FakeWire) -> None:
    answer = wire.ask(get(), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert header_of(answer, "content-length") == "0"
    assert body_of(answer) == b""
