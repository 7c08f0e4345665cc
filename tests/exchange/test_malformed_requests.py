"""What is ambiguous or malformed goes nowhere: 400 and the end of the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get, post

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

CHUNKED_POST = get("/", "Transfer-Encoding: chunked", method="POST")
HEADS = [
    (b"Content-Length: 3\r\nTransfer-Encoding: chunked", 400),
    (b"Content-Length: 3\r\nContent-Length: 3", 400),
    (b"Content-Length: 3, 3", 400),
    (b"Content-Length: +3", 400),
    (b"Transfer-Encoding: xchunked", 400),
    (b"Transfer-Encoding: gzip, chunked", 501),
    (b"A : b", 400),
    (b"A: b\r\n c", 400),
    (b"A: b\rc", 400),
    (b"A: b\nB: c", 400),
    (b"A: b\0c", 400),
    (b": b", 400),
    (b"A", 400),
    (b"Host: b", 400),
    (b"A: " + b"x" * 70_000, 431),
    (b"\r\n".join(b"A%d: b" % n for n in range(101)), 431),
]
LINES = [
    (b"GET  / HTTP/1.1", 400),
    (b"GET /#x HTTP/1.1", 400),
    (b"GET /\xff HTTP/1.1", 400),
    (b"BREW / HTTP/1.1", 501),
    (b"CONNECT a:1 HTTP/1.1", 501),
    (b"GET / HTTP/2.0", 505),
    (b"GET /" + b"x" * 9000 + b" HTTP/1.1", 414),
]
CHUNKED = get("/", "Transfer-Encoding: chunked", method="POST")


@pytest.mark.parametrize(("lines", "status"), HEADS)
@pytest.mark.parametrize("piece_bytes", [0, 1000])
def test_what_two_readers_could_read_differently_is_refused(
    wire: FakeWire, lines: bytes, status: int, piece_bytes: int
) -> None:
    client = wire.client()
    raw = b"POST / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n\r\n"
    client.send(raw, piece_bytes)
    answer = client.take()
    assert status_of(answer) == status
    assert header_of(answer, "x-316-code") == "316-VALIDATION-ERR"
    assert header_of(answer, "connection") == "close"
    assert wire.origins == []
    assert client.has_eof


@pytest.mark.parametrize(("line", "status"), LINES)
def test_odd_request_lines_are_refused(
    wire: FakeWire, line: bytes, status: int
) -> None:
    answer = wire.ask(line + b"\r\nHost: a\r\n\r\n")
    assert status_of(answer) == status
    assert wire.origins == []


@pytest.mark.parametrize(
    ("raw", "status"), [(b"GET /" + b"x" * 9000, 414), (get()[:-2] + b"A: b", 431)]
)
def test_what_is_too_large_is_refused_before_it_is_whole(
    wire: FakeWire, raw: bytes, status: int
) -> None:
    """Or a client could fill the memory without ever ending a line."""
    client = wire.client()
    client.send(raw)
    if status == 431:
        client.send(b"x" * 70_000, 1000)
    assert status_of(client.take()) == status


def test_a_refused_client_may_finish_and_is_let_go(wire: FakeWire) -> None:
    """Closed at once, it would get a reset instead of the answer."""
    client = wire.client()
    client.send(b"nonsense\r\n\r\n")
    client.send(b"x" * 1000)
    assert not client.is_closed
    wire.clock.advance(4.9)
    assert not client.is_closed
    wire.clock.advance(0.2)
    assert client.is_closed
    assert client.take().count(b"HTTP/1.1") == 1


def test_a_refused_client_that_ends_is_let_go_at_once(wire: FakeWire) -> None:
    client = wire.client()
    client.send(b"nonsense\r\n\r\n")
    client.send_eof()
    assert client.is_closed


def test_a_refused_client_does_not_send_on_for_ever(wire: FakeWire) -> None:
    """However much it sends: nothing is kept of it, and after 5 s it ends."""
    client = wire.client()
    client.send(b"nonsense\r\n\r\n")
    for _ in range(5):
        wire.clock.advance(0.999)
        client.send(b"x" * 500_000, 100_000)
    assert client.transport.protocol.buffer == b""
    wire.clock.advance(0.01)
    assert client.is_closed


def test_a_request_behind_a_malformed_one_is_not_served(wire: FakeWire) -> None:
    """It may be a part of what was malformed."""
    client = wire.client()
    client.send(b"nonsense\r\n\r\n" + get("/evil"))
    client.send(get("/evil"))
    assert client.take().count(b"HTTP/1.1 ") == 1
    assert wire.origins == []


def test_a_malformed_one_behind_a_good_one_is_refused_in_its_turn(
    wire: FakeWire,
) -> None:
    client = wire.client()
    client.send(get("/1") + b"nonsense\r\n\r\n")
    wire.origin().send(OK)
    statuses = [part[:3] for part in client.take().split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"400"]


def test_a_declared_length_over_the_limit_is_refused(make: MakeWire) -> None:
    wire = make(body_max="1KiB")
    answer = wire.ask(post(b"x" * 1025)[:80])
    assert status_of(answer) == 413
    assert header_of(answer, "x-316-code") == "316-DATA-REQ-SIZE"
    assert header_of(answer, "connection") == "close"
    assert wire.origins == []


def test_a_chunked_body_is_refused_when_it_passes_the_limit(make: MakeWire) -> None:
    wire = make(body_max="1KiB")
    client = wire.client()
    client.send(CHUNKED + b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert client.take() == b""
    client.send(b"1\r\nx\r\n")
    assert status_of(client.take()) == 413
    assert wire.origin().is_closed


@pytest.mark.parametrize("size", [b"xyz\r\n", b"-1\r\n", b"1 \n", b"3\r\nabcd\r\n"])
@pytest.mark.parametrize("is_split", [False, True])
def test_a_bad_chunk_is_refused(wire: FakeWire, size: bytes, *, is_split: bool) -> None:
    """What was sent of it is broken off: the origin sees no last chunk."""
    client = wire.client()
    for piece in (CHUNKED, size) if is_split else (CHUNKED + size,):
        client.send(piece)
    answer = client.take()
    assert status_of(answer) == 400
    assert header_of(answer, "x-316-code") == "316-VALIDATION-ERR"
    assert len(wire.origins) == int(is_split)
    assert all(origin.is_closed for origin in wire.origins)
    assert not any(o.received.endswith(b"0\r\n\r\n") for o in wire.origins)


def test_a_bad_chunk_for_no_route_does_not_cost_the_answer(
    make: MakeWire,
) -> None:
    """The client would see a reset instead of the 404."""
    wire = make(hosts=["elsewhere.test"])
    client = wire.client()
    client.send(CHUNKED + b"xyz\r\n")
    assert status_of(client.take()) == 404
    assert not client.transport.was_aborted


def test_a_bad_chunk_is_not_forgotten_by_a_retry(wire: FakeWire) -> None:
    """The pooled connection is found closed; the body cannot get any better."""
    wire.ask(get(), OK)
    wire.origin().transport._is_closing = True
    client = wire.client()
    client.send(CHUNKED.replace(b"POST", b"PUT") + b"xyz\r\n")
    wire.clock.advance(1)
    assert client.received
    assert status_of(client.take()) == 400


def test_a_refusal_is_recorded(wire: FakeWire) -> None:
    """Without a route; a method or path of what is malformed means nothing."""
    wire.ask(b"nonsense\r\n\r\n")
    record = wire.faults[0]
    assert record["code"] == "316-VALIDATION-ERR"
    assert (record["route"], record["method"], record["status"]) == ("", "_OTHER", 400)
    assert record["origin"] == "client"


def test_one_client_too_many_is_told_so(make: MakeWire) -> None:
    wire = make(top={"limits": {"connections": 1}})
    first = wire.client()
    second = wire.client()
    answer = second.take()
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-OVERLOAD"
    assert header_of(answer, "retry-after") == "1"
    assert second.has_eof
    first.leave()
    assert not wire.client().is_closed


def test_one_peer_may_hold_only_so_many(make: MakeWire) -> None:
    wire = make(top={"limits": {"connections_per_client": 1}})
    wire.client("10.0.0.8")
    assert status_of(wire.client("10.0.0.8").take()) == 503
    assert not wire.client("10.0.0.9").is_closed


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (b"zz\r\n", "316-VALIDATION-ERR"),
        (b"f\r\n123456789abcdef\r\n", "316-DATA-REQ-SIZE"),
    ],
)
def test_a_body_that_turns_bad_when_half_of_it_is_sent_may_have_been_acted_on(
    make: MakeWire, more: bytes, code: str
) -> None:
    """Else a hop before this one would send it again."""
    wire = make(body_max="10B")
    client = wire.client()
    client.send(CHUNKED_POST + b"3\r\nabc\r\n")
    assert wire.origin().received.endswith(b"abc\r\n")
    client.send(more)
    answer = client.take()
    assert header_of(answer, "x-316-code") == code
    assert header_of(answer, "x-316-processed") is None
    assert wire.faults[0]["processed"] == "unknown"


def test_a_body_that_turns_bad_before_it_is_sent_was_not_acted_on(
    wire: FakeWire,
) -> None:
    wire.is_holding = True
    client = wire.client()
    client.send(CHUNKED_POST + b"3\r\nabc\r\n")
    client.send(b"zz\r\n")
    assert header_of(client.take(), "x-316-processed") == "no"
    wire.open_next()


def test_a_refusal_leaves_no_exception_behind(wire: FakeWire) -> None:
    """What is raised later would hold it, and so on: memory without end."""
    for _ in range(3):
        wire.client().send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
    with pytest.raises(ValueError, match="later") as later:
        raise ValueError("later")  # noqa: EM101
    assert later.value.__context__ is None
