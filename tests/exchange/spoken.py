"""Requests and responses that can be told apart, made and read, for conversations."""

from __future__ import annotations

import re
from typing import NamedTuple

VARYING = re.compile(  # Ids made by chance; a time that is told if it runs already.
    rb"\r\n(x-request-id|traceparent|x-316-deadline-ms|x-316-fault-id): [^\r]*",
    re.IGNORECASE,
)
NUMBER = re.compile(rb"\r\nX-N: ([0-9]+)\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n")
NO_CONTENT = (204, 304)


def chunks(fill: bytes, trailers: bytes = b"") -> bytes:
    """Return `fill` as two chunks."""
    halves = [half for half in (fill[:3], fill[3:]) if half]
    body = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
    return body + b"0\r\n" + trailers + b"\r\n"


def request(number: int, kind: str, fill: bytes) -> bytes:
    """Return a request that can be told from all others."""
    method = {"get": b"GET", "upgrade": b"GET", "last": b"GET", "old": b"GET"}
    start = b"%b /%d HTTP/1.%d\r\nHost: a\r\n" % (
        b"HEAD" if kind == "head" else method.get(kind, b"POST"),
        number,
        0 if kind == "old" else 1,
    )
    length = b"Content-Length: %d\r\n\r\n%b" % (len(fill), fill)
    return start + {
        "post": length,
        "expect": b"Expect: 100-continue\r\n" + length,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n" + chunks(fill, b"X-T: 1\r\n"),
        "upgrade": b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        "last": b"Connection: close\r\n\r\n",
    }.get(kind, b"\r\n")


def response(number: int, kind: str, fill: bytes, *, is_head: bool) -> bytes:
    """Return a response that names its request."""
    status = {
        "none": b"204 No Content", "not modified": b"304 Not Modified",
        "unavailable": b"503 Service Unavailable", "upgrade": b"101 Switching",
    }  # fmt: skip
    head = b"HTTP/1.1 %b\r\nX-N: %d\r\n" % (status.get(kind, b"200 OK"), number)
    content = b"" if is_head else fill
    length = b"Content-Length: %d\r\n\r\n%b" % (len(fill), content)
    if kind in ("none", "not modified"):
        return head + b"\r\n"
    if kind == "chunked":
        body = b"" if is_head else chunks(fill, b"X-T: 2\r\n")
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + body
    if kind == "until close":
        return head + b"\r\n" + content
    if kind == "upgrade":
        return head + b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    before = {
        "hints": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    }
    if kind == "last":
        length = b"Connection: close\r\n" + length
    return before.get(kind, b"") + head + length


def split(raw: bytes, cuts: list[int]) -> list[bytes]:
    """Return `raw` in parts, none of them empty."""
    ends = sorted({cut for cut in cuts if 0 < cut < len(raw)} | {len(raw)})
    starts = [0, *ends[:-1]]
    return [raw[start:end] for start, end in zip(starts, ends, strict=True)]


class Message(NamedTuple):
    """A request or response as far as it has come."""

    start: bytes
    head: bytes  # Without what chance has made; empty: it says what failed.
    content: bytes
    is_whole: bool

    @property
    def status(self) -> int:
        return int(self.start[9:12])

    @property
    def number(self) -> int | None:
        """Return that of the request which a response says it answers."""
        named = NUMBER.search(self.head)
        return int(named[1]) if named else None


def read(raw: bytes, methods: list[bytes] | None = None) -> list[Message]:
    """Read a stream of requests, or of responses to requests of these methods."""
    messages: list[Message] = []
    finals = 0
    while raw:
        head, mark, rest = raw.partition(b"\r\n\r\n")
        start, _, _ = head.partition(b"\r\n")
        head = VARYING.sub(b"", head + b"\r\n")
        if not mark:
            return [*messages, Message(b"", raw, b"", is_whole=False)]
        if methods is None:
            content, raw, is_whole = body(head, rest, is_request=True)
        else:
            status = int(start[9:12])
            is_bare = status < 200 or status in NO_CONTENT
            is_bare |= finals < len(methods) and methods[finals] == b"HEAD"
            finals += status >= 200
            if status == 101:
                content, raw, is_whole = rest, b"", False
            elif is_bare:
                content, raw, is_whole = b"", rest, True
            else:
                content, raw, is_whole = body(head, rest, is_request=False)
        messages.append(Message(start, head, content, is_whole))
    return messages


def body(head: bytes, rest: bytes, *, is_request: bool) -> tuple[bytes, bytes, bool]:
    """Return content, what follows it, and whether it is whole."""
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in lower:
        return dechunked(rest)
    length = LENGTH.search(lower)
    if length is None:
        return (b"", rest, True) if is_request else (rest, b"", False)
    size = int(length[1])
    return rest[:size], rest[size:], len(rest) >= size


def dechunked(raw: bytes) -> tuple[bytes, bytes, bool]:
    content = b""
    while True:
        line, mark, rest = raw.partition(b"\r\n")
        if not mark:
            return content, b"", False
        size = int(line, 16)
        if not size:
            break
        content, raw = content + rest[:size], rest[size + 2 :]
    trailers, mark, rest = (b"\r\n" + rest).partition(b"\r\n\r\n")
    return content + trailers, rest, bool(mark)


def told(messages: list[Message]) -> list[object]:
    """Return messages without what chance has made in our own answers."""
    return [
        message if message.number is not None or not message.start else message.status
        for message in messages
    ]
