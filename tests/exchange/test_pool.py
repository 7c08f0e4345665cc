"""Which connection a request gets, and when one is not used any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.settings.snapshot import Address
from sidecar.upstream.pool import CONNECT, Pool, PoolLimits, idle_limit_s
from tests.support.proxy import body_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

ONE = (Address("10.0.0.1", 80),)
TWO = (Address("10.0.0.1", 80), Address("10.0.0.2", 80))


def answer(*lines: str) -> bytes:
    head = ["HTTP/1.1 200 OK", "Content-Length: 2", *lines, "", "ok"]
    return "\r\n".join(head).encode()


def warmed(wire: FakeWire, count: int) -> list[End]:
    """Return origins of idle connections, in the order they became idle."""
    clients = [wire.client() for _ in range(count)]
    for client in clients:
        client.send(get())
    for origin in wire.origins:
        origin.send(OK)
    assert [client.take()[-2:] for client in clients] == [b"ok"] * count
    return list(wire.origins)


# As it works in a proxy.


def test_the_newest_idle_connection_is_taken_first(wire: FakeWire) -> None:
    """So the others grow old and are closed."""
    oldest, _, newest = warmed(wire, 3)
    for _ in range(3):
        newest.take()
        client = wire.client()
        client.send(get())
        assert newest.take().startswith(b"GET ")
        newest.send(OK)
    assert oldest.received.count(b"GET ") == 1


def patient(make: MakeWire) -> FakeWire:
    """Return a wire that keeps idle connections as for an application beside it."""
    return make(upstream={"pool": {"idle": "4s"}})


def test_a_connection_that_was_idle_for_too_long_is_not_used(make: MakeWire) -> None:
    """The application is about to close it, or just did."""
    wire = patient(make)
    (origin,) = warmed(wire, 1)
    wire.clock.advance(3.99)
    wire.ask(get(), OK)
    assert len(wire.origins) == 1
    wire.clock.advance(4.01)
    wire.ask(get(), OK)
    assert len(wire.origins) == 2
    assert origin.is_closed


def test_idle_connections_are_swept(make: MakeWire) -> None:
    """Also when nobody asks for them."""
    wire = patient(make)
    warmed(wire, 3)
    wire.clock.advance(3.99)
    wire.runtime.sweep()
    assert wire.upstream.pool.open_connections == 3
    wire.clock.advance(0.02)
    wire.runtime.sweep()
    wire.turn()
    assert wire.upstream.pool.open_connections == 0
    assert all(origin.is_closed for origin in wire.origins)


@pytest.mark.parametrize(
    ("line", "used_s"),
    [
        ("Keep-Alive: timeout=3", 1.99),
        ("keep-alive: max=5, timeout=3", 1.99),
        ("Keep-Alive: timeout=60", 3.99),
        ("Keep-Alive: timeout=x", 3.99),
    ],
)
def test_what_the_origin_says_of_its_patience_is_heeded(
    make: MakeWire, line: str, used_s: float
) -> None:
    """A second less, since it counts from an earlier moment."""
    wire = patient(make)
    wire.ask(get(), answer(line))
    wire.clock.advance(used_s)
    wire.ask(get(), answer(line))
    assert len(wire.origins) == 1
    wire.clock.advance(used_s + 0.02)
    wire.ask(get(), answer(line))
    assert len(wire.origins) == 2


def test_the_patience_of_one_response_is_not_that_of_the_next(wire: FakeWire) -> None:
    wire.ask(get(), answer("Keep-Alive: timeout=2"))
    wire.ask(get(), OK)
    wire.clock.advance(3)
    wire.ask(get(), OK)
    assert len(wire.origins) == 1


def test_a_connection_serves_only_so_many(make: MakeWire) -> None:
    wire = make(upstream={"pool": {"max_requests_per_connection": 2}})
    for _ in range(4):
        wire.ask(get(), OK)
    assert [origin.received.count(b"GET ") for origin in wire.origins] == [2, 2]
    assert all(origin.is_closed for origin in wire.origins)


def test_what_may_not_be_sent_twice_does_not_risk_an_old_connection(
    wire: FakeWire,
) -> None:
    """Idle for over a second: it may just be closing."""
    warmed(wire, 1)
    wire.clock.advance(0.99)
    wire.ask(post(), OK)
    assert len(wire.origins) == 1
    wire.clock.advance(1.01)
    wire.ask(post(), OK)
    assert len(wire.origins) == 2
    wire.clock.advance(1.01)
    wire.ask(get(), OK)
    assert len(wire.origins) == 2


@pytest.mark.parametrize("connection", ["close", "Close, x"])
def test_an_origin_that_closes_is_believed(wire: FakeWire, connection: str) -> None:
    wire.ask(get(), answer(f"Connection: {connection}"))
    assert wire.origin().is_closed
    assert wire.upstream.pool.open_connections == 0


def test_bytes_behind_a_response_are_no_next_response(wire: FakeWire) -> None:
    """Response splitting: such a connection is not used again."""
    for _ in range(3):
        told = wire.ask(get(), OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        assert body_of(told) == b"ok"
        assert wire.origin().is_closed


@pytest.mark.parametrize("raw", [b"x", OK, b"HTTP/1.1 408 Slow\r\n\r\n"])
def test_a_response_to_nobody_ends_the_connection(wire: FakeWire, raw: bytes) -> None:
    (origin,) = warmed(wire, 1)
    origin.send(raw)
    assert origin.is_closed
    assert wire.upstream.pool.open_connections == 0
    assert body_of(wire.ask(get(), OK)) == b"ok"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_response_to_nobody_in_the_same_turn(make: MakeWire, method: str) -> None:
    """It came before the request: with no retry at all, nobody may notice."""
    wire = make(retry={"preset": "off"})
    (origin,) = warmed(wire, 1)
    client = wire.client()
    origin.transport.protocol.data_received(b"x")  # Without a turn.
    client.transport.protocol.data_received(get(method=method))
    wire.turn()
    assert len(wire.origins) == 2
    wire.origin().send(OK)
    assert status_of(client.take()) == 200


@pytest.mark.parametrize("end", ["eof", "reset"])
def test_an_origin_that_leaves_while_idle_is_no_fault(wire: FakeWire, end: str) -> None:
    (origin,) = warmed(wire, 1)
    if end == "eof":
        origin.send_eof()
    else:
        origin.leave(ConnectionResetError())
    assert wire.upstream.pool.open_connections == 0
    assert body_of(wire.ask(post(), OK)) == b"ok"
    assert wire.codes == []


def test_an_end_that_is_seen_but_not_told_is_heeded(make: MakeWire) -> None:
    """Between the end of input and the loss, the loop has other callbacks."""
    wire = make(retry={"preset": "off"})
    (origin,) = warmed(wire, 1)
    client = wire.client()
    assert not origin.transport.protocol.eof_received()
    client.transport.protocol.data_received(get())
    wire.turn()
    assert len(wire.origins) == 2
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"


def test_a_response_before_its_request_is_whole_ends_the_connection(
    wire: FakeWire,
) -> None:
    """What is left of the request would be read as the next one."""
    client = wire.client()
    client.send(post(b"12345678")[:-4])
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    assert wire.origin().is_closed


# As it decides.


class Waiting:
    """A request that waits."""

    def __init__(self) -> None:
        self.turns = 0

    def on_room(self) -> None:
        self.turns += 1


def pool_of(most: int, pending: int = 2, addresses: tuple[Address, ...] = ONE) -> Pool:
    return Pool(PoolLimits(most, pending, 4.0, None), addresses)


def test_an_empty_pool_grants_to_connect_up_to_its_cap() -> None:
    pool = pool_of(2)
    (endpoint,) = pool.endpoints
    assert pool.take(endpoint, 0, 9) is CONNECT
    assert pool.take(endpoint, 0, 9) is CONNECT
    assert pool.take(endpoint, 0, 9) is None
    assert (endpoint.busy, pool.open_connections) == (2, 2)


def test_the_cap_is_for_all_endpoints_together() -> None:
    pool = pool_of(1, addresses=TWO)
    one, other = pool.endpoints
    assert pool.take(one, 0, 9) is CONNECT
    assert pool.take(other, 0, 9) is None


def test_a_grant_that_came_to_nothing_is_the_next_ones() -> None:
    pool, waiting = pool_of(1), Waiting()
    (endpoint,) = pool.endpoints
    pool.take(endpoint, 0, 9)
    assert pool.enqueue(waiting)
    pool.give_up(endpoint)
    assert (waiting.turns, pool.pending, endpoint.busy) == (1, 0, 0)
    assert pool.take(endpoint, 0, 9) is None  # It is not its turn.
    assert pool.take(endpoint, 0, 9, is_in_turn=True) is CONNECT


def test_the_queue_has_its_cap_but_not_for_who_had_a_turn() -> None:
    pool = pool_of(1, pending=1)
    first, second = Waiting(), Waiting()
    assert pool.enqueue(first)
    assert not pool.enqueue(second)
    assert pool.enqueue(second, is_first=True)
    pool.take(pool.endpoints[0], 0, 9)
    pool.give_up(pool.endpoints[0])
    assert (first.turns, second.turns) == (0, 1)


def test_who_leaves_in_its_turn_hands_it_on() -> None:
    pool = pool_of(1)
    (endpoint,) = pool.endpoints
    first, second = Waiting(), Waiting()
    pool.enqueue(first)
    pool.enqueue(second)
    pool.give_up(endpoint)
    pool.leave(first)
    assert second.turns == 1
    pool.leave(second)
    endpoint.busy = 0
    assert pool.take(endpoint, 0, 9) is CONNECT


def test_who_leaves_before_its_turn_leaves_no_trace() -> None:
    pool = pool_of(1)
    first, second = Waiting(), Waiting()
    pool.enqueue(first)
    pool.enqueue(second)
    pool.leave(first)
    assert (pool.pending, first.turns, second.turns) == (1, 0, 0)


@pytest.mark.parametrize(
    ("value", "expected_s"),
    [
        (b"timeout=3", 2.0),
        (b"TIMEOUT = 3", 4.0),
        (b"max=1,timeout=2", 1.0),
        (b"timeout=1", 0.0),
        (b"timeout=0", 0.0),
        (b"timeout=9999999", 4.0),
        (b"timeout=-1", 4.0),
        (b"timeout=", 4.0),
        (b"", 4.0),
    ],
)
def test_how_long_a_peer_waits(value: bytes, expected_s: float) -> None:
    assert idle_limit_s(4.0, value) == expected_s
