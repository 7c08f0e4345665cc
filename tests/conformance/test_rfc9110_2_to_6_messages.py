"""RFC 9110, sections 2 to 6: fields, control data, trailers, dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import post, request, response, returned, sent
from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
NOW = "Tue, 14 Nov 2023 22:13:20 GMT"  # Of the fake clock.
HOST = b"Host: test"


def test_two_requests_of_one_connection_share_nothing(wire: FakeWire) -> None:
    """3.3: they may be of two users, behind a proxy of theirs."""
    client = wire.client()
    client.send(get("/1", "Authorization: Basic a", "Cookie: b=c"))
    wire.origin().take()
    wire.origin().send(OK)
    client.send(get("/2"))
    head = wire.origin().take().lower()
    assert b"authorization" not in head
    assert b"cookie" not in head
    wire.origin().send(OK)


def test_unknown_fields_go_on_in_both_directions(wire: FakeWire) -> None:
    """5.1: a proxy must not drop what it does not know."""
    lines = ["X-Unknown: 1", "Foo: 2", "!#$%&'*+-.^`|~: 3", "X_Y: 4", "0: 5"]
    expected = "\r\n".join(lines).encode()
    assert expected in sent(wire, get("/", *lines))
    assert expected in returned(wire, response(*[x.encode() for x in lines]))


@pytest.mark.parametrize(
    "name",
    [
        "X_Forwarded_For",
        "x-forwarded_for",
        "X_Forwarded-Host",
        "x_316_deadline_ms",
        "X_316-Retry",
        "Transfer_Encoding",
        "Content_Length",
        "X_Request_Id",
        "Proxy_Authorization",
    ],
)
def test_no_field_is_taken_for_one_that_this_hop_writes(
    wire: FakeWire, name: str
) -> None:
    """17.10: behind CGI, WSGI and the like nobody can tell "_" from "-"."""
    assert name.lower().encode() not in sent(wire, get("/", f"{name}: evil")).lower()


def test_lines_of_one_name_keep_their_order(wire: FakeWire) -> None:
    """5.3: and are not joined, for some cannot be."""
    lines = ["A: 1", "B: 2", "a: 3", "Set-Cookie: 4", "A: 5", "Set-Cookie: 6"]
    expected = "\r\n".join(lines).encode()
    assert expected in sent(wire, get("/", *lines))
    assert expected in returned(wire, response(*[x.encode() for x in lines]))


def test_nothing_is_sent_on_before_the_header_section_is_whole(wire: FakeWire) -> None:
    """5.3: later lines may change what the request means."""
    client = wire.client()
    raw = get("/", "A: b")
    client.send(raw[:-2])
    assert wire.origins == []
    client.send(raw[-2:])
    assert len(wire.origins) == 1
    wire.origin().send(OK)


@pytest.mark.parametrize("value", [",close,", " , close ,, a", "close,"])
def test_empty_members_of_a_list_mean_nothing(wire: FakeWire, value: str) -> None:
    """5.6.1.2: of Connection; where a body ends is no place for tolerance."""
    client = wire.client()
    client.send(get("/", f"Connection: {value}"))
    wire.origin().send(OK)
    assert header_of(client.take(), "connection") == "close"
    assert client.is_closed


# 6.5, 6.6.


def test_trailers_stay_behind_the_content(wire: FakeWire) -> None:
    """6.5.1: and Trailer, which announces them, stays before it (6.6.2)."""
    fields = (b"Transfer-Encoding: chunked", b"Trailer: X-Sum")
    last = b"1\r\na\r\n0\r\nX-Sum: 5\r\n\r\n"
    for raw in (
        sent(wire, post(*fields) + last),
        returned(wire, response(*fields) + last),
    ):
        head, _, body = raw.partition(b"\r\n\r\n")
        assert header_of(head + b"\r\n\r\n", "trailer") == "X-Sum"
        assert b"\r\nx-sum" not in head.lower()
        assert body == last


@pytest.mark.parametrize("status", [200, 204, 301, 304, 404, 500, 503])
def test_a_response_without_a_date_gets_one(wire: FakeWire, status: int) -> None:
    """6.6.1: who forwards it must; one that is there stays as it is, once."""
    line = b"HTTP/1.1 %d X" % status
    answer = returned(wire, response(b"Content-Length: 0", line=line))
    assert header_of(answer, "date") == NOW
    raw = response(b"Content-Length: 0", f"date: {DATE}".encode(), line=line)
    answer = returned(wire, raw)
    assert header_of(answer, "date") == DATE
    assert answer.lower().count(b"\r\ndate:") == 1


def test_the_date_goes_with_the_clock(wire: FakeWire) -> None:
    client = wire.client()
    for expected in (NOW, NOW.replace(":20", ":21"), NOW.replace(":20", ":22")):
        client.send(get())
        wire.origin().send(OK)
        assert header_of(client.take(), "date") == expected
        wire.clock.advance(1)


def test_an_answer_of_this_proxy_has_a_date(make: MakeWire) -> None:
    """Refused before there is a request, without a route, without an upstream."""
    wire = make(matches=[{"path": {"value": "/a"}}])
    wire.refuse()
    for raw in (b"nonsense\r\n\r\n", get("/b")):
        client = wire.client()
        client.send(raw)
        assert header_of(client.take(), "date") == NOW
    client = wire.client()
    client.send(get("/a"))
    wire.clock.advance(1)  # It is tried again.
    answer = client.take()
    assert status_of(answer) == 502
    assert header_of(answer, "date") == NOW


def test_an_interim_response_needs_no_date(wire: FakeWire) -> None:
    answer = returned(wire, b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + OK)
    assert answer.count(b"\r\nDate: ") == 1
    assert b"Date" not in answer.partition(b"\r\n\r\n")[0]


def test_an_upgrade_of_http_1_0_is_ignored(wire: FakeWire) -> None:
    """7.8; and so is an expectation (10.1.1), for it could not hear of it."""
    fields = (b"Connection: Upgrade", b"Upgrade: websocket", b"Expect: 100-continue")
    head = sent(wire, request(b"GET / HTTP/1.0", HOST, *fields))
    assert header_of(head, "upgrade") is None
    assert header_of(head, "connection") is None
    assert header_of(head, "expect") is None
