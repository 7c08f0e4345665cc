"""Both sides of the proxy under a malformed message: who may see what of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.support.ends import End
    from tests.support.wire import FakeWire

EVIL = get("/evil")
EVIL_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
PIECES = (0, 1, 7)
_STATUS_LINE = re.compile(rb"HTTP/1\.1 [0-9]{3} ")


def request(line: bytes, *fields: bytes) -> bytes:
    """Return a head with these lines and no Host."""
    return b"\r\n".join([line, *fields, b"", b""])


def post(*fields: bytes) -> bytes:
    """Return the head of a POST with these fields below Host."""
    return request(b"POST / HTTP/1.1", b"Host: test", *fields)


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def assert_refused(wire: FakeWire, raw: bytes, status: int = 400) -> None:
    """Whole, and in pieces: named, nothing sent on, and nothing read behind it."""
    before = [origin.received for origin in wire.origins]
    for piece_bytes in PIECES:
        client = wire.client()
        client.send(raw + EVIL, piece_bytes)
        assert_ended(client, status)
    assert [origin.received for origin in wire.origins] == before


def assert_ended(
    client: End, status: int = 400, code: str = "316-VALIDATION-ERR"
) -> None:
    """One answer came that ends the connection; what follows is dropped."""
    answer = client.take()
    assert len(_STATUS_LINE.findall(answer)) == 1, answer
    assert status_of(answer) == status, answer
    assert header_of(answer, "x-316-code") == code
    assert header_of(answer, "connection") == "close"
    assert header_of(answer, "date")
    assert client.has_eof or client.is_closed
    client.send(EVIL)
    assert client.take() == b""


def assert_replaced(
    wire: FakeWire,
    raw: bytes,
    code: str = "316-PROTO-UPSTREAM",
    *,
    request_: bytes | None = None,
) -> None:
    """The client gets a 502 in place of `raw`, and goes on; that connection ends."""
    for piece_bytes in PIECES:
        client = wire.client()
        client.send(get() if request_ is None else request_)
        wire.origin().send(raw + EVIL_ANSWER, piece_bytes)
        answer = client.take()
        assert status_of(answer) == 502, answer
        assert header_of(answer, "x-316-code") == code
        assert b"evil" not in answer
        assert wire.origin().is_closed
        assert_next_is_right(wire, client)


def assert_next_is_right(wire: FakeWire, client: End) -> None:
    """The next request on that connection gets its own answer, from a new one."""
    count = len(wire.origins)
    client.send(get("/next"))
    assert len(wire.origins) == count + 1
    assert wire.origin().take().startswith(b"GET /next ")
    wire.origin().send(OK)
    answer = client.take()
    assert (status_of(answer), body_of(answer)) == (200, b"ok")
    client.leave()
    wire.origin().leave()


def sent(wire: FakeWire, raw: bytes, answer: bytes = OK) -> bytes:
    """Return what the origin gets of a request."""
    client = wire.client()
    client.send(raw)
    received = wire.origin().take()
    wire.origin().send(answer)
    client.leave()
    return received


def returned(wire: FakeWire, raw: bytes, request_: bytes | None = None) -> bytes:
    """Return what a client gets of a response."""
    client = wire.client()
    client.send(get() if request_ is None else request_)
    wire.origin().send(raw)
    answer = client.take()
    client.leave()
    return answer
