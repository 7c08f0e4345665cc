"""A pause may come at any moment: what was under way is neither lost nor heaped up."""

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
BUFFER = 64 * KIB
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SWITCH = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
HINT = b"HTTP/1.1 103 Early\r\nLink: %b\r\n\r\n" % (b"x" * KIB)
UPGRADE = get("/", "Connection: upgrade", "Upgrade: echo")
LARGE_HEADS = {"response_headers": "256KiB"}  # Of which interim heads are a part.
TINY_CHUNK = b"1\r\nx\r\n"
MANY = 5_000  # Tiny ones; all of them are half of a buffer.
COUNTED = bytes(range(256)) * KIB


def asked(wire: FakeWire, request: bytes) -> tuple[End, End]:
    """Return a client that has sent a request, and the origin that has it."""
    client = wire.client()
    client.send(request)
    return client, wire.origin()


def full(wire: FakeWire, answer: bytes, request: bytes = b"") -> tuple[End, End]:
    """Return a client that is full, and the origin that is held back for it."""
    client, origin = asked(wire, request or get())
    client.stop_taking()
    origin.send(answer)
    assert not origin.is_read
    return client, origin


# What there is too much of.


@pytest.mark.parametrize("early_bytes", [0, 300 * KIB])
def test_early_bytes_of_a_tunnel_wait_for_an_upstream_that_is_full(
    wire: FakeWire, early_bytes: int
) -> None:
    client, origin = asked(wire, UPGRADE + b"x" * early_bytes)
    origin.stop_taking()
    origin.send(SWITCH)
    client.send(b"y" * 900 * KIB, 16 * KIB)
    assert not client.is_read
    assert origin.transport.unread <= early_bytes + BUFFER + 16 * KIB
    origin.take_all()
    assert client.unsent == 0
    assert origin.received.endswith(b"x" * early_bytes + b"y" * 900 * KIB)


def test_a_body_that_the_upstream_has_not_read_keeps_the_tunnel_waiting(
    wire: FakeWire,
) -> None:
    upgrade = post(b"x" * 200 * KIB, "/", "Connection: upgrade", "Upgrade: echo")
    client, origin = asked(wire, upgrade[:300])
    origin.stop_taking()
    client.send(upgrade[300:])
    origin.send(SWITCH)
    client.send(b"y" * 900 * KIB, 16 * KIB)
    assert not client.is_read
    assert client.unsent > 50


def test_a_connection_whose_origin_left_a_body_unread_is_not_used_again(
    wire: FakeWire,
) -> None:
    """The next request would wait behind it, and its body would heap up there."""
    request = post(b"x" * 300 * KIB)
    client, origin = asked(wire, request[:200])
    origin.stop_taking()
    client.send(request[200:])
    origin.send(OK)
    assert client.take().endswith(b"ok")
    wire.ask(post(b"x" * 900 * KIB), OK)
    assert len(wire.origins) == 2
    assert origin.is_closed


def test_interim_heads_of_the_next_try_wait_for_a_client_that_is_full(
    make: MakeWire,
) -> None:
    wire = make(upstream=TWO | LARGE_HEADS)
    client, origin = full(wire, HINT * 80)
    origin.leave(ConnectionResetError())
    wire.clock.advance(0.3)
    again = wire.origin(1)
    again.send(HINT * 80, 16 * KIB)
    assert not again.is_read
    assert client.transport.unread < 2 * BUFFER + 16 * KIB


def test_interim_heads_that_come_in_one_piece_go_out_as_they_are_read(
    make: MakeWire,
) -> None:
    wire = make(upstream=LARGE_HEADS)
    client, origin = full(wire, HINT * 80 + OK)
    assert client.transport.unread < BUFFER + 2 * KIB
    client.take_all()
    while not origin.is_read and client.transport.unread:
        client.take_all()
    assert client.received.count(b" 103 ") == 80
    assert client.take().endswith(b"ok")


def test_interim_heads_that_wait_outlive_their_connection(make: MakeWire) -> None:
    wire = make(upstream=LARGE_HEADS)
    client, origin = full(wire, HINT * 80 + OK)
    origin.leave(ConnectionResetError())
    client.take_all()
    assert client.received.count(b" 103 ") == 80
    assert client.take().endswith(b"ok")
    assert wire.codes == []


@pytest.mark.parametrize("is_upload", [False, True])
def test_small_chunks_wait_as_few_writes_and_all_arrive(
    wire: FakeWire, *, is_upload: bool
) -> None:
    """A write that waits costs the loop nearly a kilobyte, however short it is."""
    request = get("/", "Transfer-Encoding: chunked", method="POST")
    client, origin = asked(wire, request if is_upload else get())
    fast, slow = (client, origin) if is_upload else (origin, client)
    slow.stop_taking()
    chunks = b"".join(b"1\r\n%c\r\n" % (65 + n % 26) for n in range(MANY))
    if not is_upload:
        origin.send(CHUNKED)
    fast.send(chunks, len(TINY_CHUNK))
    fast.send(b"0\r\n\r\n")
    assert slow.transport.unread < 4 * KIB
    assert fast.unsent > MANY - 200
    slow.take_all()
    assert fast.unsent == 0
    assert slow.received.endswith(chunks + b"0\r\n\r\n")
    if is_upload:
        origin.send(OK)


@pytest.mark.parametrize("is_client_slow", [False, True])
def test_small_frames_of_a_tunnel_wait_as_few_writes(
    wire: FakeWire, *, is_client_slow: bool
) -> None:
    client, origin = asked(wire, UPGRADE)
    origin.send(SWITCH)
    slow, fast = (client, origin) if is_client_slow else (origin, client)
    slow.stop_taking()
    fast.send(COUNTED[: MANY * 2], 2)
    assert not fast.is_read
    assert slow.transport.unread < 4 * KIB
    slow.take_all()
    assert slow.received.endswith(COUNTED[: MANY * 2])
    slow.stop_taking()  # And again: it may hold what it may hold, not less.
    fast.send(COUNTED, 16 * KIB)
    assert BUFFER < slow.transport.unread <= BUFFER + 16 * KIB
    slow.take_all()
    assert slow.received.endswith(COUNTED)


def test_small_chunks_that_are_read_are_not_held_back(wire: FakeWire) -> None:
    client, origin = asked(wire, get())
    origin.send(CHUNKED)
    origin.send(TINY_CHUNK * MANY, len(TINY_CHUNK))
    assert origin.is_read
    assert client.received.count(TINY_CHUNK) == MANY


def test_short_answers_to_a_client_that_reads_none_wait_as_few_writes(
    wire: FakeWire,
) -> None:
    """Whether it asks for all of them at once, or for one after the other."""
    wire.ask(get(), OK)
    client = wire.client()
    client.stop_taking()
    for _ in range(100):
        client.send(get())
        if wire.origin().take():
            wire.origin().send(OK)
    assert client.transport.unread < 4 * KIB
    assert client.received.count(b" 200 ") < 40
    client.take_all()
    while wire.origin().take():
        wire.origin().send(OK)
    assert client.received.count(b" 200 ") == 100


def test_requests_that_come_at_once_are_not_read_before_their_turn(
    wire: FakeWire,
) -> None:
    """One is answered, so one more may be read: not as much as a socket gives."""
    client = wire.client()
    client.send(get() * 6_000, 16 * KIB)
    for _ in range(100):
        wire.origin().send(OK)
    assert len(client.transport.protocol.buffer) <= BUFFER + 16 * KIB
    assert client.unsent > 5
    while client.unsent:
        wire.origin().send(OK)
    assert client.received.count(b" 200 ") > 3_000


def test_a_head_longer_than_the_buffer_is_read(make: MakeWire) -> None:
    wire = make(top={"limits": {"buffer": "4KiB"}})
    client = wire.client()
    client.send(get() * 100 + get("/long", f"X-Long: {'y' * 20_000}"), 5_000)
    for _ in range(101):
        wire.origin().send(OK)
    assert b"/long" in wire.origin().received
    assert client.received.count(b" 200 ") == 101


def test_a_body_that_is_kept_is_kept_in_few_pieces(make: MakeWire) -> None:
    """Each byte of its own would be an object of 34."""
    wire = make()
    wire.is_holding = True
    client = wire.client()
    content = COUNTED[: 20 * KIB]
    client.send(post(content), 1)
    protocol = client.transport.protocol
    assert len(protocol.exchange.body._kept) <= 64
    wire.open_next()
    assert wire.origin().received.endswith(content)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize("kib", [16, 256])
def test_the_buffer_is_that_of_the_configuration_on_both_sides(
    make: MakeWire, kib: int
) -> None:
    wire = make(top={"limits": {"buffer": f"{kib}KiB"}})
    client, origin = asked(wire, UPGRADE)
    origin.send(SWITCH)
    for slow, fast in ((client, origin), (origin, client)):
        slow.stop_taking()
        fast.send(b"x" * 999 * KIB, 4 * KIB)
        assert kib * KIB < slow.transport.unread <= (kib + 4) * KIB
        slow.take_all()


# What must not be lost.


def test_an_upstream_that_closes_while_the_client_is_full_has_said_all(
    wire: FakeWire,
) -> None:
    client, origin = full(wire, UNTIL_CLOSE + COUNTED[: 100 * KIB])
    origin.send(COUNTED[100 * KIB :], 16 * KIB)
    origin.send_eof()
    client.take_all()
    assert client.received.count(COUNTED[:256]) == KIB
    assert client.is_closed or client.received.endswith(b"0\r\n\r\n")
    assert wire.codes == []


def test_a_pause_in_the_middle_of_a_chunk_loses_nothing(wire: FakeWire) -> None:
    client, origin = asked(wire, get())
    client.stop_taking()
    body = b"%x\r\n%b\r\n" % (len(COUNTED), COUNTED)
    origin.send(CHUNKED + body + b"0\r\n\r\n", 7_001)
    assert not origin.is_read
    client.take_all()
    while origin.unsent:
        client.take_all()
    taken = client.received.split(b"\r\n\r\n", 1)[1]
    content = b""
    while taken != b"0\r\n\r\n":
        size, _, rest = taken.partition(b"\r\n")
        content += rest[: int(size, 16)]
        taken = rest[int(size, 16) + 2 :]
    assert content == COUNTED


def test_a_response_may_end_while_its_client_is_full(wire: FakeWire) -> None:
    """The origin's connection is free at once; the client reads on when it likes."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(COUNTED)
    client, origin = asked(wire, get())
    client.stop_taking()
    origin.send(head + COUNTED[:-1], 16 * KIB)
    assert not origin.is_read
    client.take_all()
    client.stop_taking()
    origin.send(COUNTED[-1:])
    assert wire.upstream.pool.open_connections == 1
    other, again = asked(wire, get())
    assert again is origin
    origin.send(OK)
    assert other.take().endswith(b"ok")
    client.take_all()
    assert client.received.endswith(COUNTED)


def test_a_client_may_read_on_when_its_upstream_is_gone(wire: FakeWire) -> None:
    """It gets what there is; that it is not all is seen, and told."""
    client, origin = full(wire, CHUNKED + b"%x\r\n" % len(COUNTED) + COUNTED[:99_999])
    origin.leave(ConnectionResetError())
    client.take_all()
    assert COUNTED[:99_999] in client.received
    assert not client.received.endswith(b"0\r\n\r\n")
    assert client.is_closed
    assert wire.codes == ["316-DATA-TRUNCATED"]


@pytest.mark.parametrize("is_client_slow", [False, True])
def test_half_of_a_tunnel_may_end_while_the_other_end_is_full(
    wire: FakeWire, *, is_client_slow: bool
) -> None:
    client, origin = asked(wire, UPGRADE)
    origin.send(SWITCH)
    slow, fast = (client, origin) if is_client_slow else (origin, client)
    slow.stop_taking()
    fast.send(COUNTED, 16 * KIB)
    fast.send_eof()
    assert not slow.has_eof
    slow.take_all()
    assert slow.received.endswith(COUNTED)
    assert slow.has_eof
    slow.send(b"the other half")
    assert fast.received.endswith(b"the other half")
    slow.send_eof()
    assert client.is_closed
    assert wire.codes == []


def test_both_ends_of_a_tunnel_may_be_full_at_once(wire: FakeWire) -> None:
    client, origin = asked(wire, UPGRADE)
    origin.send(SWITCH)
    for end in (client, origin):
        end.stop_taking()
    for end in (client, origin):
        end.send(COUNTED, 16 * KIB)
        assert not end.is_read
    for end in (client, origin):
        end.take_all()
    for end in (client, origin):
        assert end.received.endswith(COUNTED)
        end.send_eof()
    assert wire.codes == []
