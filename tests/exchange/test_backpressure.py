"""Who is slow slows down the other side, and nobody's bytes pile up here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.exchange.again import TWO
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

KIB = 1024
PIECE_BYTES = 16 * KIB
MOST_BYTES = 64 * KIB + PIECE_BYTES  # One piece more than the limit.
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
SWITCH = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
LONG_INTERIM = b"HTTP/1.1 103 Early\r\nLink: %b\r\n\r\n" % (b"x" * KIB)
UPGRADE = get("/", "Connection: upgrade", "Upgrade: echo")


def asked(wire: FakeWire, request: bytes) -> tuple[End, End]:
    """Return a client that has sent a request, and the origin that has it."""
    client = wire.client()
    client.send(request)
    return client, wire.origin()


def test_a_slow_client_slows_the_upstream(wire: FakeWire) -> None:
    client, origin = asked(wire, get())
    client.stop_taking()
    origin.send(UNTIL_CLOSE + b"x" * 512 * KIB, PIECE_BYTES)
    assert not origin.is_read
    assert client.transport.unread <= MOST_BYTES + KIB
    assert origin.unsent > 20


def test_a_client_that_reads_again_gets_the_rest(wire: FakeWire) -> None:
    client, origin = asked(wire, get())
    client.stop_taking()
    origin.send(UNTIL_CLOSE + b"x" * 512 * KIB, PIECE_BYTES)
    client.take_all()
    assert origin.unsent == 0
    assert client.received.count(b"x") == 512 * KIB


def test_a_slow_upstream_slows_the_client(wire: FakeWire) -> None:
    client, origin = asked(wire, post(b"x" * 512 * KIB)[:200])
    origin.stop_taking()
    client.send(b"x" * 500 * KIB, PIECE_BYTES)
    assert not client.is_read
    assert origin.transport.unread <= MOST_BYTES
    assert client.unsent > 20


def test_an_upstream_that_reads_again_gets_the_rest(wire: FakeWire) -> None:
    request = post(b"x" * 512 * KIB)
    client, origin = asked(wire, request[:200])
    origin.stop_taking()
    client.send(request[200:], PIECE_BYTES)
    origin.take_all()
    assert client.unsent == 0
    assert origin.received.count(b"x" * 64) == 512 * KIB // 64
    origin.send(OK)
    assert client.take().endswith(b"ok")


def test_an_early_answer_passes_a_stuck_upload(wire: FakeWire) -> None:
    """And the connection ends, since the rest of the upload is in the way."""
    client, origin = asked(wire, post(b"x" * 512 * KIB)[:200])
    origin.stop_taking()
    client.send(b"x" * 300 * KIB, PIECE_BYTES)
    origin.send(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nwhy")
    assert client.take().endswith(b"\r\nConnection: close\r\n\r\nwhy")
    assert client.has_eof
    assert client.is_read


def test_before_there_is_a_connection_only_the_buffer_is_filled(
    make: MakeWire,
) -> None:
    """So connecting may fail, and the body can still be sent elsewhere."""
    wire = make(retry={"body_buffer": "32KiB"})
    wire.is_holding = True
    client = wire.client()
    request = post(b"x" * 512 * KIB)
    client.send(request, PIECE_BYTES)
    assert client.unsent > 25
    wire.open_next()
    assert client.unsent == 0
    assert wire.origin().received.endswith(request[200:])


@pytest.mark.parametrize("is_client_slow", [True, False])
def test_a_tunnel_is_slowed_both_ways(wire: FakeWire, *, is_client_slow: bool) -> None:
    client, origin = asked(wire, UPGRADE)
    origin.send(SWITCH)
    slow, fast = (client, origin) if is_client_slow else (origin, client)
    slow.stop_taking()
    fast.send(b"x" * 512 * KIB, PIECE_BYTES)
    assert not fast.is_read
    assert slow.transport.unread <= MOST_BYTES + KIB
    slow.take_all()
    assert slow.received.endswith(b"x" * 512 * KIB)


def test_a_pause_ends_with_its_exchange(wire: FakeWire) -> None:
    """The connection goes back to the pool, and its next response is read."""
    client, origin = asked(wire, get())
    client.stop_taking()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (100 * KIB)
    origin.send(head + b"x" * 100 * KIB)
    other, again = asked(wire, get())
    assert again is origin
    assert origin.is_read
    origin.send(OK)
    assert other.take().endswith(b"ok")
    client.take_all()


def test_a_slow_client_does_not_slow_another(wire: FakeWire) -> None:
    slow, origin = asked(wire, get())
    slow.stop_taking()
    origin.send(UNTIL_CLOSE + b"x" * 512 * KIB, PIECE_BYTES)
    assert wire.ask(get(), OK).endswith(b"ok")
    assert not origin.is_read


def test_interim_heads_that_fill_a_client_do_not_let_the_next_try_pour(
    make: MakeWire,
) -> None:
    """Its transport said that it is full when the first try was under way."""
    wire = make(upstream=TWO)
    client = wire.client()
    client.stop_taking()
    client.send(get())
    wire.origin().send(LONG_INTERIM * 100, 16 * KIB)
    wire.origin().leave()
    wire.clock.advance(0.3)
    wire.origin(1).send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 999 * KIB, 16 * KIB)
    assert not wire.origin(1).is_read
    assert client.transport.unread < 128 * KIB
