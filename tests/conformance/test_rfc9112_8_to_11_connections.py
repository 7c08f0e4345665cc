"""RFC 9112, sections 8 to 11: broken messages, connections, what they are used for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import (
    EVIL,
    EVIL_ANSWER,
    assert_next_is_right,
    post,
    request,
    response,
    sent,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

HOST = b"Host: test"


# 8. Incomplete messages.


@pytest.mark.parametrize("raw", [b"GET / HT", b"GET / HTTP/1.1\r\nHost: te"])
def test_a_head_that_breaks_off_is_no_request(wire: FakeWire, raw: bytes) -> None:
    client = wire.client()
    client.send(raw)
    client.send_eof()
    assert wire.origins == []
    assert client.is_closed


@pytest.mark.parametrize(
    "raw",
    [
        response(b"Content-Length: 5") + b"hell",
        response(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n",
        response(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n",
        response(b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nX: y\r\n",
    ],
)
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_a_response_that_breaks_off_does_so_for_the_client(
    wire: FakeWire, raw: bytes, error: Exception | None
) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(raw)
    wire.origin().leave(error)
    answer = client.take()
    assert client.is_closed
    assert len(body_of(answer)) < 5 or not answer.endswith(b"0\r\n\r\n")
    assert wire.codes == ["316-DATA-TRUNCATED"]


# 9. Connections.


def test_a_connection_is_kept_on_both_sides(wire: FakeWire) -> None:
    """9.3: each request over one, unless somebody says otherwise."""
    client = wire.client()
    for n in range(5):
        client.send(get(f"/{n}"))
        wire.origin().send(OK)
        answer = client.take()
        assert header_of(answer, "connection") is None
    assert len(wire.origins) == 1


@pytest.mark.parametrize(
    "value", [b"close", b"Close", b"keep-alive, close", b"a,close"]
)
@pytest.mark.parametrize("minor", [b"0", b"1"])
def test_nothing_is_done_after_a_close_was_asked_for(
    wire: FakeWire, value: bytes, minor: bytes
) -> None:
    """9.6: it is said in the answer, and what is pipelined behind is not read."""
    client = wire.client()
    head = request(b"GET / HTTP/1." + minor, HOST, b"Connection: " + value)
    client.send(head + EVIL)
    wire.origin().send(OK)
    answer = client.take()
    assert header_of(answer, "connection") == "close"
    assert client.is_closed
    assert b"evil" not in wire.origin().received
    assert len(wire.origins) == 1


@pytest.mark.parametrize("piece_bytes", [0, 1])
@pytest.mark.parametrize("minor", [b"0", b"1"])
def test_a_connection_that_the_server_closes_is_not_used_again(
    wire: FakeWire, minor: bytes, piece_bytes: int
) -> None:
    """9.6: nor is what comes behind its last response read as one."""
    client = wire.client()
    client.send(get())
    raw = response(
        b"Content-Length: 2", b"Connection: close", line=b"HTTP/1.%b 200 OK" % minor
    )
    wire.origin().send(raw + b"ok" + EVIL_ANSWER, piece_bytes)
    assert body_of(client.take()) == b"ok"
    assert wire.origin().is_closed
    assert_next_is_right(wire, client)


def test_http_1_0_is_kept_only_if_it_asks(wire: FakeWire) -> None:
    """9.3, C.2.2: as a gateway does, which is a server to its clients."""
    for field, expected in (
        (b"A: b", "close"),
        (b"Connection: keep-alive", "keep-alive"),
    ):
        client = wire.client()
        client.send(request(b"GET / HTTP/1.0", HOST, field))
        wire.origin().send(OK)
        assert header_of(client.take(), "connection") == expected
        assert client.is_closed is (expected == "close")


def test_pipelined_requests_are_answered_in_order_and_sent_one_by_one(
    wire: FakeWire,
) -> None:
    """9.3.2: the second is not even sent before the first is answered."""
    client = wire.client()
    client.send(get("/1") + get("/2") + get("/3"))
    for n in (1, 2, 3):
        assert wire.origin().take().count(b"GET /") == 1
        wire.origin().send(response(b"Content-Length: 1") + b"%d" % n)
    answer = client.take()
    bodies = [part[-1:] for part in answer.split(b"HTTP/1.1 200")[1:]]
    assert bodies == [b"1", b"2", b"3"]


def test_what_is_not_idempotent_is_not_sent_twice_by_itself(make: MakeWire) -> None:
    """9.3.1, and 9.2.2 of RFC 9110: a POST that may have been acted on is not."""
    wire = make(retry={"preset": "idempotent", "max_retries": 3})
    client = wire.client()
    client.send(post(b"Content-Length: 2") + b"ok")
    wire.origin().leave(ConnectionResetError())
    wire.clock.advance(5)
    assert status_of(client.take()) == 502
    assert len(wire.origins) == 1


def test_an_early_answer_ends_both_connections(wire: FakeWire) -> None:
    """9.3, 9.5: what is left of the body would be read as a request."""
    client = wire.client()
    client.send(post(b"Content-Length: 100") + b"part")
    wire.origin().send(response(b"Content-Length: 0", line=b"HTTP/1.1 413 No"))
    answer = client.take()
    assert status_of(answer) == 413
    assert header_of(answer, "connection") == "close"
    assert wire.origin().is_closed
    client.send(EVIL)
    assert client.take() == b""
    assert len(wire.origins) == 1


def test_a_time_limit_closes_in_an_orderly_way(wire: FakeWire) -> None:
    """9.5: an idle client is let go by a close, a slow one is told 408 first."""
    idle, slow = wire.client(), wire.client()
    slow.send(b"GET / HT")
    wire.clock.advance(3600)
    assert idle.is_closed
    assert not idle.transport.was_aborted
    answer = slow.take()
    assert status_of(answer) == 408
    assert header_of(answer, "connection") == "close"
    assert not slow.transport.was_aborted


# 11. Security.


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "a\rX-Evil: b"])
def test_a_value_cannot_split_a_response(wire: FakeWire, value: str) -> None:
    """11.1: what an application puts into one field cannot become two here."""
    client = wire.client()
    client.send(get())
    raw = response(b"Content-Length: 2", b"Location: " + value.encode()) + b"ok"
    wire.origin().send(raw)
    answer = client.take()
    assert status_of(answer) == 502
    assert b"Location" not in answer


@pytest.mark.parametrize(
    "body",
    [
        EVIL,
        b"0\r\n\r\n" + EVIL,
        b"5\r\nhello\r\n0\r\n\r\n" + EVIL,
        b"\r\n\r\n" + EVIL,
    ],
)
def test_a_request_inside_a_body_stays_inside(wire: FakeWire, body: bytes) -> None:
    """11.2: whichever way the body is framed, here and for the next hop."""
    length = b"Content-Length: %d" % len(body)
    raw = sent(wire, post(length) + body)
    assert (header_of(raw, "content-length"), body_of(raw)) == (str(len(body)), body)
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    raw = sent(wire, post(b"Transfer-Encoding: chunked") + chunk)
    assert body_of(raw) == chunk
    assert len(wire.origins) == 1
