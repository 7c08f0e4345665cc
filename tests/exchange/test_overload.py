"""A proxy that runs short of something refuses work before it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, FakeWire, get, post

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def wire() -> Iterator[FakeWire]:
    wire = FakeWire()
    yield wire
    wire.clock.advance(1.0)  # What was refused is counted.
    wire.end()


def be_short_of_memory(wire: FakeWire, used_ratio: float = 1.0) -> None:
    wire.recorder.admission.observe_memory(used_ratio)


def be_late(wire: FakeWire, in_flight: int = 0) -> None:
    """Be late for so long that only a few may be in flight."""
    for beat in range(40):
        now_s = wire.clock.now_s() + beat * 0.4
        wire.recorder.admission.observe_lag(now_s, 0.3, in_flight)


def test_a_refusal_says_that_nothing_was_done_and_when_to_come_again(
    wire: FakeWire,
) -> None:
    be_short_of_memory(wire)
    answer = wire.ask(get())
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-MEM-PRESSURE"
    assert header_of(answer, "x-316-processed") == "no"
    assert header_of(answer, "retry-after") in ("1", "2", "3")
    assert wire.origins == []


def test_refusals_do_not_all_ask_to_come_again_at_once(wire: FakeWire) -> None:
    be_short_of_memory(wire)
    client = wire.client()
    waits = set()
    for _ in range(12):
        client.send(get())
        waits.add(header_of(client.take(), "retry-after"))
    assert waits == {"1", "2", "3"}


def test_of_many_refusals_all_are_counted_and_one_a_second_is_recorded(
    wire: FakeWire,
) -> None:
    be_short_of_memory(wire)
    client = wire.client()
    ids = set()
    for _ in range(40):
        client.send(get())
        ids.add(header_of(client.take(), "x-316-fault-id"))
    assert wire.codes == ["316-MEM-PRESSURE"]
    assert ids == {wire.faults[0]["fault_id"]}
    wire.clock.advance(1.0)
    store = wire.recorder.store
    assert store.faults["316-MEM-PRESSURE", "P1", "app", "all"] == 40
    [series] = [s for key, s in store.requests.items() if key[3] == 503]
    assert sum(series.durations.counts) == store.failures == 40
    client.send(get())
    assert len(wire.codes) == 2


def test_the_connection_stays_when_memory_is_short(wire: FakeWire) -> None:
    be_short_of_memory(wire)
    client = wire.client()
    client.send(get())
    assert header_of(client.take(), "connection") is None
    be_short_of_memory(wire, 0.1)
    client.send(get())
    wire.origin().send(OK)
    assert status_of(client.take()) == 200


def test_who_is_refused_for_lag_has_to_connect_anew(wire: FakeWire) -> None:
    be_late(wire)
    clients = [wire.client() for _ in range(9)]
    for client in clients:
        client.send(get())
    assert [client.received for client in clients[:8]] == [b""] * 8
    answer = clients[8].take()
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-OVERLOAD"
    assert header_of(answer, "connection") == "close"
    assert clients[8].is_closed
    for origin in list(wire.origins):
        origin.send(OK)
    assert {status_of(client.take()) for client in clients[:8]} == {200}


def test_a_body_that_is_here_is_dropped_and_the_next_request_read(
    wire: FakeWire,
) -> None:
    be_short_of_memory(wire)
    client = wire.client()
    client.send(post(b"x" * 100) + get())
    answers = client.take()
    assert answers.count(b"HTTP/1.1 503") == 2
    assert not client.is_closed


@pytest.mark.parametrize(
    "request_",
    [
        get("/", "Content-Length: 100", method="POST") + b"part",
        get("/", "Transfer-Encoding: chunked", method="POST") + b"4\r\nabcd\r\n",
    ],
)
def test_a_body_that_is_to_come_ends_the_connection(
    wire: FakeWire, request_: bytes
) -> None:
    be_short_of_memory(wire)
    client = wire.client()
    client.send(request_)
    assert header_of(client.take(), "connection") == "close"
    client.send_eof()
    assert client.is_closed


def test_head_grpc_and_http_1_0_get_answers_that_they_can_read(wire: FakeWire) -> None:
    be_short_of_memory(wire)
    head = wire.ask(get(method="HEAD"))
    assert status_of(head) == 503
    assert body_of(head) == b""
    grpc = wire.ask(get("/", "Content-Type: application/grpc", method="POST"))
    assert (status_of(grpc), header_of(grpc, "grpc-status")) == (200, "8")
    old = wire.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
    assert header_of(old, "connection") == "close"


@pytest.mark.parametrize(
    "line",
    ["x-316-attempt: 2", "x-envoy-attempt-count: 3", "grpc-previous-rpc-attempts: 1"],
)
def test_marked_retries_are_refused_before_first_tries(
    wire: FakeWire, line: str
) -> None:
    be_short_of_memory(wire, 0.75)
    assert status_of(wire.ask(get("/", line))) == 503
    assert status_of(wire.ask(get(), OK)) == 200
    assert wire.recorder.admission.counts == {("memory", "retry"): 1}


def test_a_first_attempt_that_says_so_is_no_retry(wire: FakeWire) -> None:
    be_short_of_memory(wire, 0.75)
    lines = ("x-316-attempt: 1", "x-envoy-attempt-count: 1")
    assert status_of(wire.ask(get("/", *lines), OK)) == 200


def test_of_strangers_it_is_not_believed_that_they_try_again(wire: FakeWire) -> None:
    be_short_of_memory(wire, 0.75)
    client = wire.client("8.8.8.8")
    client.send(get("/", "x-316-attempt: 2"))
    wire.origin().send(OK)
    assert status_of(client.take()) == 200


def test_own_retries_are_not_made_and_that_is_told(wire: FakeWire) -> None:
    be_short_of_memory(wire, 0.75)
    wire.refuse()
    answer = wire.ask(get())
    assert header_of(answer, "x-316-code") == "316-CONN-REFUSED"
    assert wire.faults[0]["retry_skipped_reason"] == "overload"
    assert len(wire.faults[0]["attempts"]) == 1


def test_a_route_that_says_so_is_never_refused() -> None:
    wire = FakeWire(shed=False)
    be_short_of_memory(wire)
    be_late(wire)
    for _ in range(60):
        assert status_of(wire.ask(get("/healthz"), OK)) == 200
    wire.end()


def test_requests_in_flight_are_limited_in_all() -> None:
    wire = FakeWire(top={"overload": {"in_flight": 2}})
    clients = [wire.client() for _ in range(3)]
    for client in clients:
        client.send(get())
    assert header_of(clients[2].take(), "x-316-code") == "316-OVERLOAD"
    wire.origin(0).send(OK)
    clients[2].send(get())
    wire.origin(0).send(OK)
    wire.origin(1).send(OK)
    assert {status_of(client.take()) for client in clients} == {200}
    wire.clock.advance(1.0)
    wire.end()


def test_switched_off_everything_is_taken() -> None:
    wire = FakeWire(top={"overload": {"enabled": False, "in_flight": 1}})
    be_short_of_memory(wire)
    be_late(wire)
    clients = [wire.client() for _ in range(3)]
    for client in clients:
        client.send(get())
    for origin in list(wire.origins):
        origin.send(OK)
    assert [status_of(client.take()) for client in clients] == [200] * 3
    wire.end()


def test_that_it_is_late_is_told_once(wire: FakeWire) -> None:
    be_late(wire, 100)
    assert wire.codes == ["316-OVERLOAD"]
    assert "some are refused from now on" in wire.faults[0]["detail"]
