"""Going away: new requests are refused, those under way end as they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.ends import FakeSocket
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.support.ends import End
    from tests.support.wire import FakeWire


def begun(wire: FakeWire, request: bytes = get()) -> End:
    client = wire.client()
    client.send(request)
    return client


def drain(wire: FakeWire) -> None:
    """What the application does when its time to lead is over."""
    wire.runtime.is_draining = True
    wire.acceptor.drain()
    wire.turn()


def test_idle_connections_end_when_no_request_is_on_its_way(wire: FakeWire) -> None:
    """Who is new, or was just served, is given half a second for that."""
    old, quiet = wire.client(), begun(wire)
    wire.origin().send(OK)
    wire.clock.advance(0.5)
    fresh, served = wire.client(), begun(wire)
    wire.origin().send(OK)
    drain(wire)
    assert old.is_closed
    assert quiet.is_closed
    assert not fresh.is_closed
    assert not served.is_closed
    assert wire.acceptor.is_busy
    wire.clock.advance(0.5)
    assert fresh.is_closed
    assert served.is_closed
    assert not wire.acceptor.is_busy
    assert wire.codes == []
    assert not any(wire.recorder.store.limit_hits.values())


def test_a_first_request_on_its_way_is_told_that_nothing_was_done(
    wire: FakeWire,
) -> None:
    """To close before it comes would reset it: nobody could send a POST again."""
    fresh = wire.client()
    drain(wire)
    fresh.send(post())
    answer = fresh.take()
    assert header_of(answer, "x-316-code") == "316-DRAINING"
    assert header_of(answer, "x-316-processed") == "no"
    assert fresh.is_closed


def test_a_request_that_is_here_but_not_read_is_told_so_too(wire: FakeWire) -> None:
    served = begun(wire)
    wire.origin().send(OK)
    served.take()
    # What the loop will tell of in its next turn.
    served.transport._extra["socket"] = FakeSocket(b"P")  # type: ignore[attr-defined]
    drain(wire)
    assert not served.is_closed
    served.send(post())
    assert header_of(served.take(), "x-316-processed") == "no"
    assert served.is_closed


def test_a_request_under_way_is_answered_then_its_connection_ends(
    wire: FakeWire,
) -> None:
    """And the client is told, so that it does not send another."""
    client = begun(wire)
    drain(wire)
    assert not client.is_closed
    wire.origin().send(OK)
    answer = client.take()
    assert body_of(answer) == b"ok"
    assert header_of(answer, "connection") == "close"
    assert client.is_closed


def test_a_response_under_way_is_finished(wire: FakeWire) -> None:
    """Its head is gone: the close comes without a word, soon after its end."""
    client = begun(wire)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    drain(wire)
    wire.origin().send(b"lf")
    assert body_of(client.take()) == b"half"
    wire.clock.advance(0.5)
    assert client.is_closed


def test_what_was_pipelined_is_refused_as_not_processed(wire: FakeWire) -> None:
    """So that it can be sent elsewhere, whatever its method."""
    client = begun(wire, get("/1"))
    client.send(post(b"x", "/2"))
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    drain(wire)
    wire.origin().send(b"lf")
    answer = client.take().partition(b"half")[2]
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-DRAINING"
    assert header_of(answer, "x-316-processed") == "no"
    assert header_of(answer, "connection") == "close"


def test_a_half_sent_head_is_still_waited_for(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get()[:-2])
    drain(wire)
    assert not client.is_closed
    client.send(b"\r\n")
    assert header_of(client.take(), "x-316-code") == "316-DRAINING"


def test_a_new_connection_is_answered_likewise(wire: FakeWire) -> None:
    """Who has not heard yet may go elsewhere at once: nothing was done."""
    drain(wire)
    answer = wire.ask(post())
    assert header_of(answer, "x-316-code") == "316-DRAINING"
    assert header_of(answer, "x-316-processed") == "no"
    assert header_of(answer, "connection") == "close"
    assert wire.origins == []


def test_a_tunnel_goes_on_until_its_end(wire: FakeWire) -> None:
    client = begun(wire, get("/", "Connection: Upgrade", "Upgrade: echo"))
    switch = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    wire.origin().send(switch)
    drain(wire)
    client.send(b"more")
    assert wire.origin().take().endswith(b"more")
    client.send_eof()
    wire.origin().send_eof()
    assert client.is_closed


def test_outbound_stays_open(wire: FakeWire) -> None:
    """The application that is going away may need it to the end."""
    wire.acceptor.name = "outbound"
    wire.runtime.tables["outbound"] = wire.runtime.tables["inbound"]
    wire.runtime.states["outbound"] = wire.runtime.states["inbound"]
    wire.runtime.is_draining = True
    client = begun(wire)
    wire.origin().send(OK)
    answer = client.take()
    assert status_of(answer) == 200
    assert header_of(answer, "connection") is None
    assert not client.is_closed


# When the time for it is over, or a second signal comes.


def cut(wire: FakeWire) -> None:
    wire.acceptor.cut()
    wire.turn()


def test_a_cut_answers_what_is_under_way(wire: FakeWire) -> None:
    client = begun(wire)
    cut(wire)
    answer = client.take()
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-DRAINING"
    assert header_of(answer, "x-316-processed") is None
    assert client.is_closed
    assert wire.origin().is_closed


def test_a_cut_response_looks_broken(wire: FakeWire) -> None:
    client = begun(wire)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    cut(wire)
    assert body_of(client.take()) == b"ha"
    assert client.is_closed


@pytest.mark.parametrize("protocol", ["websocket", "echo"])
def test_a_cut_tunnel_ends_with_a_word_where_there_is_one(
    wire: FakeWire, protocol: str
) -> None:
    """RFC 6455, 7.4.1: 1001, going away. Of other protocols we know none."""
    client = begun(wire, get("/", "Connection: Upgrade", f"Upgrade: {protocol}"))
    head = f"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    wire.origin().send(head.encode())
    client.take()
    cut(wire)
    assert client.take() == (b"\x88\x02\x03\xe9" if protocol == "websocket" else b"")
    assert client.is_closed
    assert wire.origin().is_closed


@pytest.mark.parametrize("part", [b"\r\n", b"GET / HT"])
def test_a_cut_ends_what_is_no_request_yet(wire: FakeWire, part: bytes) -> None:
    client = wire.client()
    client.send(part)
    cut(wire)
    assert client.is_closed
    assert wire.codes == []


def test_a_tunnel_that_is_half_over_does_not_spare_the_others(wire: FakeWire) -> None:
    """To its client nothing can be written any more: asyncio would raise."""
    tunnel = begun(wire, get("/", "Connection: Upgrade", "Upgrade: websocket"))
    wire.origin().send(
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    wire.origin().send_eof()
    others = [begun(wire) for _ in range(3)]
    wire.acceptor.cut()
    wire.turn()
    assert all(client.is_closed for client in (tunnel, *others))


def test_the_next_request_of_who_was_just_served_is_told_that_nothing_was_done(
    wire: FakeWire,
) -> None:
    """It may have left before the drain began: a close would reset it."""
    client = begun(wire)
    wire.origin().send(OK)
    client.take()
    drain(wire)
    wire.clock.advance(0.1)
    client.send(post())
    answer = client.take()
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-processed") == "no"
    assert client.is_closed
