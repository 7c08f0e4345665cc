"""Endpoints come and go while requests are under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.faults.catalogue import FaultCode
from sidecar.settings.snapshot import Address
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

ONE, TWO = Address("10.0.0.1", 80), Address("10.0.0.2", 80)
THREE = Address("10.0.0.3", 80)
KUBERNETES = {"discovery": {"kubernetes": {"service": "stock", "namespace": "shop"}}}


def find(wire: FakeWire, *addresses: Address) -> None:
    """Let discovery find these."""
    source = wire.upstream.settings.discovery
    assert source is not None
    wire.runtime.finding_of(source).addresses = addresses
    wire.runtime.on_found(source)
    wire.turn()


@pytest.fixture
def wire(make: MakeWire) -> FakeWire:
    found = make(upstream={**KUBERNETES, "pool": {"max_connections": 1}})
    find(found, ONE)
    return found


def test_a_request_goes_to_what_was_found(wire: FakeWire) -> None:
    assert body_of(wire.ask(get(), OK)) == b"ok"


def test_idle_connections_of_a_removed_address_are_closed_at_once(
    wire: FakeWire,
) -> None:
    wire.ask(get(), OK)
    origin = wire.origin()
    find(wire, TWO)
    assert origin.is_closed
    assert status_of(wire.ask(get(), OK)) == 200
    assert wire.origin() is not origin


def test_a_request_under_way_ends_where_it_is_and_its_connection_with_it(
    wire: FakeWire,
) -> None:
    client = wire.client()
    client.send(get())
    origin = wire.origin()
    find(wire, TWO)
    assert not origin.is_closed
    origin.send(OK)
    assert body_of(client.take()) == b"ok"
    assert origin.is_closed
    assert wire.upstream.pool.leaving == 0


def test_a_connection_of_an_address_that_stays_is_kept(wire: FakeWire) -> None:
    wire.ask(get(), OK)
    origin = wire.origin()
    find(wire, ONE, TWO)
    find(wire, ONE)
    origin.take()
    wire.ask(get(), OK)
    assert origin.take().startswith(b"GET / ")


def test_who_waits_for_a_connection_turns_to_an_address_that_is_left(
    wire: FakeWire,
) -> None:
    """The cap of connections holds for both."""
    first, second = wire.client(), wire.client()
    first.send(get())
    second.send(get("/second"))
    find(wire, TWO)
    wire.origin().send(OK)  # It makes room.
    assert len(wire.origins) == 2
    assert wire.origin().take().startswith(b"GET /second ")
    wire.origin().send(OK)
    assert body_of(second.take()) == b"ok"


def test_who_waits_is_refused_at_once_if_no_address_is_left(wire: FakeWire) -> None:
    first, second = wire.client(), wire.client()
    first.send(get())
    second.send(get())
    find(wire)
    answer = second.take()
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-UPSTREAM-UNHEALTHY"
    wire.origin().send(OK)
    assert body_of(first.take()) == b"ok"


def test_a_connection_in_the_making_serves_its_request(wire: FakeWire) -> None:
    wire.is_holding = True
    client = wire.client()
    client.send(get())
    find(wire, TWO)
    wire.open_next()
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"
    assert wire.origin().is_closed


def test_a_retry_after_the_last_address_is_gone_ends_with_what_was_met_before(
    make: MakeWire,
) -> None:
    retry = {"max_retries": 1, "backoff": {"base": "1s", "max": "1s"}}
    wire = make(upstream=KUBERNETES, retry=retry)
    find(wire, ONE)
    client = wire.client()
    client.send(get())
    wire.origin().leave()
    find(wire)
    wire.clock.advance(5)
    assert status_of(client.take()) == 502  # What the try before met is the cause.
    assert wire.codes == ["316-RETRY-EXHAUSTED"]
    tried = [attempt["code"] for attempt in wire.faults[0]["attempts"]]
    assert tried == ["316-CONN-TERMINATED", "316-UPSTREAM-UNHEALTHY"]


def test_the_refusal_says_that_nothing_is_known_yet(make: MakeWire) -> None:
    wire = make(upstream=KUBERNETES)
    assert status_of(wire.ask(get())) == 503
    assert "not known yet" in wire.faults[0]["detail"]


def test_a_failure_of_dns_is_the_code_of_the_refusal(make: MakeWire) -> None:
    wire = make(upstream={"discovery": {"dns": {"name": "pages", "port": 80}}})
    source = wire.upstream.settings.discovery
    assert source is not None
    finding = wire.runtime.finding_of(source)
    finding.failure, finding.code = "pages A: NXDOMAIN", FaultCode.DNS_ERR
    answer = wire.ask(get())
    assert (status_of(answer), wire.codes) == (502, ["316-DNS-ERR"])
    assert wire.faults[0]["phase"] == "dns"
    assert "NXDOMAIN" in wire.faults[0]["detail"]


def test_a_request_without_a_host_gets_the_name_that_was_asked_for(
    make: MakeWire,
) -> None:
    wire = make(upstream=KUBERNETES)
    find(wire, ONE)
    client = wire.client()
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert header_of(wire.origin().take(), "host") == "stock.shop.svc"
    wire.origin().send(OK)


def test_another_cap_begins_with_the_addresses_that_are_known(wire: FakeWire) -> None:
    """A reload must not wait for the next answer."""
    wire.reload(upstream={**KUBERNETES, "pool": {"max_connections": 2}})
    assert [e.address for e in wire.upstream.pool.endpoints] == [ONE]
    find(wire, TWO)
    assert [e.address for e in wire.upstream.pool.endpoints] == [TWO]


def hold_out(wire: FakeWire, address: Address) -> None:
    """Eject an endpoint by hand, for a minute."""
    outlier, now_s = wire.upstream.outlier, wire.clock.now_s()
    assert outlier is not None
    (health,) = [h for h in wire.upstream.healths if h.name == str(address)]
    outlier.hold(health, now_s, now_s + 60)


def asked(wire: FakeWire) -> set[str]:
    """Return where some requests go."""
    for origin in wire.origins:
        origin.take()
    hosts = set()
    for _ in range(6):
        client = wire.client()
        client.send(get())
        [origin] = [o for o in wire.origins if o.take()]
        origin.send(OK)
        assert status_of(client.take()) == 200
        hosts.add(str(origin.transport.get_extra_info("peername")[0]))
    return hosts


@pytest.mark.parametrize("is_busy", [True, False])
def test_an_ejected_endpoint_that_comes_back_is_still_ejected(
    make: MakeWire, *, is_busy: bool
) -> None:
    """A name server that turns its answers round undoes no ejection."""
    wire = make(upstream=KUBERNETES)
    find(wire, ONE, TWO, THREE)
    client = wire.client()
    if is_busy:
        client.send(get())  # To the first one, which so is not forgotten at once.
    hold_out(wire, ONE)
    find(wire, TWO, THREE)
    assert asked(wire) == {TWO.host, THREE.host}
    find(wire, ONE, TWO, THREE)
    assert asked(wire) == {TWO.host, THREE.host}
    client.close()


def test_a_waiter_that_turns_to_another_endpoint_speaks_of_that_one(
    make: MakeWire,
) -> None:
    retry = {"preset": "off"}
    wire = make(upstream={**KUBERNETES, "pool": {"max_connections": 1}}, retry=retry)
    find(wire, ONE, TWO)
    first, second = wire.client(), wire.client()
    first.send(get())
    second.send(get())  # It waits for the other one.
    find(wire, ONE, THREE)
    wire.origin().send(OK)
    wire.origin().send(b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n")
    assert status_of(second.take()) == 503
    strikes = {h.name: h.strikes for h in wire.upstream.healths}
    assert sum(strikes.values()) == 1  # Of one that is there.
    for client in (first, second):
        client.close()
