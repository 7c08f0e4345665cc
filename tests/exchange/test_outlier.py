"""Endpoints that fail or are absent, between a request and its upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.policy.breaker import State
from sidecar.policy.outlier import Standing
from sidecar.record.metrics.collector import SidecarCollector
from tests.exchange.again import BOTH, TWO, answer, ask
from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

ONE, OTHER = TWO["endpoints"]
NO_BUDGET = {"retry_budget": {"ratio": "0%", "min_per_sec": 0, "min_concurrent": 0}}
PEERS = {**TWO, **NO_BUDGET, "is_peer": True}
OFF = {"preset": "off"}
AT_ONCE = {"backoff": {"base": "0s"}}


def host_of(origin: End) -> str:
    return str(origin.transport.get_extra_info("peername")[0])


def standings(wire: FakeWire) -> list[str]:
    now_s = wire.clock.now_s()
    return [health.standing_at(now_s).value for health in wire.upstream.healths]


def unprocessed(code: str, status: int = 503) -> bytes:
    return answer(status, "x-316-processed: no", f"x-316-code: {code}")


def serve(wire: FakeWire, requests: int, request: bytes = get()) -> list[str]:
    """Send requests that are answered; return the endpoint that each was sent to."""
    served = []
    for _ in range(requests):
        client = ask(wire, request)
        [origin] = [o for o in wire.origins if o.take()]
        origin.send(OK)
        assert client.take().endswith(b"ok")
        served.append(host_of(origin))
    return served


def breaker_state(wire: FakeWire) -> State:
    breaker = wire.runtime.routes[0].breaker
    assert breaker is not None
    return breaker.state


@BOTH
def test_who_refuses_connections_gets_no_more_first_tries(
    make: MakeWire, request_: bytes
) -> None:
    """Nothing is lost, nothing is taken from the budget, the breaker stays closed."""
    wire = make(upstream={**TWO, **NO_BUDGET})
    wire.refuse(ONE)
    assert set(serve(wire, 50, request_)) == {OTHER.split(":")[0]}
    assert wire.recorder.store.retries == {("app", "316-CONN-REFUSED"): 1}
    assert standings(wire) == ["avoided", "healthy"]
    assert breaker_state(wire) is State.CLOSED


def test_a_burst_of_refusals_neither_opens_the_breaker_nor_loses_a_request(
    make: MakeWire,
) -> None:
    wire = make(upstream={**TWO, **NO_BUDGET}, circuit_breaker={"min_requests": 3})
    wire.is_holding = True
    clients = [ask(wire, post()) for _ in range(20)]
    wire.refuse(ONE)
    while wire.openings:
        wire.open_next()
    for origin in wire.origins:
        origin.send(OK)
    assert all(client.take().endswith(b"ok") for client in clients)
    assert breaker_state(wire) is State.CLOSED
    assert wire.upstream.healths[0].strikes == 1


def test_one_request_probes_who_was_absent_and_brings_it_back(make: MakeWire) -> None:
    wire = make(upstream=TWO)
    wire.refuse(ONE)
    serve(wire, 2)
    wire.clock.advance(1.2)
    serve(wire, 10)  # One of them probes, and is sent on.
    assert wire.recorder.store.retries == {("app", "316-CONN-REFUSED"): 2}
    del wire.errors[ONE]
    wire.clock.advance(2.3)
    serve(wire, 1)
    assert standings(wire) == ["healthy", "healthy"]
    assert len(set(serve(wire, 2))) == 2


def test_a_probe_whose_client_leaves_makes_room_for_the_next(make: MakeWire) -> None:
    wire = make(upstream=TWO)
    wire.refuse(ONE)
    serve(wire, 2)
    del wire.errors[ONE]
    wire.clock.advance(1.2)
    leaving = ask(wire, get())
    wire.origin().take()
    assert standings(wire)[0] == "probing"
    assert serve(wire, 3) == [OTHER.split(":")[0]] * 3
    leaving.leave()
    serve(wire, 1)
    assert standings(wire) == ["healthy", "healthy"]


def test_five_bad_answers_in_a_row_eject(make: MakeWire) -> None:
    wire = make(upstream=TWO, retry=OFF, circuit_breaker="off")
    fails = ONE.split(":")[0]
    for _ in range(10):
        client = ask(wire, get())
        [origin] = [o for o in wire.origins if o.take()]
        origin.send(answer(503) if host_of(origin) == fails else OK)
        client.take()
    assert standings(wire) == ["ejected", "healthy"]
    assert set(serve(wire, 10)) == {OTHER.split(":")[0]}
    wire.clock.advance(34)
    assert fails in serve(wire, 1)


def test_the_only_endpoint_is_never_left_out(make: MakeWire) -> None:
    wire = make(retry=OFF, circuit_breaker="off")
    wire.refuse()
    codes = [header_of(wire.ask(get()), "x-316-code") for _ in range(20)]
    assert set(codes) == {"316-CONN-REFUSED"}
    assert standings(wire) == ["healthy"]


@BOTH
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("316-DRAINING", 503),
        ("316-CIRCUIT-OPEN", 503),
        ("316-CONN-REFUSED", 502),
        ("316-RETRY-EXHAUSTED", 502),
    ],
)
def test_a_peer_that_can_serve_nothing_is_avoided(
    make: MakeWire, request_: bytes, code: str, status: int
) -> None:
    wire = make(upstream=PEERS)
    client = ask(wire, request_)
    wire.origin().send(unprocessed(code, status))
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    assert standings(wire) == ["avoided", "healthy"]
    for origin in wire.origins:
        origin.take()
    assert set(serve(wire, 6)) == {OTHER.split(":")[0]}


@pytest.mark.parametrize("code", ["316-SHED", "316-POOL-EXHAUSTED", "316-OVERLOAD"])
def test_a_peer_that_is_busy_is_nobodys_failure(make: MakeWire, code: str) -> None:
    """Nor the breaker's (semantics, 2.4): to leave it would overload the others."""
    wire = make(upstream=PEERS, retry=OFF, circuit_breaker={"min_requests": 3})
    for _ in range(20):
        client = ask(wire, get())
        [origin] = [o for o in wire.origins if o.take()]
        origin.send(unprocessed(code))
        assert status_of(client.take()) == 503
    assert standings(wire) == ["healthy", "healthy"]
    assert breaker_state(wire) is State.CLOSED


def test_who_is_no_peer_cannot_ask_to_be_left_alone(make: MakeWire) -> None:
    wire = make(upstream=TWO, retry=OFF)
    wire.ask(get(), unprocessed("316-DRAINING"))
    assert standings(wire) == ["healthy", "healthy"]


def test_a_full_pool_ejects_nobody(make: MakeWire) -> None:
    """Our own refusals say nothing of an endpoint (envoyproxy/envoy#25487)."""
    pool = {"max_connections": 1, "max_pending": 0}
    wire = make(upstream={**TWO, "pool": pool}, retry=OFF)
    first = ask(wire, get())
    codes = [header_of(wire.ask(get()), "x-316-code") for _ in range(20)]
    assert set(codes) == {"316-POOL-EXHAUSTED"}
    wire.origin().send(OK)
    first.take()
    assert standings(wire) == ["healthy", "healthy"]


def test_who_came_back_unseen_serves_when_the_other_goes(make: MakeWire) -> None:
    """As in a rolling restart: the next one ends before this one was probed."""
    wire = make(upstream={**TWO, **NO_BUDGET}, circuit_breaker={"min_requests": 3})
    wire.refuse(ONE)
    serve(wire, 4)
    del wire.errors[ONE]
    for origin in wire.origins:
        origin.leave()
    wire.refuse(OTHER)
    wire.clock.advance(0.001)
    wire.is_holding = True
    clients = [ask(wire, post()) for _ in range(20)]
    while wire.openings:
        wire.open_next()
    for origin in wire.origins:
        origin.send(OK)
    assert all(client.take().endswith(b"ok") for client in clients)
    assert standings(wire) == ["healthy", "avoided"]
    assert breaker_state(wire) is State.CLOSED


def test_when_all_are_absent_the_breaker_speaks_for_the_upstream(
    make: MakeWire,
) -> None:
    wire = make(upstream=TWO, retry=OFF)
    wire.refuse()
    codes = [header_of(wire.ask(get()), "x-316-code") for _ in range(10)]
    assert codes[-1] == "316-CIRCUIT-OPEN"


def test_all_down_may_be_told_at_once(make: MakeWire) -> None:
    wire = make(
        upstream={**TWO, "outlier": {"on_all_down": "fail"}},
        retry=AT_ONCE,
        circuit_breaker="off",
    )
    wire.refuse()
    told = wire.ask(post())
    assert header_of(told, "x-316-code") == "316-RETRY-EXHAUSTED"
    assert wire.faults[0]["retry_skipped_reason"] == "no_endpoint"
    told = wire.ask(post())
    assert status_of(told) == 503
    assert header_of(told, "x-316-code") == "316-UPSTREAM-UNHEALTHY"
    assert header_of(told, "x-316-processed") == "no"
    assert header_of(told, "retry-after") == "1"
    assert ONE in wire.faults[0]["detail"]


def test_switched_off_every_endpoint_has_its_turn(make: MakeWire) -> None:
    wire = make(upstream={**TWO, "outlier": "off"}, retry=OFF, circuit_breaker="off")
    wire.refuse(ONE)
    for _ in range(10):
        assert header_of(wire.ask(get()), "x-316-code") == "316-CONN-REFUSED"
        serve(wire, 1)


def test_a_tunnel_is_one_good_attempt_however_it_ends(make: MakeWire) -> None:
    wire = make(upstream=TWO)
    client = ask(wire, get("/", "Connection: Upgrade", "Upgrade: echo"))
    wire.origin().send(
        b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    )
    wire.origin().leave()
    client.take()
    [good] = [h for h in wire.upstream.healths if h.good]
    assert (good.good, good.bad, good.strikes) == (1, 0, 0)


def test_it_lives_through_a_reload_that_leaves_its_upstream(make: MakeWire) -> None:
    wire = make(upstream=TWO)
    wire.refuse(ONE)
    serve(wire, 2)
    wire.reload(upstream=TWO, timeouts={"request": "1s"})
    assert standings(wire) == ["avoided", "healthy"]
    wire.reload(upstream={**TWO, "outlier": {"interval": "1s"}})
    assert standings(wire) == ["healthy", "healthy"]


def told(wire: FakeWire) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what a scraper is told of endpoints."""
    collector = SidecarCollector(wire.recorder, wire.clock, lambda: wire.runtime)
    return {
        metric.name: {
            tuple(v for k, v in sample.labels.items() if k != "upstream"): sample.value
            for sample in metric.samples
            if sample.name.endswith(("_total", metric.name))
        }
        for metric in collector.collect()
        if metric.name.startswith("sidecar_upstream_")
    }


def test_metrics_tell_who_is_out_and_why(make: MakeWire) -> None:
    wire = make(upstream=TWO, retry=OFF, circuit_breaker="off")
    wire.refuse(ONE)
    ask(wire, get()).take()
    shown: dict[str, Any] = told(wire)
    assert shown["sidecar_upstream_avoidances"] == {("absent",): 1}
    by_state = {(s.value,): 0 for s in Standing} | {("avoided",): 1, ("healthy",): 1}
    assert shown["sidecar_upstream_endpoints"] == by_state
    assert shown["sidecar_upstream_panic"] == {(): 0}
    wire.refuse(OTHER)
    ask(wire, get()).take()
    assert told(wire)["sidecar_upstream_panic"] == {(): 1}


def test_the_sweep_compares_success_rates(make: MakeWire) -> None:
    six = {"endpoints": [f"10.0.0.{n}:80" for n in range(1, 7)]}
    wire = make(upstream=six)
    wire.runtime.sweep()
    for health in wire.upstream.healths:
        health.good = 200
    wire.upstream.healths[3].bad = 200
    wire.clock.advance(10)
    wire.runtime.sweep()
    assert standings(wire).index("ejected") == 3
    assert told(wire)["sidecar_upstream_ejections"] == {("success_rate",): 1}


def test_upgrades_that_reach_nobody_open_the_breaker(make: MakeWire) -> None:
    """They are not tried again, so another endpoint does not make up for it."""
    wire = make(upstream=TWO)
    wire.refuse()
    for _ in range(8):
        client = ask(wire, get("/", "Connection: Upgrade", "Upgrade: websocket"))
        assert status_of(client.take()) in (502, 503)
        client.close()
    assert breaker_state(wire) is State.OPEN


@BOTH
def test_a_dead_pooled_connection_takes_nothing_from_the_budget(
    make: MakeWire, request_: bytes
) -> None:
    """Nothing was sent on it: no endpoint has more to do for the retry."""
    wire = make(upstream={**TWO, **NO_BUDGET})
    serve(wire, 1)
    client = ask(wire, get())  # The turn of the other one.
    wire.origin().send(OK)
    client.close()
    for origin in wire.origins:
        origin.leave_unread(b"x")  # It is about to be told of as closed.
    client = ask(wire, request_)
    wire.clock.advance(1)
    wire.turn()
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
