"""The caller's own limit: heeded, capped, and what is left of it handed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

GRPC = "Content-Type: application/grpc"


def left_ms(wire: FakeWire) -> int | None:
    """Return what the last request told the origin."""
    head = wire.origin().take().rpartition(b"GET / ")[2]
    value = header_of(b"GET / " + head, "x-316-deadline-ms")
    return None if value is None else int(value)


@pytest.mark.parametrize(
    ("line", "after_s"), [("x-316-deadline-ms: 700", 0.7), ("grpc-timeout: 2S", 2.0)]
)
def test_the_callers_limit_is_heeded(wire: FakeWire, line: str, after_s: float) -> None:
    client = wire.client()
    client.send(get("/", line))
    wire.clock.advance(after_s - 0.001)
    assert client.take() == b""
    wire.clock.advance(0.002)
    answer = client.take()
    assert status_of(answer) == 504
    assert header_of(answer, "x-316-code") == "316-DEADLINE-EXPIRED"
    assert wire.faults[0]["timeout_kind"] == "deadline"


def test_a_spent_limit_touches_nothing(wire: FakeWire) -> None:
    answer = wire.ask(get("/", "x-316-deadline-ms: 0"))
    assert header_of(answer, "x-316-code") == "316-DEADLINE-EXPIRED"
    assert header_of(answer, "x-316-processed") == "no"
    assert wire.origins == []


@pytest.mark.parametrize(
    ("line", "expected_ms"),
    [
        ("x-316-deadline-ms: 700", 700),
        ("grpc-timeout: 2S", 2000),
        ("grpc-timeout: 300m", 300),
        ("x-316-deadline-ms: 60000", 5000),
        ("A: b", 5000),
    ],
)
def test_what_is_left_is_handed_on(make: MakeWire, line: str, expected_ms: int) -> None:
    """The smaller one: of the caller's limit, and the route's."""
    wire = make(timeouts={"request": "5s"})
    client = wire.client()
    client.send(get("/", line))
    assert left_ms(wire) in {expected_ms, expected_ms - 1}
    wire.origin().send(OK)


def test_it_is_time_left_and_never_a_time_of_day(make: MakeWire) -> None:
    """Clocks of two hosts differ: what a retry may still take is told anew."""
    wire = make(retry={"preset": "idempotent", "backoff": {"base": "0s"}})
    client = wire.client()
    client.send(get("/", "x-316-deadline-ms: 5000"))
    assert left_ms(wire) == 5000
    wire.clock.advance(2)
    wire.origin().send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    assert left_ms(wire) == 3000
    wire.origin().send(OK)


def test_the_time_to_connect_is_taken_off(wire: FakeWire) -> None:
    wire.is_holding = True
    client = wire.client()
    client.send(get("/", "x-316-deadline-ms: 5000"))
    wire.clock.advance(2)
    wire.open_next()
    told_ms = left_ms(wire)
    wire.origin().send(OK)
    assert told_ms == 3000


def test_without_any_limit_none_is_told(make: MakeWire) -> None:
    wire = make(timeouts={"request": "0s"})
    client = wire.client()
    client.send(get())
    assert left_ms(wire) is None
    wire.origin().send(OK)


def test_the_callers_limit_holds_while_a_body_comes(wire: FakeWire) -> None:
    """It runs from the head on, unlike the route's."""
    client = wire.client()
    client.send(post(b"1234", "/", "x-316-deadline-ms: 900")[:-1])
    wire.clock.advance(0.901)
    assert header_of(client.take(), "x-316-code") == "316-DEADLINE-EXPIRED"


def test_the_callers_limit_holds_on_streams(make: MakeWire) -> None:
    """Who gave up does not read on."""
    wire = make(timeouts={"stream_idle": "1h"})
    client = wire.client()
    client.send(get("/", "x-316-deadline-ms: 900"))
    wire.origin().send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    wire.clock.advance(0.901)
    assert client.is_closed
    assert wire.codes == ["316-DEADLINE-EXPIRED"]


@pytest.mark.parametrize(
    "line",
    [
        "x-316-deadline-ms: soon",
        "x-316-deadline-ms: -1",
        "x-316-deadline-ms: 1.5",
        "x-316-deadline-ms:",
        "grpc-timeout: 5",
        "grpc-timeout: 123456789S",
    ],
)
def test_a_limit_that_cannot_be_read_is_refused(wire: FakeWire, line: str) -> None:
    answer = wire.ask(get("/", line))
    assert status_of(answer) == 400
    assert header_of(answer, "x-316-code") == "316-PROTO-CONTROL-HEADER"
    assert wire.origins == []


def test_a_strangers_control_header_is_not_heeded(make: MakeWire) -> None:
    """Nor handed on; grpc-timeout is the application's own, and anybody's."""
    wire = make(top={"trusted_peers": []}, timeouts={"request": "5s"})
    client = wire.client()
    client.send(get("/", "x-316-deadline-ms: 1"))
    assert left_ms(wire) == 5000
    wire.origin().send(OK)
    client.send(get("/", "grpc-timeout: 1S"))
    assert left_ms(wire) == 1000
    wire.origin().send(OK)
    assert client.take().count(b"\r\n\r\nok") == 2


def test_grpc_is_told_in_its_own_words(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get("/", GRPC, "grpc-timeout: 1S"))
    wire.clock.advance(1.001)
    answer = client.take()
    assert status_of(answer) == 200
    assert header_of(answer, "grpc-status") == "4"


def test_what_is_left_of_a_grpc_timeout_is_told_as_such(make: MakeWire) -> None:
    """A server of gRPC does not look for x-316-deadline-ms."""
    wire = make()
    wire.is_holding = True
    client = wire.client()
    client.send(get("/", GRPC, "grpc-timeout: 5S"))
    wire.clock.advance(2)
    wire.open_next()
    sent = wire.origin().take()
    wire.origin().send(OK)
    assert header_of(sent, "grpc-timeout") in {"3S", "3000m"}


def test_of_two_limits_of_a_caller_the_smaller_one_counts(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get("/", "x-316-deadline-ms: 9000", "grpc-timeout: 1S"))
    wire.clock.advance(1.001)
    assert wire.codes == ["316-DEADLINE-EXPIRED"]
