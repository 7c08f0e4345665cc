"""A route to the original destination has a life of its own at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from sidecar.faults.classify import classify_connect
from sidecar.model import Phase
from sidecar.policy.breaker import State
from sidecar.record.metrics.collector import SidecarCollector
from sidecar.record.sources import breakers_of, in_flight_of, worst_breaker
from sidecar.settings.snapshot import Address
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

ORIGINAL: dict[str, Any] = {"original_destination": True}
ONE, OTHER = "10.0.0.1:8080", "10.0.0.2:9090"


def ask(wire: FakeWire, to: str) -> bytes:
    """Return the answer to a request on an intercepted connection."""
    client = wire.client(to=to)
    before = len(wire.origins)
    client.send(get())
    if len(wire.origins) > before:
        wire.origin().send(OK)
    answer = client.take()
    client.close()
    return answer


def reached(wire: FakeWire) -> list[str]:
    """Return where the proxy keeps connections to."""
    return [
        endpoint.name
        for upstream in wire.runtime.destinations.upstreams()
        for endpoint in upstream.pool.endpoints
        if endpoint.idle
    ]


def test_the_application_is_reached_over_loopback_at_the_port_that_was_meant(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    for to in (ONE, OTHER, "fd00::1:7070"):
        assert ask(wire, to).startswith(b"HTTP/1.1 200")
    assert reached(wire) == ["127.0.0.1:8080", "127.0.0.1:9090", "[::1]:7070"]


def test_a_connection_to_the_proxy_itself_has_no_such_destination(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    answer = wire.ask(get())
    assert answer.startswith(b"HTTP/1.1 502")
    assert b"316-PROXY-LOOP" in answer


def test_a_breaker_that_opens_for_one_lets_the_other_be(make: MakeWire) -> None:
    wire = make(
        upstream=ORIGINAL,
        retry={"preset": "off"},
        circuit_breaker={"consecutive_failures": 1},
    )
    refused = ConnectionRefusedError(111, "refused")
    wire.errors["127.0.0.1:8080"] = classify_connect(refused, Phase.CONNECT, ONE)
    assert b"316-CONN-REFUSED" in ask(wire, ONE)
    assert b"316-CIRCUIT-OPEN" in ask(wire, ONE)
    assert ask(wire, OTHER).startswith(b"HTTP/1.1 200")


def test_a_route_may_hold_for_some_destinations_only(make: MakeWire) -> None:
    wire = make(upstream=ORIGINAL, destinations=["10.0.0.0/8:8080"])
    assert ask(wire, ONE).startswith(b"HTTP/1.1 200")
    assert b"316-ROUTE-NOT-FOUND" in ask(wire, OTHER)
    assert b"316-ROUTE-NOT-FOUND" in ask(wire, "192.0.2.1:8080")
    assert b"316-ROUTE-NOT-FOUND" in wire.ask(get())


def test_what_no_route_takes_may_pass(make: MakeWire) -> None:
    wire = make(
        destinations=[":8080"],
        top={"inbound": {"unmatched": "pass"}},
    )
    assert ask(wire, OTHER).startswith(b"HTTP/1.1 200")
    assert reached(wire) == ["127.0.0.1:9090"]


def test_a_reload_keeps_what_is_the_same_and_lets_go_of_the_rest(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    ask(wire, ONE)
    (part,) = wire.runtime.destinations.upstreams()
    wire.reload(upstream=ORIGINAL, timeouts={"request": "7s"})
    assert [*wire.runtime.destinations.upstreams()] == [part]
    ask(wire, ONE)
    assert len(wire.origins) == 1  # Its connection, too, was kept.
    wire.reload(upstream={**ORIGINAL, "pool": {"max_requests": 7}})
    assert reached(wire) == []
    assert ask(wire, ONE).startswith(b"HTTP/1.1 200")
    assert len(wire.origins) == 2


def test_a_reload_changes_the_routes_of_connections_that_are_there(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    client = wire.client(to=ONE)
    wire.reload(upstream=ORIGINAL, destinations=[OTHER])
    client.send(get())
    assert b"316-ROUTE-NOT-FOUND" in client.take()
    client.close()


def test_a_breaker_outlives_a_reload_that_does_not_concern_it(make: MakeWire) -> None:
    keys: dict[str, Any] = {
        "upstream": ORIGINAL,
        "retry": {"preset": "off"},
        "circuit_breaker": {"consecutive_failures": 1},
    }
    wire = make(**keys)
    refused = ConnectionRefusedError(111, "refused")
    wire.errors["127.0.0.1:8080"] = classify_connect(refused, Phase.CONNECT, ONE)
    ask(wire, ONE)
    wire.reload(**keys, timeouts={"per_try": "3s"})
    assert b"316-CIRCUIT-OPEN" in ask(wire, ONE)


@pytest.mark.parametrize("is_held", [True, False])
def test_only_so_many_that_nobody_uses_are_remembered(
    make: MakeWire, *, is_held: bool
) -> None:
    wire = make(upstream=ORIGINAL)
    client = wire.client(to=ONE) if is_held else None
    if client is None:
        ask(wire, ONE)
    for port in range(1, 1100):
        place = wire.runtime.destinations.enter("inbound", Address("10.9.9.9", port))
        wire.runtime.destinations.leave(place)
    assert len(wire.runtime.destinations) == 1024 + is_held
    if client is not None:
        client.send(get())
        wire.origin().send(OK)
        assert client.take().startswith(b"HTTP/1.1 200")
        client.close()
    else:
        assert reached(wire) == []
        assert wire.origin().is_closed


BREAKING: dict[str, Any] = {
    "upstream": ORIGINAL,
    "retry": {"preset": "off"},
    "circuit_breaker": {"consecutive_failures": 1},
}


def test_what_is_shown_of_a_route_is_that_of_all_its_destinations(
    make: MakeWire,
) -> None:
    """Of breakers, the worst."""
    wire = make(**BREAKING)
    refused = ConnectionRefusedError(111, "refused")
    wire.errors["127.0.0.1:8080"] = classify_connect(refused, Phase.CONNECT, ONE)
    ask(wire, ONE)
    client = wire.client(to=OTHER)
    client.send(get())
    (route,) = wire.runtime.routes
    worst = worst_breaker(route, wire.clock.now_s())
    assert worst is not None
    assert worst.state_at(wire.clock.now_s()) is State.OPEN
    assert in_flight_of(route) == wire.runtime.in_flight == 1
    registry = CollectorRegistry()
    registry.register(SidecarCollector(wire.recorder, wire.clock, lambda: wire.runtime))
    text = generate_latest(registry).decode()
    assert 'sidecar_breaker_state{route="all",upstream="app"} 2.0' in text
    assert 'http_server_active_requests{http_route="all"} 1.0' in text
    wire.origin().send(OK)
    assert in_flight_of(route) == wire.runtime.in_flight == 0
    client.close()


def test_a_breaker_that_is_held_open_is_so_at_places_to_come(make: MakeWire) -> None:
    wire = make(**BREAKING)
    ask(wire, ONE)
    (route,) = wire.runtime.routes
    for breaker in breakers_of(route):
        breaker.force(State.OPEN, wire.clock.now_s() + 60)
    assert b"316-CIRCUIT-OPEN" in ask(wire, ONE)
    assert b"316-CIRCUIT-OPEN" in ask(wire, OTHER)
    wire.clock.advance(61)
    assert ask(wire, "10.0.0.3:80").startswith(b"HTTP/1.1 200")


def test_after_many_at_once_only_so_many_are_remembered(make: MakeWire) -> None:
    wire = make(upstream=ORIGINAL)
    (route,) = wire.runtime.routes
    enter, leave = wire.runtime.destinations.enter, wire.runtime.destinations.leave
    places = [enter("inbound", Address("10.9.9.9", port)) for port in range(1, 2000)]
    for place in places:
        wire.runtime.destinations.own(place, route, 0.0)
    assert len(wire.runtime.destinations) == len(route.parts) == 1999
    for place in places:
        leave(place)
    counts = len(wire.runtime.destinations), len(route.parts), len(route.upstream.parts)
    assert counts == (1024, 1024, 1024)
    wire.runtime.sweep()


def test_one_that_is_forgotten_while_a_request_is_under_way_ends_with_it(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    place = wire.runtime.destinations.enter("inbound", Address("10.0.0.1", 8080))
    (route,) = wire.runtime.routes
    part = wire.runtime.destinations.own(place, route, 0.0).upstream
    part.requests.enter()
    wire.runtime.destinations.leave(place)
    for port in range(1, 1100):
        wire.runtime.destinations.leave(
            wire.runtime.destinations.enter("inbound", Address("10.9.9.9", port))
        )
    wire.runtime.sweep()
    assert part in wire.runtime._former_upstreams
    part.requests.leave()
    wire.runtime.sweep()
    assert part not in wire.runtime._former_upstreams
