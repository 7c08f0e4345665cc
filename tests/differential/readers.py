"""Readers of a stream of requests, none of which is a part of the proxy.

Each returns the requests that it reads before it stops, and whether it stopped at
something that it refuses. A last request that is not whole is no request.
"""

from __future__ import annotations

import re
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import h11

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[bytes], "Read"]

_MAX_BYTES = 1 << 20
_START = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/1\.([01])")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t -~\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")


class Request(NamedTuple):
    """What an application would act on."""

    method: bytes
    target: bytes
    body: bytes


class Read(NamedTuple):
    """What a reader made of a stream."""

    requests: list[Request]
    refusal: str = ""  # Why it stopped; empty: it is content, or waits for more.
    whole_bytes: int = 0  # How far the requests go; only the strict reader tells.


class _RefusedError(Exception):
    """The stream is not what this reader allows."""


class _CutError(Exception):
    """The stream ends in the middle of a request."""


def strict(stream: bytes) -> Read:
    """Read as RFC 9112 says, and take nothing that it allows to be refused."""
    requests: list[Request] = []
    at = 0
    try:
        while at < len(stream):
            request, at = _request(stream, at)
            requests.append(request)
    except _CutError:
        pass
    except _RefusedError as error:
        return Read(requests, str(error), at)
    return Read(requests, "", at)


def _request(stream: bytes, at: int) -> tuple[Request, int]:
    end = stream.find(b"\r\n\r\n", at)
    if end < 0:
        raise _CutError
    first, *lines = stream[at:end].split(b"\r\n")
    start = _START.fullmatch(first)
    if start is None:
        msg = f"start line: {first[:80]!r}"
        raise _RefusedError(msg)
    fields = [_field(line) for line in lines]
    if [name for name, _ in fields].count(b"host") != 1:
        msg = "not one Host"
        raise _RefusedError(msg)
    body, at = _body(stream, end + 4, fields)
    return Request(start[1], start[2], body), at


def _field(line: bytes) -> tuple[bytes, bytes]:
    field = _FIELD.fullmatch(line)
    if field is None:
        msg = f"field: {line[:80]!r}"
        raise _RefusedError(msg)
    return field[1].lower(), field[2].rstrip(b" \t")


def _body(
    stream: bytes, at: int, fields: list[tuple[bytes, bytes]]
) -> tuple[bytes, int]:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        msg = "more than one length"
        raise _RefusedError(msg)
    if codings:
        if codings[0].lower() != b"chunked":
            msg = f"coding {codings[0]!r}"
            raise _RefusedError(msg)
        return _chunks(stream, at)
    if not lengths:
        return b"", at
    if _LENGTH.fullmatch(lengths[0]) is None:
        msg = f"length {lengths[0]!r}"
        raise _RefusedError(msg)
    end = at + int(lengths[0])
    if end > len(stream):
        raise _CutError
    return stream[at:end], end


def _chunks(stream: bytes, at: int) -> tuple[bytes, int]:
    body = b""
    while True:
        line, at = _line(stream, at)
        if _SIZE.fullmatch(line) is None:
            msg = f"chunk size {line[:80]!r}"
            raise _RefusedError(msg)
        size = int(line, 16)
        if not size:
            break
        if at + size + 2 > len(stream):
            raise _CutError
        if stream[at + size : at + size + 2] != b"\r\n":
            msg = "a chunk does not end where it should"
            raise _RefusedError(msg)
        body += stream[at : at + size]
        at += size + 2
    while True:
        line, at = _line(stream, at)
        if not line:
            return body, at
        _field(line)


def _line(stream: bytes, at: int) -> tuple[bytes, int]:
    end = stream.find(b"\r\n", at)
    if end < 0:
        raise _CutError
    return stream[at:end], end + 2


def by_h11(stream: bytes) -> Read:
    """Read with h11, as a server."""
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_BYTES)
    judge.receive_data(stream)
    requests: list[Request] = []
    begun, body = Request(b"", b"", b""), b""
    try:
        while True:
            event = judge.next_event()
            if isinstance(event, h11.Request):
                begun, body = Request(event.method, event.target, b""), b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                requests.append(begun._replace(body=body))
                judge.send(h11.Response(status_code=200, headers=_NO_BODY))
                judge.send(h11.EndOfMessage())
                if judge.our_state is not h11.DONE:
                    return Read(requests)
                judge.start_next_cycle()
            else:
                return Read(requests)
    except h11.RemoteProtocolError as error:
        return Read(requests, str(error))


_NO_BODY = [(b"Content-Length", b"0")]


class _Handler(BaseHTTPRequestHandler):
    """The head of a request as the standard library reads it; no socket."""

    protocol_version = "HTTP/1.1"

    def __init__(self, stream: bytes) -> None:
        self.rfile = BytesIO(stream)
        self.wfile = BytesIO()
        self.client_address = ("127.0.0.1", 1)
        self.refusal = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        self.refusal = format % args

    def next_head(self) -> bool:
        """Read a head; tell whether there was one that it takes."""
        self.raw_requestline = self.rfile.readline(65537)
        self.close_connection = True
        return bool(self.raw_requestline) and self.parse_request()


def by_http_server(stream: bytes) -> Read:
    """Read heads with `http.server`, and bodies as a handler of it would."""
    handler = _Handler(stream)
    requests: list[Request] = []
    while handler.next_head():
        method, target, *_ = handler.raw_requestline.split()
        body = _body_of(handler)
        if body is None:
            break
        requests.append(Request(method, target, body))
    return Read(requests, handler.refusal)


def _body_of(handler: _Handler) -> bytes | None:
    """Return a body, or None when it is not whole."""
    if "chunked" in handler.headers.get("Transfer-Encoding", "").lower():
        body = b""
        while size := int(handler.rfile.readline().partition(b";")[0] or b"0", 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        while line := handler.rfile.readline():
            if line in (b"\r\n", b"\n"):
                return body
        return None
    length = int(handler.headers.get("Content-Length", "0"))
    body = handler.rfile.read(length)
    return body if len(body) == length else None


READERS: dict[str, Reader] = {
    "strict": strict,
    "h11": by_h11,
    "http.server": by_http_server,
}
