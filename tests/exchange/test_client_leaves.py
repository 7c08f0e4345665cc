"""A client that leaves: what was done for it ends at once, and nobody is blamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def waiting(wire: FakeWire) -> End:
    client = wire.client()
    client.send(get())
    return client


def downloading(wire: FakeWire) -> End:
    client = waiting(wire)
    wire.origin().send(CHUNKED + b"1\r\na\r\n")
    return client


def uploading(wire: FakeWire) -> End:
    client = wire.client()
    client.send(post(b"1234")[:-1])
    return client


def not_reading(wire: FakeWire) -> End:
    client = waiting(wire)
    client.stop_taking()
    wire.origin().send(CHUNKED + b"30000\r\n" + b"x" * 0x30000 + b"\r\n")
    return client


@pytest.mark.parametrize("begin", [waiting, downloading, uploading, not_reading])
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_its_attempt_ends_at_once(
    wire: FakeWire, begin: object, error: Exception | None
) -> None:
    """The connection is closed: what would still come on it is nobody's."""
    assert callable(begin)
    client = begin(wire)
    client.leave(error)
    assert wire.origin().is_closed
    assert wire.codes == ["316-CLIENT-ABORT"]
    assert not {"waiters", "connections", "requests", "in flight"} & set(wire.leftovers)


def queueing(wire: FakeWire) -> End:
    """Wait for the one connection, which is busy."""
    pool = wire.upstream.pool
    while pool.open_connections < pool._limits.max_connections:
        waiting(wire)
    return waiting(wire)


def connecting(wire: FakeWire) -> End:
    wire.is_holding = True
    return waiting(wire)


def sending(wire: FakeWire) -> End:
    """Have sent all, of which the origin takes nothing yet."""
    client = wire.client()
    body = b"x" * 200_000
    client.send(post(body)[:-200_000])
    wire.origin().stop_taking()
    client.send(body[:60_000])
    client.send(body[60_000:])
    return client


def half_told(wire: FakeWire) -> End:
    client = waiting(wire)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Le")
    return client


def told_of_a_length(wire: FakeWire) -> End:
    client = waiting(wire)
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
    return client


def resting(wire: FakeWire) -> End:
    """Wait before the next try."""
    client = waiting(wire)
    wire.origin().send(
        b"HTTP/1.1 503 No\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
    )
    return client


PHASES: dict[Callable[[FakeWire], End], str] = {
    queueing: "queue",
    connecting: "connect",
    sending: "wait",
    waiting: "wait",
    half_told: "wait",
    told_of_a_length: "body",
    downloading: "body",
    resting: "request",
}
LEAVES: dict[str, Callable[[End], None]] = {
    "close": lambda client: client.close(),
    "reset": lambda client: client.leave(ConnectionResetError()),
    "lost": lambda client: client.leave(),
}


@pytest.mark.parametrize("how", LEAVES)
@pytest.mark.parametrize("begin", PHASES, ids=lambda begin: begin.__name__)
def test_its_attempt_ends_within_a_turn_however_far_it_had_come(
    make: MakeWire, begin: Callable[[FakeWire], End], how: str
) -> None:
    """No time passes: also where a close looks like the end of what it sends."""
    wire = make(
        upstream={"pool": {"max_connections": 1}} if begin is queueing else {},
        retry={"preset": "idempotent", "codes": [503]},
    )
    before_s = wire.clock.now_s()
    client = begin(wire)
    LEAVES[how](client)
    assert wire.clock.now_s() == before_s
    assert client.is_closed
    assert wire.codes == ["316-CLIENT-ABORT"]
    record = wire.faults[0]
    assert record["phase"] == PHASES[begin]
    assert record["status"] == (200 if record["phase"] == "body" else 499)
    busy = 1 if begin is queueing else 0  # That of the one before it in the queue.
    assert wire.upstream.requests.count == busy
    assert wire.upstream.pool.pending == 0
    assert sum(endpoint.busy for endpoint in wire.upstream.pool.endpoints) == busy


@pytest.mark.parametrize("lines", [(), ("Connection: close",)])
@pytest.mark.parametrize("begin_s", [0, 14])
def test_who_has_said_all_still_gets_its_answer(
    wire: FakeWire, lines: tuple[str, ...], begin_s: float
) -> None:
    """However long it takes: it reads, and the probe does not find otherwise."""
    client = wire.client()
    client.send(get("/", *lines))
    client.shut_down_writing()
    wire.clock.advance(begin_s)
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"
    assert client.is_closed
    assert wire.codes == []


def test_who_has_said_all_gets_all_of_a_stream(wire: FakeWire) -> None:
    client = downloading(wire)
    client.shut_down_writing()
    wire.clock.advance(10)
    wire.origin().send(b"1\r\nb\r\n0\r\n\r\n")
    assert client.take().endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")
    assert client.is_closed
    assert wire.codes == []


def test_who_has_said_all_gets_all_that_it_asked_for(wire: FakeWire) -> None:
    """Several requests at once, and the end of input behind them."""
    client = wire.client()
    client.send(get("/1") + get("/2"))
    client.shut_down_writing()
    wire.origin().send(OK)
    wire.origin().send(OK)
    assert client.take().count(b"\r\n\r\nok") == 2
    assert client.is_closed


def test_who_closes_after_it_has_said_all_is_noticed(wire: FakeWire) -> None:
    """As one that waits in vain: the reset comes when it has."""
    client = waiting(wire)
    client.shut_down_writing()
    wire.clock.advance(3)
    assert not client.is_closed
    client.close_rest()
    wire.clock.advance(1.1)
    assert client.is_closed
    assert wire.origin().is_closed
    assert wire.codes == ["316-CLIENT-ABORT"]


@pytest.mark.parametrize("begin", [waiting, downloading])
def test_an_end_of_input_is_a_leave_where_that_is_configured(
    make: MakeWire, begin: Callable[[FakeWire], End]
) -> None:
    """Who wants its connection to go on does not end it."""
    wire = make(top={"limits": {"half_close": "abort"}})
    client = begin(wire)
    client.shut_down_writing()
    assert client.is_closed
    assert wire.origin().is_closed
    assert wire.codes == ["316-CLIENT-ABORT"]


def test_an_end_of_input_is_none_where_that_is_configured(make: MakeWire) -> None:
    wire = make(top={"limits": {"half_close": "serve"}})
    client = waiting(wire)
    client.close()
    assert not client.is_closed
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"


def test_an_end_of_input_in_a_body_is_a_leave_always(wire: FakeWire) -> None:
    client = wire.client()
    client.send(post(b"1234", "/", "Connection: close")[:-1])
    client.send_eof()
    assert client.is_closed
    assert not wire.origin().received.endswith(b"1234")
    assert wire.codes == ["316-CLIENT-ABORT"]


@pytest.mark.parametrize("half_close", ["probe", "serve", "abort"])
def test_who_said_close_may_end_its_half(make: MakeWire, half_close: str) -> None:
    """As `nc` and old clients do: all is said, and the answer is waited for."""
    wire = make(top={"limits": {"half_close": half_close}})
    client = wire.client()
    client.send(get("/", "Connection: close"))
    client.send_eof()
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"
    assert client.is_closed
    assert wire.codes == []


def test_a_leave_is_recorded_with_how_far_it_had_come(wire: FakeWire) -> None:
    waiting(wire).leave()
    record = wire.faults[0]
    assert (record["status"], record["origin"]) == (499, "client")
    assert record["phase"] == "wait"
    assert record["processed"] == "unknown"


def test_while_connecting_it_leaves_nothing_open(wire: FakeWire) -> None:
    wire.is_holding = True
    waiting(wire).leave()
    assert wire.openings[0].is_cancelled
    assert wire.upstream.pool.open_connections == 0
    assert wire.faults[0]["phase"] == "connect"


def test_between_two_requests_it_is_no_fault(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(OK)
    client.leave(ConnectionResetError())
    assert wire.codes == []
    assert not wire.origin().is_closed


@pytest.mark.parametrize("part", [b"", b"GET / HT"])
def test_before_a_request_it_is_no_fault(wire: FakeWire, part: bytes) -> None:
    """A port scan, or a load balancer that looks whether somebody listens."""
    client = wire.client()
    client.send(part or b"\r\n")
    client.send_eof()
    assert client.is_closed
    assert client.take() == b""
    assert wire.codes == []


def test_what_it_pipelined_is_not_served(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get("/1") + get("/2"))
    client.leave()
    assert b"/2" not in wire.origin().received
    assert len(wire.codes) == 1


def test_many_leaves_do_not_open_the_circuit(make: MakeWire) -> None:
    breaker = {"min_requests": 2, "consecutive_failures": 2}
    wire = make(circuit_breaker=breaker)
    for begin in (waiting, uploading, waiting, downloading) * 3:
        begin(wire).leave()
    assert body_of(wire.ask(get(), OK)) == b"ok"


def test_a_leave_during_the_last_piece_is_not_twice_recorded(wire: FakeWire) -> None:
    client = downloading(wire)
    client.transport.lose(None)
    wire.origin().transport.protocol.data_received(b"0\r\n\r\n")
    wire.turn()
    series = wire.recorder.store.requests.values()
    assert sum(sum(one.durations.counts) for one in series) == 1
