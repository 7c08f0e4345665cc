"""How much is under way at once, and who waits for whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

OFF = {"preset": "off"}


def capped(make: MakeWire, **pool: Any) -> FakeWire:
    return make(upstream={"pool": pool}, retry=OFF, timeouts={"request": "9s"})


def ask(wire: FakeWire, path: str = "/") -> End:
    client = wire.client()
    client.send(get(path))
    return client


def test_only_so_many_requests_are_under_way(make: MakeWire) -> None:
    wire = capped(make, max_requests=2)
    first, second = ask(wire), ask(wire)
    answer = ask(wire).take()
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-POOL-EXHAUSTED"
    assert header_of(answer, "retry-after") == "1"
    assert header_of(answer, "x-316-processed") == "no"
    wire.origin(0).send(OK)
    assert first.take().endswith(b"ok")
    third = ask(wire)
    for origin in wire.origins:
        origin.send(OK)
    assert second.take().endswith(b"ok")
    assert third.take().endswith(b"ok")


def test_only_so_many_connections_are_made(make: MakeWire) -> None:
    wire = capped(make, max_connections=2)
    clients = [ask(wire) for _ in range(6)]
    assert len(wire.origins) == 2
    assert wire.upstream.pool.pending == 4
    for n in range(6):
        wire.origin(n % 2).send(OK)
    assert all(client.take().endswith(b"ok") for client in clients)
    assert len(wire.origins) == 2


def test_only_so_many_wait(make: MakeWire) -> None:
    wire = capped(make, max_connections=1, max_pending=1)
    first, second, third = ask(wire), ask(wire), ask(wire)
    assert header_of(third.take(), "x-316-code") == "316-POOL-EXHAUSTED"
    assert wire.faults[0]["phase"] == "queue"
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert first.take().endswith(b"ok")
    assert second.take().endswith(b"ok")


def test_with_no_place_to_wait_nobody_waits(make: MakeWire) -> None:
    wire = capped(make, max_connections=1, max_pending=0)
    ask(wire)
    assert status_of(ask(wire).take()) == 503
    wire.origin().send(OK)


def order(wire: FakeWire) -> list[bytes]:
    """Return the paths that the newest origin was asked for."""
    lines = wire.origin().received.split(b"\r\n")
    return [line.split(b" ")[1] for line in lines if line.endswith(b" HTTP/1.1")]


def test_who_waits_is_served_in_order(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    for n in range(5):
        ask(wire, f"/{n}")
    for _ in range(5):
        wire.origin().send(OK)
    assert order(wire) == [b"/0", b"/1", b"/2", b"/3", b"/4"]


def test_nobody_overtakes_who_waits(make: MakeWire) -> None:
    """Not even who comes between a turn that is told and the turn itself."""
    wire = capped(make, max_connections=1)
    ask(wire, "/first")
    ask(wire, "/waits")
    late = wire.client()
    wire.origin().transport.protocol.data_received(OK)  # Without a turn.
    late.transport.protocol.data_received(get("/late"))
    wire.turn()
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert order(wire) == [b"/first", b"/waits", b"/late"]


def test_nor_does_the_next_request_of_who_was_just_served(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    first = ask(wire, "/first")
    ask(wire, "/waits")
    first.send(get("/again"))
    for _ in range(3):
        wire.origin().send(OK)
    assert order(wire) == [b"/first", b"/waits", b"/again"]


def test_a_queued_request_leaves_the_queue_with_its_deadline(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    ask(wire, "/first")
    wire.clock.advance(5)
    hasty = wire.client()
    hasty.send(get("/hasty", "x-316-deadline-ms: 1000"))
    ask(wire, "/patient")
    wire.clock.advance(1.001)
    answer = hasty.take()
    assert header_of(answer, "x-316-code") == "316-DEADLINE-EXPIRED"
    assert header_of(answer, "x-316-processed") == "no"
    assert wire.faults[0]["phase"] == "queue"
    assert wire.upstream.pool.pending == 1
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert order(wire) == [b"/first", b"/patient"]


def test_a_client_that_leaves_leaves_the_queue(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    ask(wire, "/first")
    gone = ask(wire, "/gone")
    ask(wire, "/next")
    gone.leave()
    assert wire.upstream.pool.pending == 1
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert order(wire) == [b"/first", b"/next"]


def test_a_turn_is_not_lost_with_who_left_in_it(make: MakeWire) -> None:
    """Told that it is its turn, it leaves before it takes it: the next one gets it."""
    wire = capped(make, max_connections=1)
    ask(wire, "/first")
    gone = ask(wire, "/gone")
    ask(wire, "/next")
    wire.origin().transport.protocol.data_received(OK)
    gone.transport.is_lost = True
    gone.transport.protocol.connection_lost(None)
    wire.turn()
    wire.origin().send(OK)
    assert order(wire) == [b"/first", b"/next"]


def test_a_connection_that_fails_makes_room(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    wire.is_holding = True
    first, second = ask(wire), ask(wire)
    wire.refuse()
    wire.open_next()
    assert status_of(first.take()) == 502
    wire.errors.clear()
    wire.open_next()
    wire.origin().send(OK)
    assert second.take().endswith(b"ok")


def test_a_connection_that_is_lost_makes_room(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    first, second = ask(wire), ask(wire)
    wire.origin().leave()
    assert status_of(first.take()) == 502
    wire.origin().send(OK)
    assert second.take().endswith(b"ok")
    assert len(wire.origins) == 2


def test_an_idle_connection_elsewhere_makes_room(make: MakeWire) -> None:
    """The cap is the upstream's; an idle one is not worth a wait."""
    two = {"endpoints": ["10.0.0.1:80", "10.0.0.2:80"], "pool": {"max_connections": 1}}
    wire = make(upstream=two)
    assert wire.ask(get(), OK).endswith(b"ok")
    assert wire.ask(get(), OK).endswith(b"ok")
    assert wire.origin(0).is_closed
    assert wire.upstream.pool.open_connections == 1


def test_a_tunnel_counts_as_a_request_and_a_connection(make: MakeWire) -> None:
    wire = capped(make, max_requests=1)
    client = wire.client()
    client.send(get("/", "Connection: Upgrade", "Upgrade: echo"))
    wire.origin().send(
        b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    )
    assert status_of(ask(wire).take()) == 503
    client.send_eof()
    wire.origin().send_eof()
    ask(wire)
    wire.origin().send(OK)


def test_a_request_without_a_place_is_not_read_for_ever(make: MakeWire) -> None:
    """Its body stays in the client while it waits."""
    wire = capped(make, max_connections=1)
    ask(wire)
    waiting = wire.client()
    waiting.send(post(b"x" * 500_000), 10_000)
    assert waiting.unsent > 40
    wire.origin().send(OK)
    assert waiting.unsent == 0
    wire.origin().send(OK)
    assert waiting.take().endswith(b"ok")


def test_a_client_that_is_held_back_in_the_queue_is_not_called_slow(
    make: MakeWire,
) -> None:
    """Nobody read what it would have sent; the pool was full, not the client."""
    wire = capped(make, max_connections=1)
    ask(wire)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    waiting = wire.client()
    waiting.send(post(b"x" * 500_000), 10_000)
    assert not waiting.is_read
    wire.clock.advance(60.1)
    assert header_of(waiting.take(), "x-316-code") == "316-POOL-EXHAUSTED"
    assert wire.faults[0]["timeout_kind"] == "queue"


def test_a_client_that_is_slow_in_the_queue_is(make: MakeWire) -> None:
    wire = capped(make, max_connections=1)
    ask(wire)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    waiting = wire.client()
    waiting.send(post(b"x" * 500_000)[:1000])
    wire.clock.advance(60.1)
    assert header_of(waiting.take(), "x-316-code") == "316-CLIENT-SLOW"
