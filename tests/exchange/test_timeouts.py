"""Each limit of time is reached at its time, not before, and told by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End
    from tests.support.wire import FakeWire

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n"
UPGRADE = get("/", "Connection: Upgrade", "Upgrade: echo")
SWITCH = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
LARGE = post(b"x" * 400_000)
A_BIT_S = 0.001


def ask(wire: FakeWire, request: bytes = get(), answer: bytes = b"") -> End:
    client = wire.client()
    client.send(request)
    if answer:
        wire.origin().send(answer)
    return client


def fill_upstream(wire: FakeWire) -> End:
    client = ask(wire, LARGE[:100])
    wire.origin().stop_taking()
    client.send(LARGE[100:200_000])
    return client


def fill_client(wire: FakeWire) -> End:
    client = ask(wire)
    client.stop_taking()
    wire.origin().send(CHUNKED)
    wire.origin().send(b"30000\r\n" + b"x" * 0x30000 + b"\r\n")
    return client


@dataclass(frozen=True)
class Row:
    """What a client and an origin do, and which limit ends it."""

    kind: str
    code: str
    status: int  # Of the record: what the client saw.
    begin: Callable[[FakeWire], End]
    limits: dict[str, Any]
    due_s: float = 7.0


ROWS = [
    Row("request", "316-TIMEOUT-ERR", 504, ask, {"request": "7s"}),
    Row(
        "request",
        "316-TIMEOUT-ERR",
        200,
        lambda wire: ask(wire, answer=LENGTH + b"half"),
        {"request": "7s"},
    ),
    Row("per_try", "316-TIMEOUT-TRY", 504, ask, {"per_try": "7s"}),
    # Without a limit of the request, silence ends the wait for an answer.
    Row(
        "stream_idle",
        "316-TIMEOUT-IDLE",
        504,
        ask,
        {"request": "off", "stream_idle": "7s"},
    ),
    Row(
        "per_try_idle",
        "316-TIMEOUT-READ",
        200,
        lambda wire: ask(wire, answer=CHUNKED),
        {"per_try_idle": "7s"},
    ),
    Row(
        "stream_idle",
        "316-TIMEOUT-IDLE",
        200,
        lambda wire: ask(wire, answer=CHUNKED),
        {"stream_idle": "7s"},
    ),
    Row(
        "tunnel_idle",
        "316-TIMEOUT-IDLE",
        101,
        lambda wire: ask(wire, UPGRADE, SWITCH),
        {"tunnel_idle": "7s"},
    ),
    Row(
        "request_body_idle",
        "316-CLIENT-SLOW",
        408,
        lambda wire: ask(wire, LARGE[:300]),
        {"request_body_idle": "7s"},
    ),
    Row(
        "upstream_write", "316-TIMEOUT-WRITE", 504, fill_upstream, {"stream_idle": "7s"}
    ),
    Row(
        "downstream_write",
        "316-CLIENT-SLOW",
        200,
        fill_client,
        {"downstream_write": "7s"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}-{row.status}")
def test_a_limit_is_reached_at_its_time(make: MakeWire, row: Row) -> None:
    wire = make(timeouts={"request": "1h", **row.limits}, retry={"preset": "off"})
    row.begin(wire)
    wire.clock.advance(row.due_s - A_BIT_S)
    assert wire.codes == []
    wire.clock.advance(2 * A_BIT_S)
    record = wire.faults[0]
    assert record["timeout_kind"] == row.kind
    assert (record["code"], record["status"]) == (row.code, row.status)
    assert wire.origin().is_closed


def test_a_head_must_come_in_time(make: MakeWire) -> None:
    """From its first byte on, however slowly the others come."""
    wire = make(top={"limits": {"request_headers": "7s", "keep_alive": "70s"}})
    client = wire.client()
    wire.clock.advance(20)
    for byte in b"GET / ":
        client.send(bytes([byte]))
        wire.clock.advance(1)
    wire.clock.advance(1 - A_BIT_S)
    assert client.take() == b""
    wire.clock.advance(2 * A_BIT_S)
    answer = client.take()
    assert status_of(answer) == 408
    assert header_of(answer, "x-316-code") == "316-CLIENT-SLOW"
    assert wire.faults[0]["timeout_kind"] == "request_headers"


@pytest.mark.parametrize("kind", ["downstream_write", "request_body_idle"])
def test_a_slow_client_is_not_the_upstreams_fault(make: MakeWire, kind: str) -> None:
    breaker = {"min_requests": 1, "consecutive_failures": 1}
    wire = make(timeouts={kind: "7s"}, circuit_breaker=breaker)
    row = next(row for row in ROWS if row.kind == kind)
    row.begin(wire)
    wire.clock.advance(7.1)
    assert wire.faults[0]["origin"] == "client"
    assert wire.ask(get(), OK).endswith(b"ok")


@pytest.mark.parametrize(
    ("request_", "answer"), [(get(), CHUNKED), (get(), SSE), (UPGRADE, SWITCH)]
)
def test_the_request_limit_is_off_on_streams(
    make: MakeWire, request_: bytes, answer: bytes
) -> None:
    """Of which nobody knows how long they are meant to last."""
    wire = make(timeouts={"request": "5s", "per_try": "4s", "stream_idle": "1h"})
    client = ask(wire, request_, answer)
    wire.clock.advance(1000)
    assert wire.codes == []
    assert not client.is_closed


@pytest.mark.parametrize("answer", [CHUNKED + b"1\r\na\r\n", LENGTH + b"a"])
def test_any_byte_starts_the_idle_limit_anew(make: MakeWire, answer: bytes) -> None:
    wire = make(timeouts={"request": "1h", "stream_idle": "10s"})
    ask(wire, answer=answer)
    more = b"1\r\nb\r\n" if answer.startswith(CHUNKED) else b"b"
    for _ in range(5):
        wire.clock.advance(9)
        wire.origin().send(more)
    wire.clock.advance(10 - A_BIT_S)
    assert wire.codes == []
    wire.clock.advance(2 * A_BIT_S)
    assert wire.codes == ["316-TIMEOUT-IDLE"]


def test_the_request_limit_runs_from_the_end_of_its_body(make: MakeWire) -> None:
    """An upload may take long, as long as it moves."""
    wire = make(timeouts={"request": "5s"})
    client = ask(wire, post(b"12345678")[:-8])
    for byte in b"12345678":
        wire.clock.advance(50)
        client.send(bytes([byte]))
    wire.clock.advance(5 - A_BIT_S)
    assert wire.codes == []
    wire.clock.advance(2 * A_BIT_S)
    assert wire.codes == ["316-TIMEOUT-ERR"]
    assert status_of(client.take()) == 504


def test_so_does_the_limit_of_its_try(make: MakeWire) -> None:
    wire = make(timeouts={"request": "20s", "per_try": "5s"}, retry={"preset": "off"})
    client = ask(wire, post(b"1234")[:-1])
    wire.clock.advance(50)
    client.send(b"4")
    wire.clock.advance(5 - A_BIT_S)
    assert wire.codes == []
    wire.clock.advance(2 * A_BIT_S)
    assert wire.codes == ["316-TIMEOUT-TRY"]


def test_the_request_limit_covers_all_tries_and_waits(make: MakeWire) -> None:
    wire = make(
        timeouts={"request": "9s", "per_try": "4s"},
        retry={"preset": "idempotent", "backoff": {"base": "0s"}},
    )
    ask(wire)
    wire.clock.advance(9 - A_BIT_S)
    assert wire.codes == []
    assert len(wire.origins) == 3
    wire.clock.advance(2 * A_BIT_S)
    assert wire.faults[0]["timeout_kind"] == "request"
    assert [a["code"] for a in wire.faults[0]["attempts"]][:2] == [
        "316-TIMEOUT-TRY"
    ] * 2


def test_connecting_is_a_part_of_a_try(make: MakeWire) -> None:
    wire = make(timeouts={"request": "9s", "per_try": "4s"}, retry={"preset": "off"})
    wire.is_holding = True
    client = ask(wire)
    wire.clock.advance(4.1)
    assert header_of(client.take(), "x-316-processed") == "no"
    assert wire.faults[0]["phase"] == "connect"
    assert wire.openings[0].is_cancelled


def test_no_limit_is_no_limit(make: MakeWire) -> None:
    """However long it takes, if there is not too long a silence at once."""
    wire = make(timeouts={"request": "0s", "stream_idle": "10s"})
    client = ask(wire, answer=CHUNKED)
    for _ in range(10_000):
        wire.clock.advance(9.9)
        wire.origin().send(b"1\r\nx\r\n")
    wire.origin().send(b"0\r\n\r\n")
    assert client.take().endswith(b"0\r\n\r\n")


def test_the_limit_of_one_request_is_not_that_of_the_next(make: MakeWire) -> None:
    wire = make(timeouts={"request": "10s"})
    client = wire.client()
    for _ in range(5):
        client.send(get())
        wire.clock.advance(9)
        wire.origin().send(OK)
        wire.clock.advance(9)
    assert wire.codes == []
    assert client.take().count(b"\r\n\r\nok") == 5


def test_a_reader_that_was_full_has_its_time_anew(make: MakeWire) -> None:
    """Slow is not stuck: what counts is that it reads again in time."""
    wire = make(
        timeouts={"request": "1h", "downstream_write": "7s", "stream_idle": "20s"}
    )
    client = fill_client(wire)
    for _ in range(5):
        wire.clock.advance(6)
        client.take_all()
        client.stop_taking()
        wire.origin().send(b"30000\r\n" + b"x" * 0x30000 + b"\r\n")
    assert wire.codes == []
    wire.clock.advance(7.1)
    assert wire.codes == ["316-CLIENT-SLOW"]


def test_an_upstream_that_was_full_has_its_time_anew(make: MakeWire) -> None:
    wire = make(
        timeouts={"request": "1h", "stream_idle": "7s", "request_body_idle": "20s"}
    )
    client = fill_upstream(wire)
    wire.clock.advance(6)
    wire.origin().take_all()
    wire.clock.advance(20 - A_BIT_S)
    assert wire.codes == []
    wire.clock.advance(2 * A_BIT_S)
    assert wire.faults[0]["timeout_kind"] == "request_body_idle"
    assert status_of(client.take()) == 408


# What does not hold yet.


def test_a_client_that_is_full_from_the_first_piece_on(make: MakeWire) -> None:
    wire = make(
        timeouts={"request": "1h", "downstream_write": "7s", "stream_idle": "70s"}
    )
    client = wire.client()
    client.stop_taking()
    client.send(get())
    wire.origin().send(CHUNKED + b"30000\r\n" + b"x" * 0x30000 + b"\r\n")
    wire.clock.advance(7.1)
    assert wire.codes == ["316-CLIENT-SLOW"]


def test_an_upstream_that_is_full_from_the_last_piece_on(make: MakeWire) -> None:
    wire = make(timeouts={"request": "0s", "stream_idle": "7s"})
    client = ask(wire, LARGE[:100])
    wire.origin().stop_taking()
    client.send(LARGE[100:])
    wire.clock.advance(7.1)
    assert wire.codes == ["316-TIMEOUT-WRITE"]


EARLY = [CHUNKED + b"1\r\na\r\n", LENGTH + b"a"]


@pytest.mark.parametrize("answer", EARLY)
def test_an_early_response_may_not_stall_after_the_upload(
    make: MakeWire, answer: bytes
) -> None:
    wire = make(timeouts={"request": "0s", "stream_idle": "7s"})
    client = ask(wire, post(b"1234")[:-1], answer)
    client.send(b"4")
    wire.clock.advance(7.1)
    assert wire.codes == ["316-TIMEOUT-IDLE"]


def test_the_request_limit_stays_off_on_a_stream_that_began_early(
    make: MakeWire,
) -> None:
    wire = make(timeouts={"request": "5s", "stream_idle": "50s"})
    client = ask(wire, post(b"1234")[:-1], EARLY[0])
    client.send(b"4")
    for _ in range(10):
        wire.clock.advance(9)
        wire.origin().send(b"1\r\nb\r\n")
    assert wire.codes == []


@pytest.mark.parametrize("limit", ["per_try_idle", "request"])
def test_a_response_that_stalls_speaks_against_its_upstream(
    make: MakeWire, limit: str
) -> None:
    """Semantics, 2.4: our timeouts are failures, counted by try."""
    breaker = {"min_requests": 2, "open": "1h", "open_max": "1h"}
    wire = make(timeouts={"request": "1h", limit: "7s"}, circuit_breaker=breaker)
    for _ in range(2):
        ask(wire, answer=LENGTH + b"half")
        wire.clock.advance(7.1)
        assert wire.faults[0]["attempts"][0]["code"] == wire.codes[0]
    assert header_of(wire.ask(get()) or b"", "x-316-code") == "316-CIRCUIT-OPEN"


def test_a_stream_that_falls_silent_is_recorded_but_blamed_on_nobody(
    make: MakeWire,
) -> None:
    """It may have had nothing to say."""
    wire = make(timeouts={"stream_idle": "7s"}, circuit_breaker={"min_requests": 1})
    ask(wire, answer=CHUNKED)
    wire.clock.advance(7.1)
    assert wire.faults[0]["attempts"][0]["code"] == "316-TIMEOUT-IDLE"
    assert wire.ask(get(), OK).endswith(b"ok")
