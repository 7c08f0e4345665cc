"""1xx responses go through, and 100-continue works from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
EXPECTING = post(b"data", "/", "Expect: 100-continue")


def test_a_body_waits_for_the_origins_continue(wire: FakeWire) -> None:
    """RFC 9110, 10.1.1: this proxy does not answer in the origin's place."""
    client = wire.client()
    client.send(EXPECTING[:-4])
    assert header_of(wire.origin().take(), "expect") == "100-continue"
    assert client.take() == b""
    wire.origin().send(CONTINUE)
    assert status_of(client.take()) == 100
    client.send(b"data")
    assert wire.origin().take() == b"data"
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_an_origin_may_say_no_before_the_body(wire: FakeWire) -> None:
    """The body will not come, or will be in the way: the connection ends."""
    client = wire.client()
    client.send(EXPECTING[:-4])
    wire.origin().send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n")
    answer = client.take()
    assert status_of(answer) == 417
    assert header_of(answer, "connection") == "close"
    assert wire.origin().is_closed


def test_this_proxys_own_refusal_needs_no_body(wire: FakeWire) -> None:
    wire.refuse()
    client = wire.client()
    client.send(EXPECTING[:-4])
    wire.clock.advance(1)
    assert status_of(client.take()) == 502


@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_interim_responses_come_in_order_before_the_final_one(
    wire: FakeWire, piece_bytes: int
) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(HINTS + CONTINUE + HINTS + OK, piece_bytes)
    parts = client.take().split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"103", b"100", b"103", b"200"]
    assert parts[0].count(b"Link: </a.css>; rel=preload") == 1


def test_the_connection_goes_on_after_an_interim_response(wire: FakeWire) -> None:
    client = wire.client()
    for _ in range(2):
        client.send(get())
        wire.origin().send(HINTS + OK)
        assert client.take().endswith(b"ok")
    assert len(wire.origins) == 1


def test_http_1_0_is_spared_interim_responses(wire: FakeWire) -> None:
    """RFC 9110, 15.2: it does not know them."""
    answer = wire.ask(b"GET / HTTP/1.0\r\n\r\n", HINTS + OK)
    assert status_of(answer) == 200


def test_an_interim_response_is_no_answer(wire: FakeWire) -> None:
    """What breaks off after it has not begun: it is told as a fault, not cut."""
    client = wire.client()
    client.send(post())
    wire.origin().send(HINTS)
    wire.origin().leave(ConnectionResetError())
    answers = client.take().split(b"HTTP/1.1 ")[1:]
    assert [answer[:3] for answer in answers] == [b"103", b"502"]
    assert wire.codes == ["316-CONN-RESET"]


def test_an_interim_response_ends_with_its_head(wire: FakeWire) -> None:
    """RFC 9110, 8.6: a length in it would only mislead."""
    raw = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"
    answer = wire.ask(get(), raw + OK)
    assert answer.count(b"Content-Length") == 1


def test_a_408_after_a_100_does_not_say_that_nothing_was_done(wire: FakeWire) -> None:
    """It is not what came first: the server was awake, and had the head."""
    wire.ask(get(), OK)
    client = wire.client()
    client.send(post(b"data", "/", "Expect: 100-continue"))
    wire.origin().send(b"HTTP/1.1 100 Continue\r\n\r\n")
    wire.origin().send(b"HTTP/1.1 408 Slow\r\nContent-Length: 0\r\n\r\n")
    wire.clock.advance(0.3)
    assert b"HTTP/1.1 408 Slow" in client.take()
    assert sum(origin.received.count(b"POST /") for origin in wire.origins) == 1


def test_a_connection_that_was_lost_after_a_100_was_not_stale(wire: FakeWire) -> None:
    wire.ask(get(), OK)
    client = wire.client()
    client.send(post(b"data", "/", "Expect: 100-continue"))
    wire.origin().send(b"HTTP/1.1 100 Continue\r\n\r\n")
    wire.origin().leave()
    assert wire.codes == ["316-CONN-TERMINATED"]
    client.leave()
