"""Bytes mean the same in whatever pieces they come, on both sides.

A conversation of several requests is held once with each message whole, and once
in pieces, down to single bytes; both ends must have got the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from tests.support.ends import End

VARYING = re.compile(  # Ids made by chance, and times.
    rb"(?<=\r\n)(x-request-id|traceparent|x-316-deadline-ms|x-316-fault-id): [^\r]*\r\n"
)
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)")


@dataclass(frozen=True)
class Message:
    """A head and a body, as they are sent, and what the body says."""

    head: bytes
    body: bytes = b""
    content: bytes = b""
    ends_with_connection: bool = False

    @property
    def raw(self) -> bytes:
        return self.head + b"\r\n" + self.body


def chunked(pieces: list[bytes], trailers: bytes) -> bytes:
    chunks = (b"%X;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


CONTENT = st.binary(max_size=40) | st.sampled_from(
    [b"\r\n", b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 300]
)
TRAILERS = st.sampled_from([b"", b"X-T: 1\r\n", b"x-t:2\r\nHost: evil\r\n"])
FIELDS = st.sampled_from([b"", b"X-A: 1\r\n", b"Cookie: a=b\r\nX-A: 1\r\nx-a: 2\r\n"])


@st.composite
def requests(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    fields = draw(FIELDS)
    if kind == "none":
        return Message(b"GET /g HTTP/1.1\r\nHost: a\r\n" + fields)
    head = b"POST /p HTTP/1.1\r\nHost: a\r\n" + fields
    if kind == "length":
        body = draw(CONTENT)
        return Message(head + b"Content-Length: %d\r\n" % len(body), body, body)
    pieces = draw(st.lists(CONTENT, max_size=3))
    body = chunked(pieces, draw(TRAILERS))
    return Message(head + b"Transfer-Encoding: chunked\r\n", body, b"".join(pieces))


@st.composite
def responses(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(["length", "chunked", "close", "none", "interim"]))
    status = draw(st.sampled_from([b"200 OK", b"404 Not Found", b"500"]))
    head = b"HTTP/1.1 " + status + b"\r\n" + draw(FIELDS)
    if kind == "none":
        return Message(b"HTTP/1.1 204 No\r\n")
    if kind == "chunked":
        pieces = draw(st.lists(CONTENT, max_size=3))
        raw = chunked(pieces, draw(TRAILERS))
        return Message(head + b"Transfer-Encoding: chunked\r\n", raw, b"".join(pieces))
    body = draw(CONTENT)
    if kind == "close":
        return Message(head, body, body, ends_with_connection=True)
    if kind == "interim":
        head = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + head
    return Message(head + b"Content-Length: %d\r\n" % len(body), body, body)


def read(raw: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return heads, contents and trailers of the messages in `raw`."""
    messages = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        head = VARYING.sub(b"", head + b"\r\n")
        length = LENGTH.search(head.lower())
        content, trailers = b"", b""
        if b"\r\ntransfer-encoding: chunked" in head.lower():
            content, trailers, raw = dechunked(raw)
        elif length is not None:
            size = int(length[1])
            content, raw = raw[:size], raw[size:]
        messages.append((head, content, trailers))
    return messages


def dechunked(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Return content, trailers, and what follows."""
    content = b""
    while True:
        line, _, raw = raw.partition(b"\r\n")
        size = int(line, 16)
        if not size:
            break
        content, raw = content + raw[:size], raw[size + 2 :]
    trailers = b""
    while not raw.startswith(b"\r\n"):
        line, _, raw = raw.partition(b"\r\n")
        trailers += line + b"\r\n"
    return content, trailers, raw[2:]


def send(end: End, raw: bytes, sizes: list[int]) -> None:
    """Send in pieces of these sizes, over and over; nothing: whole."""
    at, turn = 0, 0
    while at < len(raw):
        size = sizes[turn % len(sizes)] if sizes else len(raw)
        end.send(raw[at : at + size])
        at, turn = at + size, turn + 1


def hold(
    talk: list[tuple[Message, Message]],
    asked: list[int],
    answered: list[int],
    *,
    is_pipelined: bool,
) -> list[list[tuple[bytes, bytes, bytes]]]:
    """Return what the origins got, request by request, and then the client."""
    wire = FakeWire(retry={"preset": "off"})
    client = wire.client()
    sides = []
    if is_pipelined:
        send(client, b"".join(request.raw for request, _ in talk), asked)
    for request, response in talk:
        if not is_pipelined:
            send(client, request.raw, asked)
        sides.append(read(wire.origin().take()))
        send(wire.origin(), response.raw, answered)
        if response.ends_with_connection:
            wire.origin().send_eof()
    sides.append(read(client.take()))
    wire.end()
    return sides


SIZES = st.just([1]) | st.lists(st.integers(1, 60), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    talk=st.lists(st.tuples(requests(), responses()), min_size=1, max_size=4),
    asked=SIZES,
    answered=SIZES,
    is_pipelined=st.booleans(),
)
def test_pieces_change_nothing(
    talk: list[tuple[Message, Message]],
    asked: list[int],
    answered: list[int],
    *,
    is_pipelined: bool,
) -> None:
    """And all of the content that was sent arrives, in both directions."""
    whole = hold(talk, [], [], is_pipelined=is_pipelined)
    assert hold(talk, asked, answered, is_pipelined=is_pipelined) == whole
    *requests_, answers = whole
    for (request,), (sent, _) in zip(requests_, talk, strict=True):
        assert request[1] == sent.content
    finals = [answer for answer in answers if b" 103 " not in answer[0]]
    assert [final[1] for final in finals] == [sent.content for _, sent in talk]


@settings(max_examples=100, deadline=None)
@given(
    talk=st.lists(st.tuples(requests(), responses()), min_size=1, max_size=3),
    asked=SIZES,
    answered=SIZES,
)
def test_pipelined_or_one_by_one_is_the_same(
    talk: list[tuple[Message, Message]], asked: list[int], answered: list[int]
) -> None:
    one_by_one = hold(talk, asked, answered, is_pipelined=False)
    assert hold(talk, asked, answered, is_pipelined=True) == one_by_one


@settings(max_examples=150, deadline=None)
@given(raw=st.binary(max_size=200), reply=st.binary(max_size=200), sizes=SIZES)
def test_no_bytes_at_all_leave_anything_behind(
    raw: bytes, reply: bytes, sizes: list[int]
) -> None:
    """Noise of a client, and noise of an origin."""
    wire = FakeWire()
    noisy, client = wire.client(), wire.client()
    send(noisy, raw, sizes)
    send(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [])
    if wire.origins:
        send(wire.origin(), b"HTTP/1.1 200 OK\r\n" + reply, sizes)
        wire.origin().send_eof()
    wire.clock.advance(200)
    wire.end()
    assert "316-OP-FAIL" not in wire.codes
