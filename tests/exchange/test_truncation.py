"""A response that breaks off is passed on as broken, never as whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nabc"
BROKEN = [LENGTH, CHUNKED, CHUNKED + b"5\r\nde", CHUNKED + b"0\r\nX: y\r\n"]


@pytest.mark.parametrize("raw", BROKEN)
@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_the_client_sees_that_it_is_not_whole(
    wire: FakeWire, raw: bytes, error: Exception | None
) -> None:
    """RFC 9112, 8: short of its length, or without its last chunk."""
    client = wire.client()
    client.send(get())
    wire.origin().send(raw)
    wire.origin().leave(error)
    answer = client.take()
    assert b"abc" in body_of(answer)
    assert len(body_of(answer)) < 20
    assert not answer.endswith(b"0\r\n\r\n")
    assert client.is_closed
    assert wire.codes == ["316-DATA-TRUNCATED"]


@pytest.mark.parametrize("raw", BROKEN)
def test_an_end_of_input_is_a_break_as_well(wire: FakeWire, raw: bytes) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(raw)
    wire.origin().send_eof()
    assert client.is_closed
    assert wire.codes == ["316-DATA-TRUNCATED"]


def test_a_reset_is_no_end_of_a_body_that_ends_with_its_connection(
    wire: FakeWire,
) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(UNTIL_CLOSE)
    wire.origin().leave(ConnectionResetError())
    assert not client.take().endswith(b"0\r\n\r\n")
    assert wire.codes == ["316-DATA-TRUNCATED"]


def test_an_end_of_input_ends_a_body_that_ends_with_its_connection(
    wire: FakeWire,
) -> None:
    """It is chunked for the client, which keeps its connection."""
    client = wire.client()
    client.send(get())
    wire.origin().send(UNTIL_CLOSE)
    wire.origin().send_eof()
    assert body_of(client.take()) == b"3\r\nabc\r\n0\r\n\r\n"
    assert not client.is_closed
    assert wire.codes == []


@pytest.mark.parametrize("raw", BROKEN)
def test_it_is_never_tried_again(make: MakeWire, raw: bytes) -> None:
    """The client has a part of it already."""
    wire = make(retry={"preset": "idempotent"})
    client = wire.client()
    client.send(get())
    wire.origin().send(raw)
    wire.origin().leave()
    wire.clock.advance(1)
    assert len(wire.origins) == 1
    assert len(wire.faults[0]["attempts"]) == 1


def test_a_bad_chunk_is_a_break(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(CHUNKED + b"xyz\r\n")
    assert client.is_closed
    assert not client.take().endswith(b"0\r\n\r\n")
    assert wire.origin().is_closed
    assert wire.codes == ["316-DATA-TRANSFER-CODING"]


def test_a_bad_first_chunk_is_not_passed_on_at_all(wire: FakeWire) -> None:
    answer = wire.ask(get(), CHUNKED[:-8] + b"xyz\r\n")
    assert not answer.endswith(b"0\r\n\r\n")
    assert wire.codes == ["316-DATA-TRANSFER-CODING"]


@pytest.mark.parametrize("raw", [b"", b"HTTP", b"HTTP/1.1 200 OK\r\nX: "])
def test_what_breaks_before_its_head_is_answered_here(
    wire: FakeWire, raw: bytes
) -> None:
    client = wire.client()
    client.send(get("/", method="DELETE").replace(b"DELETE", b"POST"))
    if raw:
        wire.origin().send(raw)
    wire.origin().send_eof()
    answer = client.take()
    assert status_of(answer) == 502
    assert header_of(answer, "x-316-code") == "316-CONN-TERMINATED"
    assert not client.is_closed


def test_the_client_is_not_made_to_wait_for_the_rest(wire: FakeWire) -> None:
    """What it has not read yet it still gets, and then the end."""
    client = wire.client()
    client.send(get())
    client.stop_taking()
    wire.origin().send(LENGTH)
    wire.origin().leave()
    assert client.is_closed
    assert not client.transport.was_aborted
    client.take_all()
    assert client.take().endswith(b"abc")
