"""The circuit breaker between a request and its upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.policy.breaker import State
from sidecar.record.metrics.collector import SidecarCollector
from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

SWITCH = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
BUSY = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
BREAKER = {"min_requests": 3, "open": "10s", "open_max": "10s", "jitter": 0.0}
OFF = {"preset": "off"}


def opened(make: MakeWire, **more: Any) -> FakeWire:
    """Return a wire whose circuit has just opened."""
    wire = make(circuit_breaker={**BREAKER, **more}, retry=OFF)
    for _ in range(3):
        assert status_of(wire.ask(get(), BUSY)) == 503
    assert state_of(wire) is State.OPEN
    return wire


def state_of(wire: FakeWire) -> State:
    breaker = wire.runtime.routes[0].breaker
    assert breaker is not None
    return breaker.state


def is_refused(answer: bytes) -> bool:
    return header_of(answer, "x-316-code") == "316-CIRCUIT-OPEN"


def test_open_it_refuses_at_once_and_touches_nothing(make: MakeWire) -> None:
    wire = opened(make)
    seen = [origin.received for origin in wire.origins]
    began_s = wire.clock.now_s()
    answer = wire.ask(post())
    assert status_of(answer) == 503
    assert is_refused(answer)
    assert header_of(answer, "x-316-processed") == "no"
    assert wire.clock.now_s() == began_s
    assert [origin.received for origin in wire.origins] == seen
    assert len(wire.faults[0]["attempts"]) == 1


def test_its_refusal_tells_when_to_come_back(make: MakeWire) -> None:
    """Rounded up, so that who comes then is let in."""
    wire = opened(make)
    assert header_of(wire.ask(get()), "retry-after") == "10"
    wire.clock.advance(7.5)
    assert header_of(wire.ask(get()), "retry-after") == "3"
    wire.clock.advance(2.5)
    assert wire.ask(get(), OK).endswith(b"ok")


def test_it_is_not_open_a_moment_longer(make: MakeWire) -> None:
    wire = opened(make)
    wire.clock.advance(9.99)
    assert is_refused(wire.ask(get()))
    wire.clock.advance(0.01)
    assert wire.ask(get(), OK).endswith(b"ok")


def told_state(wire: FakeWire) -> float:
    """Return what a scraper is told."""
    collector = SidecarCollector(wire.recorder, wire.clock, lambda: wire.runtime)
    metrics = {metric.name: metric for metric in collector.collect()}
    [sample] = metrics["sidecar_breaker_state"].samples
    return sample.value


def test_when_its_time_is_over_it_is_not_told_as_open(make: MakeWire) -> None:
    """Also when nobody asks any more: an alert on it would never end."""
    wire = opened(make)
    assert told_state(wire) == 2
    wire.clock.advance(10)
    assert told_state(wire) == 1


def test_half_open_it_lets_only_so_many_probe(make: MakeWire) -> None:
    wire = opened(make, probes=2)
    wire.clock.advance(10)
    probes = [wire.client() for _ in range(2)]
    for probe in probes:
        probe.send(get())
    assert state_of(wire) is State.HALF_OPEN
    assert is_refused(wire.ask(get()))
    for origin in wire.origins[-2:]:
        origin.send(OK)
    assert [probe.take()[-2:] for probe in probes] == [b"ok", b"ok"]


def test_it_closes_after_enough_good_probes(make: MakeWire) -> None:
    wire = opened(make, probes_to_close=2)
    wire.clock.advance(10)
    wire.ask(get(), OK)
    assert state_of(wire) is State.HALF_OPEN
    wire.ask(get(), OK)
    assert state_of(wire) is State.CLOSED


def test_one_bad_probe_opens_it_again(make: MakeWire) -> None:
    wire = opened(make)
    wire.clock.advance(10)
    wire.ask(get(), OK)
    wire.ask(get(), BUSY)
    assert is_refused(wire.ask(get()))


def test_a_probe_that_never_ends_does_not_wedge_it(make: MakeWire) -> None:
    """Its lease is the request's limit: then another one may probe."""
    wire = opened(make, probes=1)
    wire.clock.advance(10)
    lost = wire.client()
    lost.send(get())
    wire.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert is_refused(wire.ask(get()))
    wire.clock.advance(15)
    assert wire.ask(get(), OK).endswith(b"ok")


def test_safe_methods_probe_first(make: MakeWire) -> None:
    """What may not be sent twice is not risked; after a second it is."""
    wire = opened(make)
    wire.clock.advance(10)
    assert is_refused(wire.ask(post()))
    wire.clock.advance(1)
    assert wire.ask(post(), OK).endswith(b"ok")


def test_a_client_that_leaves_says_nothing_of_the_upstream(make: MakeWire) -> None:
    """Neither good nor bad; and a probe of it gives its place free."""
    wire = opened(make, probes=1, probes_to_close=1)
    wire.clock.advance(10)
    for _ in range(3):
        client = wire.client()
        client.send(get())
        client.leave()
        assert state_of(wire) is State.HALF_OPEN
    wire.ask(get(), OK)
    assert state_of(wire) is State.CLOSED


@pytest.mark.parametrize("status", [400, 404, 409, 429, 500, 501])
def test_what_the_application_answers_by_right_does_not_open_it(
    make: MakeWire, status: int
) -> None:
    wire = make(circuit_breaker=BREAKER)
    for _ in range(5):
        wire.ask(get(), b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
    assert state_of(wire) is State.CLOSED


@pytest.mark.parametrize("status", [502, 503, 504])
def test_answers_of_a_gateway_open_it(make: MakeWire, status: int) -> None:
    wire = make(circuit_breaker=BREAKER)
    for _ in range(3):
        wire.ask(get(), b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
    assert state_of(wire) is State.OPEN


def test_lost_connections_in_a_row_open_it(make: MakeWire) -> None:
    """Long before there are enough requests for a ratio."""
    wire = make(retry=OFF, circuit_breaker={"consecutive_failures": 3})
    for _ in range(3):
        wire.client().send(get())
        wire.origin().leave(ConnectionResetError())
    assert state_of(wire) is State.OPEN


def test_a_tunnel_that_breaks_says_nothing_of_the_upstream(make: MakeWire) -> None:
    """It did switch: what is spoken from then on is not HTTP, nor for how long."""
    wire = make(
        circuit_breaker=BREAKER | {"consecutive_failures": 2, "slow_call": "1s"}
    )
    for _ in range(5):
        client = wire.client()
        client.send(get("/", "Connection: upgrade", "Upgrade: echo"))
        wire.origin().send(SWITCH)
        wire.clock.advance(2.0)
        wire.origin().leave(ConnectionResetError())
    assert state_of(wire) is State.CLOSED
    assert wire.codes == ["316-DATA-TRUNCATED"] * 5


def test_a_tunnel_that_opens_is_a_good_probe(make: MakeWire) -> None:
    wire = opened(make, probes=1, probes_to_close=1)
    wire.clock.advance(10.0)
    wire.client().send(get("/", "Connection: upgrade", "Upgrade: echo"))
    wire.origin().send(SWITCH)
    assert state_of(wire) is State.CLOSED


def test_slow_answers_are_no_lost_connections(make: MakeWire) -> None:
    wire = make(
        retry=OFF,
        timeouts={"per_try": "1s"},
        circuit_breaker={"consecutive_failures": 3},
    )
    for _ in range(5):
        wire.client().send(get())
        wire.clock.advance(1.1)
    assert state_of(wire) is State.CLOSED


def test_every_try_is_counted(make: MakeWire) -> None:
    retry = {"preset": "idempotent", "max_retries": 2, "backoff": {"base": "0s"}}
    wire = make(retry=retry, circuit_breaker=BREAKER)
    wire.ask(get(), BUSY, BUSY, BUSY)
    assert state_of(wire) is State.OPEN


def test_a_retry_into_an_open_circuit_is_told_as_such(make: MakeWire) -> None:
    """What opened it is told: that it is open now is only why there was no other."""
    retry = {"max_retries": 2, "backoff": {"base": "0s"}}
    wire = make(retry=retry, circuit_breaker={"consecutive_failures": 1})
    client = wire.client()
    client.send(get())
    wire.origin().leave()
    answer = client.take()
    assert status_of(answer) == 502
    assert header_of(answer, "x-316-code") == "316-RETRY-EXHAUSTED"
    assert wire.faults[0]["retry_skipped_reason"] == "circuit_open"
    codes = [a["code"] for a in wire.faults[0]["attempts"]]
    assert codes == ["316-CONN-TERMINATED", "316-CIRCUIT-OPEN"]
    assert wire.faults[0]["processed"] == "unknown"


def test_refusals_of_caps_and_circuits_do_not_count(make: MakeWire) -> None:
    """Else an open circuit would keep itself open."""
    pool = {"max_requests": 1}
    wire = make(upstream={"pool": pool}, circuit_breaker=BREAKER)
    holder = wire.client()
    holder.send(get())
    for _ in range(20):
        assert status_of(wire.ask(get())) == 503
    assert state_of(wire) is State.CLOSED
    wire.origin().send(OK)


def test_routes_have_breakers_of_their_own(make: MakeWire) -> None:
    """A slow report does not take the whole upstream away."""
    routes = [
        {"name": name, "upstream": "app", "matches": [{"path": {"value": f"/{name}"}}]}
        for name in ("a", "b")
    ]
    top = {"routes": [{**r, "retry": OFF, "circuit_breaker": BREAKER} for r in routes]}
    wire = make(top=top)
    for _ in range(3):
        wire.ask(get("/a"), BUSY)
    assert is_refused(wire.ask(get("/a")))
    assert wire.ask(get("/b"), OK).endswith(b"ok")


def test_without_a_breaker_nothing_is_refused(make: MakeWire) -> None:
    wire = make(circuit_breaker="off", retry=OFF)
    for _ in range(50):
        assert not is_refused(wire.ask(get(), BUSY))


def test_a_wait_for_a_connection_says_nothing_of_the_upstream(make: MakeWire) -> None:
    """It was not asked anything: a cap of ours ran out of time."""
    breaker = {"min_requests": 1, "consecutive_failures": 0}
    wire = make(
        retry=OFF,
        timeouts={"request": "2s"},
        upstream={"pool": {"max_connections": 1}},
        circuit_breaker=breaker,
    )
    wire.client().send(get())
    wire.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(3):
        wire.client().send(get())
    wire.clock.advance(2.1)
    assert wire.codes == ["316-TIMEOUT-ERR"] * 3
    assert state_of(wire) is State.CLOSED


def test_a_client_that_reads_slowly_cannot_open_it(make: MakeWire) -> None:
    """The request's time ran out while the upstream was held back for it."""
    breaker = {"min_requests": 1, "consecutive_failures": 0}
    wire = make(timeouts={"request": "2s"}, circuit_breaker=breaker)
    client = wire.client()
    client.stop_taking()
    client.send(get())
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n"
    wire.origin().send(head + b"x" * 200_000)
    wire.clock.advance(2.1)
    assert wire.codes == ["316-TIMEOUT-ERR"]
    assert state_of(wire) is State.CLOSED


SLOW = {"min_requests": 1, "slow_call": "1s", "slow_ratio": "80%"}
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 200001\r\n\r\n"


def test_a_slow_answer_opens_it_where_that_is_asked_for(make: MakeWire) -> None:
    wire = make(circuit_breaker=SLOW)
    wire.client().send(get())
    wire.clock.advance(1.1)
    wire.origin().send(OK)
    assert state_of(wire) is State.OPEN


def test_a_client_that_is_slow_is_no_slow_answer(make: MakeWire) -> None:
    """Neither one that takes its time to read, nor one that does to send."""
    wire = make(circuit_breaker=SLOW)
    reader, sender = wire.client(), wire.client()
    reader.stop_taking()
    reader.send(get())
    wire.origin().send(LENGTH + b"x" * 200_000)
    wire.clock.advance(1.1)
    reader.take_all()
    wire.origin().send(b"x")
    sender.send(post()[:-1])
    wire.clock.advance(1.1)
    sender.send(b"a")
    wire.origin().send(OK)
    assert sender.take().endswith(b"ok")
    assert state_of(wire) is State.CLOSED
