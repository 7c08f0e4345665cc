"""What an origin may send without end costs a bound, and no other request."""

from __future__ import annotations

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, FakeWire, get

KIB = 1024


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire(retry={"preset": "off"}, timeouts={"request": "5s"})


@pytest.mark.parametrize(
    "status", ["100 Continue", "102 Processing", "103 Early Hints"]
)
def test_a_flood_of_interim_responses_ends_with_the_limit_of_the_request(
    wire: FakeWire, status: str
) -> None:
    """Each is handed on and none is kept; they do not make the time begin anew."""
    client = wire.client()
    client.send(get())
    for _ in range(100):
        wire.origin().send(f"HTTP/1.1 {status}\r\nLink: <a>\r\n\r\n".encode())
        wire.clock.advance(0.0499)
    assert not wire.origin().is_closed
    wire.clock.advance(0.1)
    assert wire.codes == ["316-TIMEOUT-ERR"]
    assert wire.origin().is_closed
    wire.end()


def test_a_client_that_does_not_read_interim_responses_holds_them_back(
    wire: FakeWire,
) -> None:
    client = wire.client()
    client.stop_taking()
    client.send(get())
    flood = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" * 100
    for _ in range(100):
        wire.origin().send(flood)
    assert wire.origin().unsent > 50  # The proxy reads no more of it.
    assert client.transport.unread < 80 * KIB
    client.leave()
    wire.end()


@pytest.mark.parametrize("line", ["HTTP/1.1 200 ", "HTTP/1.1 200 OK\r\nA: ", "H"])
def test_a_head_without_an_end_is_read_to_its_limit_only(
    wire: FakeWire, line: str
) -> None:
    client = wire.client()
    client.send(get())
    origin = wire.origin()
    origin.send(line.encode())
    for _ in range(100):
        origin.send(b"x" * KIB)
    answer = client.take()
    assert status_of(answer) == 502
    assert header_of(answer, "x-316-code") in (
        "316-DATA-RESP-HEADER-SIZE",
        "316-PROTO-UPSTREAM",
    )
    assert len(answer) < 4 * KIB  # Nothing of it is told.
    assert origin.is_closed
    wire.end()


def test_a_head_of_very_many_fields_is_over_the_limit(wire: FakeWire) -> None:
    fields = b"".join(b"a%d:\r\n" % n for n in range(20_000))
    answer = wire.ask(get(), b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    assert header_of(answer, "x-316-code") == "316-DATA-RESP-HEADER-SIZE"
    wire.end()


def test_a_body_without_an_end_is_handed_on_and_not_kept(wire: FakeWire) -> None:
    """And as fast as the client reads it; the client ends it when it likes."""
    client = wire.client()
    client.send(get())
    origin = wire.origin()
    origin.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        origin.send(b"%x\r\n%b\r\n" % (KIB, b"x" * KIB))
    assert len(client.take()) > 50 * KIB
    client.stop_taking()
    for _ in range(200):
        origin.send(b"%x\r\n%b\r\n" % (KIB, b"x" * KIB))
    assert client.transport.unread < 80 * KIB
    assert origin.unsent > 100
    client.leave()
    assert origin.is_closed
    wire.end()


def test_what_it_sends_before_it_is_asked_is_nobodys_answer(wire: FakeWire) -> None:
    """An answer laid out for the next one who comes would be his, not ours."""
    assert status_of(wire.ask(get(), OK)) == 200
    wire.origin().send(OK.replace(b"ok", b"no"))
    answer = wire.ask(get("/next"), OK)
    assert answer.endswith(b"ok")
    assert len(wire.origins) == 2
    wire.end()
