"""RFC 9110, section 15: statuses that say something about the message itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import (
    EVIL_ANSWER,
    assert_next_is_right,
    assert_refused,
    post,
    request,
    response,
    returned,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
RESET = b"HTTP/1.1 205 Reset Content"


@pytest.mark.parametrize("status", [100, 102, 103, 104, 199])
@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_interim_responses_go_back(
    wire: FakeWire, status: int, piece_bytes: int
) -> None:
    """15.2: any of them, and as many as a server needs."""
    interim = b"HTTP/1.1 %d X\r\nA: b\r\n\r\n" % status
    client = wire.client()
    client.send(get())
    wire.origin().send(interim * 3 + OK, piece_bytes)
    parts = client.take().split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"%d" % status] * 3 + [b"200"]


def test_a_client_of_http_1_0_gets_no_interim_response(wire: FakeWire) -> None:
    answer = returned(wire, HINTS * 3 + OK, request(b"GET / HTTP/1.0"))
    assert status_of(answer) == 200


@pytest.mark.parametrize("interim", [b"HTTP/1.1 100\r\n\r\n", HINTS])
@pytest.mark.parametrize("piece_bytes", [0, 500])
def test_a_flood_of_interim_responses_ends(
    wire: FakeWire, interim: bytes, piece_bytes: int
) -> None:
    """A server could keep a client and this proxy busy for ever."""
    client = wire.client()
    client.send(get())
    wire.origin().send(interim * 5000, piece_bytes)
    parts = client.take().split(b"HTTP/1.1 ")[1:]
    assert len(parts) == 101
    assert parts[-1].startswith(b"502 ")
    assert wire.codes == ["316-PROTO-UPSTREAM"]
    assert wire.origin().is_closed
    assert_next_is_right(wire, client)


def test_large_interim_responses_end_sooner(wire: FakeWire) -> None:
    """All together may be as large as the head of one response."""
    interim = b"HTTP/1.1 103 X\r\nA: " + b"b" * 30_000 + b"\r\n\r\n"
    client = wire.client()
    client.send(get())
    wire.origin().send(interim * 5)
    parts = client.take().split(b"HTTP/1.1 ")[1:]
    assert [part[:3] for part in parts] == [b"103", b"103", b"502"]


def test_interim_responses_are_counted_anew_for_each_request(wire: FakeWire) -> None:
    client = wire.client()
    for _ in range(3):
        client.send(get())
        wire.origin().send(HINTS * 60 + OK)
        assert client.take().endswith(b"ok")
    assert len(wire.origins) == 1


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ((b"Content-Length: 0",), b""),
        ((b"Content-Length: 44",), EVIL_ANSWER),
        ((b"Transfer-Encoding: chunked",), b"0\r\n\r\n"),
        ((b"Transfer-Encoding: chunked",), b"4\r\nevil\r\n0\r\n\r\n"),
        ((), b""),
        ((), b"evil"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [0, 1])
def test_a_205_has_no_content_whatever_its_fields_say(
    wire: FakeWire, fields: tuple[bytes, ...], content: bytes, piece_bytes: int
) -> None:
    """15.3.6: some clients read none, others what is declared: so none is."""
    client = wire.client()
    client.send(get())
    wire.origin().send(response(*fields, b"A: b", line=RESET) + content, piece_bytes)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 205 Reset Content\r\nA: b\r\n")
    assert header_of(answer, "content-length") == "0"
    assert answer.lower().count(b"content-length") == 1
    assert header_of(answer, "transfer-encoding") is None
    assert body_of(answer) == b""
    assert wire.origin().is_closed is bool(content)
    client.send(get("/next"))
    wire.origin().send(OK)
    assert body_of(client.take()) == b"ok"


def test_a_426_says_what_to_upgrade_to(wire: FakeWire) -> None:
    """15.5.22: it must, and Upgrade is for one connection: so this hop says it."""
    fields = (b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 0")
    answer = returned(wire, response(*fields, line=b"HTTP/1.1 426 X"))
    assert header_of(answer, "upgrade") == "websocket"
    assert header_of(answer, "connection") == "Upgrade"
    answer = returned(wire, response(*fields))
    assert header_of(answer, "upgrade") is None


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (get("/" + "x" * 9000), 414),
        (get("/", "A: " + "b" * 66_000), 431),
        (get(method="BREW"), 501),
        (b"GET / HTTP/3.0\r\nHost: test\r\n\r\n", 505),
    ],
)
def test_a_refusal_tells_why(wire: FakeWire, raw: bytes, status: int) -> None:
    """15.5, 15.6: in words, with the version that is spoken for a 505."""
    answer = wire.ask(raw)
    assert status_of(answer) == status
    assert b'"detail"' in body_of(answer)
    assert (b"HTTP/1.1" in body_of(answer)) is (status == 505)


def test_a_body_that_is_too_large_is_told_so(make: MakeWire) -> None:
    """15.5.14: and the connection ends, for the rest is not read."""
    wire = make(body_max="1KiB")
    client = wire.client()
    client.send(post(b"Content-Length: 1025") + b"GET /evil")
    answer = client.take()
    assert status_of(answer) == 413
    assert header_of(answer, "connection") == "close"
    assert wire.origins == []


def test_no_refusal_of_this_proxy_claims_to_know_the_resource(wire: FakeWire) -> None:
    """15.5.6, 15.5.20: 405 asks for Allow, and 421 is not for a proxy."""
    for raw in (
        get(method="CONNECT"),
        request(b"GET https://test/ HTTP/1.1", b"Host: test"),
        get("/", "Content-Length: 1", method="TRACE"),
    ):
        assert status_of(wire.ask(raw)) in {400, 501}
    assert_refused(wire, request(b"GET https://test/ HTTP/1.1", b"Host: test"))


@pytest.mark.parametrize("status", [200, 299, 316, 404, 418, 451, 599, 600, 999])
def test_a_status_that_nobody_here_knows_goes_back(wire: FakeWire, status: int) -> None:
    """15: its class tells what it is; the words are the server's."""
    raw = response(b"Content-Length: 2", line=b"HTTP/1.1 %d Own words" % status)
    answer = returned(wire, raw + b"ok")
    assert answer.startswith(b"HTTP/1.1 %d Own words\r\n" % status)
    assert body_of(answer) == b"ok"
