"""An origin that answers before it has the whole request, or is asked to first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

GIB = 2**30
FRAMINGS = {
    "length": f"Content-Length: {GIB}",
    "chunked": "Transfer-Encoding: chunked",
}
PIECES = {"length": b"x" * 1000, "chunked": b"3e8\r\n" + b"x" * 1000 + b"\r\n"}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SMUGGLED = get("/smuggled")


def answer(status: int, *lines: str) -> bytes:
    head = (f"HTTP/1.1 {status} X", "Content-Length: 2", *lines, "", "no")
    return "\r\n".join(head).encode()


def upload(wire: FakeWire, framing: str, *lines: str) -> End:
    client = wire.client()
    client.send(get("/", FRAMINGS[framing], *lines, method="POST"))
    return client


@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("status", [200, 401, 413, 503])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_early_answer_reaches_the_client_and_ends_both_connections(
    make: MakeWire, framing: str, status: int, *, closes: bool
) -> None:
    """Nobody could tell the rest of the body from another request."""
    wire = make(retry={"preset": "idempotent", "codes": [503]})
    client = upload(wire, framing)
    client.send(PIECES[framing])
    wire.origin().send(answer(status, *["Connection: close"] * closes))
    got = client.take()
    assert status_of(got) == status
    assert got.endswith(b"\r\n\r\nno")
    assert header_of(got, "connection") == "close"
    assert client.has_eof
    assert not client.is_closed  # A reset would take the answer away.
    assert wire.origin().is_closed
    assert len(wire.origins) == 1
    client.send(PIECES[framing] + SMUGGLED)
    assert client.take() == b""
    wire.clock.advance(5.1)
    assert client.is_closed
    assert len(wire.origins) == 1


@pytest.mark.parametrize("framing", FRAMINGS)
def test_an_answer_that_begins_early_streams_beside_the_body(
    wire: FakeWire, framing: str
) -> None:
    """Each of them goes on as long as the other."""
    client = upload(wire, framing)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        client.send(PIECES[framing])
        assert wire.origin().take().endswith(PIECES[framing])
        wire.origin().send(b"1\r\na\r\n")
        assert client.take().endswith(b"1\r\na\r\n")
    wire.origin().send(b"0\r\n\r\n")
    assert client.take() == b"0\r\n\r\n"
    assert wire.origin().is_closed


def test_a_connection_whose_body_came_after_all_is_used_again(wire: FakeWire) -> None:
    """The answer began early, but ended when all was sent."""
    client = wire.client()
    client.send(post(b"1234")[:-1])
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
    client.send(b"4")
    wire.origin().send(b"k")
    assert client.take().endswith(b"ok")
    assert wire.ask(get(), OK).endswith(b"ok")
    assert len(wire.origins) == 1


def test_an_origin_that_answers_and_resets_what_still_comes(wire: FakeWire) -> None:
    client = upload(wire, "length")
    wire.origin().send(answer(413))
    wire.origin().leave(ConnectionResetError())
    assert status_of(client.take()) == 413
    assert wire.codes == []


# Expect: 100-continue.


@pytest.mark.parametrize("status", [200, 401, 417])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_final_answer_instead_of_continue_ends_the_connection(
    wire: FakeWire, framing: str, status: int
) -> None:
    """The client may send the body all the same, or the next request (10.1.1)."""
    client = upload(wire, framing, "Expect: 100-continue")
    wire.origin().send(answer(status))
    got = client.take()
    assert status_of(got) == status
    assert header_of(got, "connection") == "close"
    client.send(SMUGGLED)
    assert client.take() == b""
    assert wire.origin().is_closed
    assert len(wire.origins) == 1
    client.send_eof()
    assert client.is_closed


def test_a_continue_that_comes_late_is_handed_on(wire: FakeWire) -> None:
    """The client has waited long enough, and sends."""
    client = wire.client()
    client.send(post(b"data", "/", "Expect: 100-continue")[:-4])
    wire.clock.advance(1)
    client.send(b"data")
    assert wire.origin().take().endswith(b"data")
    wire.origin().send(CONTINUE)
    wire.origin().send(OK)
    parts = client.take().split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"100", b"200"]
    client.send(get())
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    assert len(wire.origins) == 1


def test_a_continue_that_never_comes_is_not_needed(wire: FakeWire) -> None:
    client = wire.client()
    client.send(post(b"data", "/", "Expect: 100-continue")[:-4])
    wire.clock.advance(1)
    client.send(b"data")
    wire.origin().send(OK)
    assert status_of(client.take()) == 200
    assert not client.is_closed


def test_who_waits_for_a_continue_that_never_comes_does_not_wait_for_ever(
    make: MakeWire,
) -> None:
    wire = make(timeouts={"request_body_idle": "7s", "request": "1h"})
    client = upload(wire, "length", "Expect: 100-continue")
    wire.clock.advance(6.9)
    assert client.take() == b""
    wire.clock.advance(0.2)
    assert status_of(client.take()) == 408
    assert wire.origin().is_closed


def test_http_1_0_expects_nothing(wire: FakeWire) -> None:
    """It sends at once, and does not know what it would be told (RFC 9110, 10.1.1)."""
    client = wire.client()
    lines = (b"Content-Length: 4", b"Expect: 100-continue", b"X-Kept: 1")
    client.send(b"POST / HTTP/1.0\r\n" + b"\r\n".join(lines) + b"\r\n\r\ndata")
    received = wire.origin().take()
    assert header_of(received, "expect") is None
    assert header_of(received, "x-kept") == "1"
    assert received.endswith(b"\r\n\r\ndata")
    wire.origin().send(CONTINUE + OK)
    assert status_of(client.take()) == 200
