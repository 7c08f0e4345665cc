"""After a 101 the connection is a tunnel: bytes, both ways, until both have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

ASK = get("/", "Connection: Upgrade", "Upgrade: echo")
SWITCH = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def tunnel(wire: FakeWire) -> tuple[End, End]:
    """Return the two ends of a tunnel."""
    client = wire.client()
    client.send(ASK)
    wire.origin().send(SWITCH)
    assert status_of(client.take()) == 101
    wire.origin().take()
    return client, wire.origin()


def test_the_handshake_goes_through(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get("/", "Connection: Upgrade", "Upgrade: Echo", "Sec-X: y"))
    sent = wire.origin().take()
    assert header_of(sent, "upgrade") == "Echo"
    assert header_of(sent, "connection") == "Upgrade"
    assert header_of(sent, "sec-x") == "y"
    wire.origin().send(SWITCH)
    answer = client.take()
    assert header_of(answer, "upgrade") == "echo"
    assert header_of(answer, "connection") == "Upgrade"


def test_a_second_handshake_goes_through_like_the_first(wire: FakeWire) -> None:
    """Most of its lines are known by now, and one is always new."""
    for n in range(4):
        client = wire.client()
        client.send(get("/", "Connection: Upgrade", "Upgrade: echo", f"Sec-Key: {n}"))
        accept = b"Sec-Accept: %d\r\n\r\n" % n
        wire.origin().send(SWITCH.removesuffix(b"\r\n") + accept)
        assert status_of(client.take()) == 101


def test_bytes_go_both_ways_as_they_come(wire: FakeWire) -> None:
    client, origin = tunnel(wire)
    every_byte = bytes(range(256))
    for one, other in ((client, origin), (origin, client)):
        one.send(every_byte + b"HTTP/1.1 GET\r\n\r\n")
        assert other.take() == every_byte + b"HTTP/1.1 GET\r\n\r\n"


@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_bytes_right_behind_the_handshake_are_not_lost(
    wire: FakeWire, piece_bytes: int
) -> None:
    """Either side may speak first, in the piece that holds its head."""
    client = wire.client()
    client.send(ASK + b"early", piece_bytes)
    assert wire.origin().take().endswith(b"\r\n\r\n")
    wire.origin().send(SWITCH + b"hello", piece_bytes)
    assert client.take().endswith(b"\r\n\r\nhello")
    assert wire.origin().take() == b"early"


def test_a_client_may_end_its_half(wire: FakeWire) -> None:
    client, origin = tunnel(wire)
    client.send(b"last")
    client.send_eof()
    assert origin.take() == b"last"
    assert origin.has_eof
    origin.send(b"answer")
    assert client.take() == b"answer"
    origin.send_eof()
    assert client.is_closed
    assert origin.is_closed
    assert wire.codes == []


def test_an_origin_may_end_its_half(wire: FakeWire) -> None:
    client, origin = tunnel(wire)
    origin.send(b"last")
    origin.send_eof()
    assert client.take() == b"last"
    assert client.has_eof
    client.send(b"answer")
    assert origin.take() == b"answer"
    client.send_eof()
    assert client.is_closed
    assert wire.codes == []


def test_an_origin_that_is_gone_ends_the_tunnel(wire: FakeWire) -> None:
    client, origin = tunnel(wire)
    origin.leave(ConnectionResetError())
    assert client.is_closed
    assert wire.codes == ["316-DATA-TRUNCATED"]
    assert wire.faults[0]["phase"] == "tunnel"


def test_a_client_that_is_gone_ends_the_tunnel(wire: FakeWire) -> None:
    client, origin = tunnel(wire)
    client.leave()
    assert origin.is_closed
    assert wire.codes == ["316-CLIENT-ABORT"]


@pytest.mark.parametrize("speaker", [0, 1])
def test_a_tunnel_may_be_silent_only_so_long(make: MakeWire, speaker: int) -> None:
    """Any byte either way starts the limit anew; the request's is off."""
    wire = make(timeouts={"request": "5s", "tunnel_idle": "60s"})
    ends = tunnel(wire)
    for _ in range(3):
        wire.clock.advance(59)
        ends[speaker].send(b"ping")
    wire.clock.advance(59.9)
    assert wire.codes == []
    wire.clock.advance(0.2)
    assert wire.codes == ["316-TIMEOUT-IDLE"]
    assert wire.faults[0]["timeout_kind"] == "tunnel_idle"
    assert ends[0].is_closed
    assert ends[1].is_closed


def test_a_tunnel_is_never_used_for_another_request(wire: FakeWire) -> None:
    client, origin = tunnel(wire)
    client.send_eof()
    origin.send_eof()
    assert wire.upstream.pool.open_connections == 0
    assert wire.ask(get(), OK).endswith(b"ok")
    assert len(wire.origins) == 2


def test_an_origin_may_answer_without_switching(wire: FakeWire) -> None:
    """The connection goes on, and so does what the client pipelined."""
    client = wire.client()
    client.send(ASK + get("/2"))
    wire.origin().send(OK)
    assert wire.origin().received.count(b"GET /2 ") == 1
    wire.origin().send(OK)
    assert client.take().count(b"\r\n\r\nok") == 2


def test_nobody_switches_who_was_not_asked(wire: FakeWire) -> None:
    answer = wire.ask(get(), SWITCH + b"evil")
    assert status_of(answer) == 502
    assert header_of(answer, "x-316-code") == "316-PROTO-UPSTREAM"
    assert b"evil" not in answer
    assert wire.origin().is_closed


@pytest.mark.parametrize(
    "lines", [("Upgrade: echo",), ("Connection: Upgrade",), ("Upgrade: h2c",)]
)
def test_half_a_question_is_none(wire: FakeWire, lines: tuple[str, ...]) -> None:
    """RFC 9110, 7.8; and HTTP/2 in a tunnel would pass by every rule."""
    lines = (*lines, "Connection: Upgrade") if "h2c" in lines[0] else lines
    client = wire.client()
    client.send(get("/", *lines))
    sent = wire.origin().take().lower()
    assert b"\r\nupgrade:" not in sent
    assert b"\r\nconnection:" not in sent
    wire.origin().send(OK)


def test_http_1_0_cannot_ask_to_switch(wire: FakeWire) -> None:
    request = ASK.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert status_of(wire.ask(request, SWITCH)) == 502


def test_a_tunnel_is_told_with_its_bytes(wire: FakeWire) -> None:
    """And as one request, answered with 101."""
    client, origin = tunnel(wire)
    origin.send(b"12345")
    client.send_eof()
    origin.send_eof()
    keys = list(wire.recorder.store.requests)
    assert [key[3] for key in keys] == [101]
    series = wire.recorder.store.requests[keys[0]]
    assert series.response_bytes == 5


def test_a_client_that_ended_its_half_before_the_switch_has(wire: FakeWire) -> None:
    """An origin that waits for the end would else wait for the tunnel's limit."""
    client = wire.client()
    client.send(get("/", "Connection: Upgrade, close", "Upgrade: echo"))
    client.send_eof()
    wire.origin().send(
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    )
    assert wire.origin().has_eof


def test_a_tunnel_may_be_silent_for_an_hour_unless_told_otherwise(
    wire: FakeWire,
) -> None:
    """Not for the fifteen seconds that a request may take."""
    client, origin = tunnel(wire)
    wire.clock.advance(59 * 60)
    assert wire.codes == []
    origin.send(b"\x89\x00")  # A ping.
    wire.clock.advance(59 * 60)
    client.send(b"\x8a\x80mask")
    wire.clock.advance(59 * 60)
    assert wire.codes == []
    wire.clock.advance(2 * 60)
    assert wire.codes == ["316-TIMEOUT-IDLE"]
    assert client.is_closed
    assert origin.is_closed


@pytest.mark.parametrize("status", [400, 403, 426])
def test_a_refused_upgrade_leaves_the_connection_usable(
    wire: FakeWire, status: int
) -> None:
    client = wire.client()
    client.send(ASK)
    line = b"Sec-WebSocket-Version: 13\r\n"
    wire.origin().send(
        b"HTTP/1.1 %d No\r\n%bContent-Length: 2\r\n\r\nno" % (status, line)
    )
    answer = client.take()
    assert status_of(answer) == status
    assert header_of(answer, "sec-websocket-version") == "13"
    assert answer.endswith(b"no")
    client.send(ASK)
    wire.origin().send(SWITCH)
    assert status_of(client.take()) == 101


def test_what_the_two_ends_agree_on_is_none_of_our_business(wire: FakeWire) -> None:
    """A wrong Sec-WebSocket-Accept is for the client to find."""
    client = wire.client()
    offered = "permessage-deflate; server_max_window_bits=10, x-other"
    client.send(
        get(
            "/",
            "Connection: Upgrade",
            "Upgrade: websocket",
            f"Sec-WebSocket-Extensions: {offered}",
            "Sec-WebSocket-Protocol: a, b",
            "Sec-WebSocket-Protocol: c",
        )
    )
    sent = wire.origin().take()
    assert header_of(sent, "sec-websocket-extensions") == offered
    assert sent.count(b"Sec-WebSocket-Protocol: ") == 2
    wire.origin().send(
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: wrong\r\nSec-WebSocket-Protocol: z\r\n\r\n"
    )
    answer = client.take()
    assert header_of(answer, "sec-websocket-accept") == "wrong"
    assert header_of(answer, "sec-websocket-protocol") == "z"
