"""A route to the original destination has a life of its own at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.faults.classify import classify_connect
from sidecar.model import Phase
from sidecar.settings.snapshot import Address
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

ORIGINAL: dict[str, Any] = {"endpoints": [], "original_destination": True}
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
    assert len(wire.runtime.destinations) == 1024
    if client is not None:
        client.send(get())
        wire.origin().send(OK)
        assert client.take().startswith(b"HTTP/1.1 200")
        client.close()
    else:
        assert reached(wire) == []
        assert wire.origin().is_closed
