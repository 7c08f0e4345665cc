"""Writing one response to a client, framed as that client can read it.

    length known          as it is
    length not known      HTTP/1.1: chunked      HTTP/1.0: until the close

A response that breaks off is broken for the client, too: `abort` leaves out the
last chunk, or closes short of the declared length (RFC 9112, section 8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.water_marks import SHORT_BYTES, WaterMarks
from sidecar.wire.framing import encode_chunk, encode_last_chunk

if TYPE_CHECKING:
    import asyncio

    from sidecar.faults.render import LocalReply
    from sidecar.model import Fields, ResponseHead

_KEEP_ALIVE_1_0: Final = b"Connection: keep-alive\r\n"
_CLOSE: Final = b"Connection: close\r\n"
_CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
_NO_CONTENT: Final = frozenset((204, 304))


class ResponseWriter:
    """Writes head, body and end of one response after the other.

    Attributes:
        count_bytes: How many body bytes of this response went out.
        has_begun: Its head went out; it cannot be taken back.
        is_chunked: It needs an `end`.
        keep_alive: Whether another response may follow it.
        marks: When its transport is full.
    """

    __slots__ = (
        "_is_head_only",
        "_is_until_close",
        "_minor",
        "_transport",
        "count_bytes",
        "has_begun",
        "is_chunked",
        "keep_alive",
        "marks",
    )

    def __init__(self, transport: asyncio.Transport, buffer_bytes: int) -> None:
        self._transport = transport
        self.marks = WaterMarks(transport, buffer_bytes)
        self.begin(1, keep_alive=True)

    def begin(self, minor: int, *, keep_alive: bool) -> None:
        """Be ready for the response to another request, of HTTP/1.`minor`."""
        self._minor = minor
        self.is_chunked = self._is_head_only = self._is_until_close = False
        self.keep_alive = keep_alive
        self.count_bytes = 0
        self.has_begun = False

    def interim(self, section: bytes) -> None:
        """Write a 1xx response; HTTP/1.0 does not know them (RFC 9110, 15.2)."""
        if self._minor and not self.has_begun:
            self.marks.count_short()
            self._transport.write(section + b"\r\n")

    def start(
        self, section: bytes, head: ResponseHead, method: str, content: bytes
    ) -> None:
        """Write the head and the content that is here already."""
        if method == "HEAD" or head.status in _NO_CONTENT:
            self._is_head_only = True
            content = b""
        elif head.body_bytes < 0:  # CHUNKED or UNTIL_CLOSE.
            if self._minor:
                self.is_chunked = True
                section += _CHUNKED
            else:
                self._is_until_close = True
                self.keep_alive = False
        if not self.keep_alive:
            section += _CLOSE
        elif not self._minor:
            section += _KEEP_ALIVE_1_0
        self.has_begun = True
        if not content:
            self._transport.write(section + b"\r\n")
            return
        self.count_bytes = len(content)
        if self.is_chunked:
            content = encode_chunk(content)
        self._transport.write(b"%b\r\n%b" % (section, content))

    def upgrade(self, section: bytes, protocol: bytes) -> None:
        """Write a 101; what follows is not HTTP."""
        self.has_begun = True
        self.keep_alive = False
        lines = b"Connection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
        self._transport.write(section + lines)

    def reply(self, reply: LocalReply, method: str, via_line: bytes) -> None:
        """Write an answer made here, whole."""
        self.has_begun = True
        self.count_bytes = 0 if method == "HEAD" else len(reply.body)
        whole = whole_reply(
            reply, method, via_line, self._minor, keep_alive=self.keep_alive
        )
        self._transport.write(whole)

    def write(self, data: bytes) -> None:
        """Write content; `data` is not empty."""
        if self._is_head_only:
            return
        self.count_bytes += len(data)
        if len(data) < SHORT_BYTES:
            self.marks.count_short()
        self._transport.write(encode_chunk(data) if self.is_chunked else data)

    def end(self, trailers: Fields) -> None:
        """Write what ends the body."""
        if self.is_chunked:
            self._transport.write(encode_last_chunk(trailers))

    def abort(self, *, at_once: bool) -> None:
        """Make sure that the client sees that the response is not whole.

        Args:
            at_once: Drop what it has not read yet.
        """
        self.keep_alive = False
        if at_once or self._is_until_close:  # A close would look like the end.
            self._transport.abort()
        else:
            self._transport.close()


def whole_reply(
    reply: LocalReply, method: str, via_line: bytes, minor: int, *, keep_alive: bool
) -> bytes:
    """Return the bytes of an answer made here, for a client of HTTP/1.`minor`."""
    lines = b"".join(b"%b: %b\r\n" % field for field in reply.fields)
    section = b"HTTP/1.1 %d %b\r\n%bContent-Length: %d\r\n%b" % (
        reply.status,
        reply.reason,
        lines,
        len(reply.body),
        via_line,
    )
    if not keep_alive:
        section += _CLOSE
    elif not minor:
        section += _KEEP_ALIVE_1_0
    return b"%b\r\n%b" % (section, b"" if method == "HEAD" else reply.body)
