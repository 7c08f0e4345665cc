"""When a request is sent again: the rows of the table (semantics, 2.3), by number.

Row 6 is of HTTP/2. Each with the default preset unless it says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.faults.classify import classify_connect, classify_timeout
from sidecar.model import Phase, TimeoutKind
from tests.exchange.again import (
    BOTH,
    IDEMPOTENT,
    PEER,
    REFUSAL,
    TWO,
    answer,
    ask,
    go_on,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire


def warmed(make: MakeWire, **keys: Any) -> FakeWire:
    """Return a wire with an idle connection that has served before."""
    wire = make(**keys)
    assert wire.ask(get(), OK).endswith(b"ok")
    return wire


@BOTH
@pytest.mark.parametrize(
    "error",
    [
        classify_timeout(TimeoutKind.DNS, Phase.DNS, 1),
        classify_connect(ConnectionRefusedError(), Phase.CONNECT, "x"),
        classify_timeout(TimeoutKind.CONNECT, Phase.CONNECT, 1),
    ],
    ids=["dns", "refused", "timeout"],
)
def test_row_1_not_connected(make: MakeWire, request_: bytes, error: Exception) -> None:
    """Nothing was sent: all methods, at once where another endpoint is left."""
    wire = make(upstream=TWO)
    wire.errors["10.0.0.1:80"] = error
    client = ask(wire, request_)
    assert wire.origin().received
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    assert wire.codes == []


@BOTH
def test_row_2_found_closed_before_the_write(make: MakeWire, request_: bytes) -> None:
    """All methods, on a fresh connection."""
    wire = warmed(make)
    wire.origin().transport._is_closing = True  # The loop has not told yet.
    client = ask(wire, request_)
    go_on(wire)
    assert len(wire.origins) == 2
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@BOTH
@pytest.mark.parametrize("unread", [b"x", OK])
def test_row_2_input_found_before_the_write(
    make: MakeWire, request_: bytes, unread: bytes
) -> None:
    """An idle connection has nothing to say but its end; no answer is lying there."""
    wire = warmed(make)
    wire.origin().leave_unread(unread)
    client = ask(wire, request_)
    go_on(wire)
    assert len(wire.origins) == 2
    assert wire.origin(0).received.count(b"HTTP/1.1") == 1
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize(("request_", "is_repeated"), [(get(), True), (post(), False)])
def test_rows_2_and_3_what_was_taken_is_not_known_afterwards(
    make: MakeWire, request_: bytes, *, is_repeated: bool
) -> None:
    """A transport drops what it holds before it tells of the loss: as row 5."""
    wire = make()
    client = ask(wire, request_)
    wire.origin().stop_taking()
    wire.origin().leave(BrokenPipeError())
    go_on(wire)
    assert len(wire.origins) == 1 + is_repeated
    if is_repeated:
        wire.origin().send(OK)
    assert status_of(client.take()) == (200 if is_repeated else 502)


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_row_4_a_reused_connection_is_lost_get(
    make: MakeWire, error: Exception | None
) -> None:
    """Very likely the keep-alive race: what is idempotent is sent again."""
    wire = warmed(make)
    client = ask(wire, get())
    wire.origin().leave(error)
    go_on(wire)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_row_4_a_reused_connection_is_lost_post(make: MakeWire) -> None:
    """It may have been acted on: told, with what to do about it."""
    wire = warmed(make)
    client = ask(wire, post())
    wire.origin().leave()
    told = client.take()
    assert status_of(told) == 502
    assert header_of(told, "x-316-code") == "316-CONN-STALE"
    assert header_of(told, "x-316-processed") is None
    assert wire.faults[0]["retry_skipped_reason"] == "method"
    assert wire.faults[0]["attempts"][0]["reused"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, "316-CONN-TERMINATED"), (ConnectionResetError(), "316-CONN-RESET")],
)
def test_row_5_a_fresh_connection_is_lost(
    make: MakeWire, error: Exception | None, code: str
) -> None:
    """Likely a crash: idempotent only."""
    wire = make()
    client = ask(wire, get())
    wire.origin().leave(error)
    go_on(wire)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    client = ask(wire, post())
    wire.origin().leave(error)
    assert wire.faults[0]["attempts"][0]["code"] in {code, "316-CONN-STALE"}
    assert status_of(client.take()) == 502


@BOTH
def test_row_7_too_early(wire: FakeWire, request_: bytes) -> None:
    """All methods (RFC 8470, 5.2), but once."""
    client = ask(wire, request_)
    wire.origin().send(answer(425))
    go_on(wire)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
    client.send(request_)
    wire.origin().send(answer(425))
    go_on(wire)
    wire.origin().send(answer(425))
    go_on(wire)
    assert status_of(client.take()) == 425


@BOTH
def test_row_8_a_peer_says_that_it_did_nothing(make: MakeWire, request_: bytes) -> None:
    wire = make(upstream=PEER)
    client = ask(wire, request_)
    wire.origin().send(REFUSAL)
    go_on(wire)
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


def test_row_8_anybody_else_is_not_believed(wire: FakeWire) -> None:
    """And the field is not handed on: it is between two proxies."""
    told = wire.ask(post(), REFUSAL)
    assert status_of(told) == 503
    assert header_of(told, "x-316-processed") is None


@BOTH
def test_row_9_408_as_the_first_word_of_a_reused_connection(
    make: MakeWire, request_: bytes
) -> None:
    """How some servers say that they closed an idle one."""
    wire = warmed(make)
    client = ask(wire, request_)
    wire.origin().send(answer(408))
    go_on(wire)
    assert len(wire.origins) == 2
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize(
    ("status", "code"), [(408, "316-CONN-TERMINATED"), (425, "316-CONN-STALE")]
)
def test_rows_7_and_9_a_refusal_is_not_handed_on_once_a_later_try_may_have_acted(
    make: MakeWire, status: int, code: str
) -> None:
    """It says that nothing was done: who believes it sends the POST again."""
    wire = warmed(make)
    client = ask(wire, post())
    wire.origin().send(answer(status))
    go_on(wire)
    wire.origin().leave()  # Having acted, perhaps.
    told = client.take()
    assert status_of(told) == 502
    assert header_of(told, "x-316-code") == code  # A 425 leaves the connection be.
    assert header_of(told, "x-316-processed") is None
    assert wire.faults[0]["processed"] == "unknown"


def test_row_9_408_on_a_fresh_connection_is_an_answer(wire: FakeWire) -> None:
    assert status_of(wire.ask(post(), answer(408))) == 408


@pytest.mark.parametrize(
    ("preset", "request_", "is_repeated"),
    [
        ("idempotent", get(), True),
        ("idempotent", post(), False),
        ("safe", get(), False),
    ],
)
def test_row_10_a_try_takes_too_long(
    make: MakeWire, preset: str, request_: bytes, *, is_repeated: bool
) -> None:
    """Idempotent, and if it is asked for."""
    wire = make(retry={**IDEMPOTENT, "preset": preset}, timeouts={"per_try": "1s"})
    client = ask(wire, request_)
    wire.clock.advance(1.001)
    assert wire.origin(0).is_closed
    assert len(wire.origins) == 1 + is_repeated
    if is_repeated:
        wire.origin().send(OK)
    assert status_of(client.take()) == (200 if is_repeated else 504)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_row_11_a_status_by_list(make: MakeWire, status: int) -> None:
    wire = make(retry=IDEMPOTENT)
    client = ask(wire, get())
    wire.origin().send(answer(status))
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")


@pytest.mark.parametrize(
    ("retry", "request_", "status"),
    [
        ({}, get(), 503),
        (IDEMPOTENT, post(), 503),
        (IDEMPOTENT, get(), 500),
        (IDEMPOTENT, get(), 429),
        ({"preset": "off"}, get(), 503),
        ({**IDEMPOTENT, "max_retries": 0}, get(), 503),
    ],
)
def test_row_11_a_status_that_is_not_listed(
    make: MakeWire, retry: dict[str, Any], request_: bytes, status: int
) -> None:
    wire = make(retry=retry)
    told = wire.ask(request_, answer(status))
    assert status_of(told) == status
    assert body_of(told) == b"busy"
    assert len(wire.origins) == 1


def test_row_12_a_body_breaks_off(make: MakeWire) -> None:
    """Never, whatever is configured: the client has a part of it."""
    retry = {"preset": "custom", "on": ["5xx", "reset", "refused", "connect-failure"]}
    wire = make(retry=retry)
    client = ask(wire, get())
    wire.origin().send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    wire.origin().leave(ConnectionResetError())
    go_on(wire)
    assert client.is_closed
    assert len(wire.origins) == 1
