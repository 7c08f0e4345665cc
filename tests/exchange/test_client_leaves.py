"""A client that leaves: what was done for it ends at once, and nobody is blamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
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


@pytest.mark.parametrize("begin", [waiting, downloading])
def test_an_end_of_input_is_a_leave(wire: FakeWire, begin: object) -> None:
    """Who wants its connection to go on does not end it."""
    assert callable(begin)
    client = begin(wire)
    client.send_eof()
    assert client.is_closed
    assert wire.origin().is_closed
    assert wire.codes == ["316-CLIENT-ABORT"]


def test_an_end_of_input_in_a_body_is_a_leave_always(wire: FakeWire) -> None:
    client = wire.client()
    client.send(post(b"1234", "/", "Connection: close")[:-1])
    client.send_eof()
    assert client.is_closed
    assert not wire.origin().received.endswith(b"1234")
    assert wire.codes == ["316-CLIENT-ABORT"]


def test_who_said_close_may_end_its_half(wire: FakeWire) -> None:
    """As `nc` and old clients do: all is said, and the answer is waited for."""
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
