"""Another configuration while requests are under way: nobody notices.

What is under way keeps what it has, what comes gets the new, and what is the same in
both lives on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

OTHER = {"endpoints": ["10.0.0.2:80"]}
UPGRADE = get("/", "Connection: Upgrade", "Upgrade: echo")
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
)
FAILED = b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n"
TOUCHY = {"min_requests": 2, "failure_ratio": "50%"}


def test_a_request_under_way_ends_where_it_began(wire: FakeWire) -> None:
    client = wire.client()
    client.send(post()[:-1])
    wire.reload(upstream=OTHER)
    client.send(b"a" + get("/next"))
    old = wire.origin()
    assert old.received.endswith(b"data"[:-1] + b"a")
    old.send(OK)
    assert old.is_closed  # Nobody would use it again.
    assert wire.origin() is not old
    wire.origin().send(OK)
    assert client.take().count(b"\r\n\r\nok") == 2
    assert wire.codes == []


def test_a_response_that_streams_goes_on(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    old = wire.origin()
    old.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    wire.reload(upstream=OTHER, timeouts={"request": "1ms"})
    old.send(b"cd")
    assert client.take().endswith(b"abcd")


def test_a_tunnel_lives_on(wire: FakeWire) -> None:
    client = wire.client()
    client.send(UPGRADE)
    old = wire.origin()
    old.send(SWITCHED)
    wire.reload(upstream=OTHER)
    client.send(b"ping")
    old.send(b"pong")
    assert old.received.endswith(b"ping")
    assert client.take().endswith(b"pong")
    old.send_eof()
    client.send_eof()


def test_who_waits_for_a_connection_gets_one_of_the_upstream_it_asked(
    make: MakeWire,
) -> None:
    one = {"pool": {"max_connections": 1}}
    wire = make(upstream=one)
    first, second = wire.client(), wire.client()
    first.send(get())
    second.send(get("/second"))
    wire.reload(upstream=one | OTHER)
    wire.origin().send(OK)
    assert wire.origin().received.startswith(b"GET /second ")
    wire.origin().send(OK)
    assert second.take().endswith(b"ok")
    assert all(origin.is_closed for origin in wire.origins)


def test_connections_of_an_upstream_that_is_the_same_are_kept(wire: FakeWire) -> None:
    assert wire.ask(get(), OK)
    wire.reload(timeouts={"request": "3s"})
    assert wire.ask(get("/again"), OK)
    assert len(wire.origins) == 1


def test_idle_connections_of_one_that_changed_are_closed(wire: FakeWire) -> None:
    assert wire.ask(get(), OK)
    wire.reload(upstream={"pool": {"max_connections": 7}})
    assert wire.origin().is_closed


def test_a_breaker_lives_on_with_its_upstream(make: MakeWire) -> None:
    wire = make(circuit_breaker=TOUCHY)
    for _ in range(2):
        wire.ask(get(), FAILED)
    wire.reload(circuit_breaker=TOUCHY, timeouts={"request": "3s"})
    assert header_of(wire.ask(get()), "x-316-code") == "316-CIRCUIT-OPEN"


def test_a_breaker_begins_anew_with_its_own_limits_or_its_upstream(
    make: MakeWire,
) -> None:
    for change in (
        {"circuit_breaker": TOUCHY | {"open": "7s"}},
        {"circuit_breaker": TOUCHY, "upstream": {"pool": {"max_requests": 7}}},
        {"circuit_breaker": "off"},
    ):
        wire = make(circuit_breaker=TOUCHY)
        for _ in range(2):
            wire.ask(get(), FAILED)
        wire.reload(**change)
        assert status_of(wire.ask(get(), OK)) == 200, change


def test_what_comes_finds_the_new_routes(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    wire.reload(matches=[{"path": {"type": "Exact", "value": "/only"}}])
    client.send(get())
    assert header_of(client.take(), "x-316-code") == "316-ROUTE-NOT-FOUND"
    client.send(get("/only"))
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_a_lower_limit_refuses_those_who_come_not_those_who_are_there(
    wire: FakeWire,
) -> None:
    clients = [wire.client() for _ in range(3)]
    wire.reload(top={"limits": {"connections": 2}})
    late = wire.client()
    assert header_of(late.take(), "x-316-code") == "316-OVERLOAD"
    for client in clients:
        client.send(get())
        wire.origin().send(OK)
        assert client.take().endswith(b"ok")


def test_a_body_that_is_awaited_goes_where_it_was_to_go(make: MakeWire) -> None:
    """It has no place yet; its upstream is kept for it all the same."""
    slow = {"pool": {"max_uploads": 0}}
    wire = make(upstream=slow)
    client = wire.client()
    client.send(post()[:-1])
    wire.reload(upstream=slow | OTHER)
    wire.runtime.sweep()
    assert len(wire.runtime._former_upstreams) == 1
    client.send(b"a")
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    wire.runtime.sweep()
    assert not wire.runtime._former_upstreams


def test_connections_of_a_client_are_counted_when_that_begins_to_matter(
    wire: FakeWire,
) -> None:
    before = [wire.client() for _ in range(3)]
    wire.reload(top={"limits": {"connections_per_client": 3}})
    wire.acceptor.on_reload()
    assert header_of(wire.client().take(), "x-316-code") == "316-OVERLOAD"
    before[0].leave()
    assert not wire.client().take()


def test_what_was_replaced_is_let_go_of_when_it_is_over(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.reload(upstream=OTHER)
    assert wire.runtime.in_flight == 1
    assert not wire.runtime.is_idle
    wire.origin().send(OK)
    wire.runtime.sweep()
    assert not wire.runtime._former_upstreams
    assert not wire.runtime._former_routes
    assert wire.runtime.is_idle
