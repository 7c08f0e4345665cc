"""Where a body ends, and how it is written down again (RFC 9112, sections 6-8).

A reader is fed what comes off a socket. It returns the content in it; what
comes after the end stays in `rest`, which is the next message. Chunked content
is unwrapped and wrapped anew, so that no odd framing is ever handed on.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from sidecar.model import NO_BODY, UNTIL_CLOSE, Fields

LAST_CHUNK: Final = b"0\r\n\r\n"

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t -~\x80-\xff]*)?\r\n")
# The value with its blanks: to split them off backtracks.
_TRAILER: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)\r\n")
_MAX_LINE_BYTES: Final = 512  # A size and its extensions; nobody needs more.
_MAX_TRAILER_BYTES: Final = 16 * 1024  # With the empty line that ends the section.
_MAX_EXTENSION_BYTES: Final = 16 * 1024  # Of a body, in excess of its content.
_ONE_DIGIT: Final = {b"%x\r\n" % n: n for n in range(1, 16)} | {
    b"%X\r\n" % n: n for n in range(10, 16)
}
# RFC 9110, 6.5.1: what frames, routes, authenticates, or decides how the content or
# the response is taken must be known before the content is. And what this hop says.
_FORBIDDEN_TRAILERS: Final = frozenset(
    b"age authorization cache-control connection content-encoding content-length"
    b" content-range content-type cookie date expect expires forwarded grpc-timeout"
    b" host if-match if-modified-since if-none-match if-range if-unmodified-since"
    b" keep-alive location max-forwards pragma proxy-authenticate"
    b" proxy-authorization proxy-connection range retry-after set-cookie te"
    b" traceparent tracestate trailer transfer-encoding upgrade vary via warning"
    b" www-authenticate x-forwarded-for x-forwarded-host x-forwarded-proto"
    b" x-request-id".split()
)
_CONTROL: Final = b"x-316-"
_NO_NAMES: frozenset[bytes] = frozenset()


# What a chunked body has next.
_SIZE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3


class FramingError(Exception):
    """The body is not framed as HTTP/1.1 says; what follows is unknown."""


class TrailersTooLargeError(FramingError):
    """The trailer section is over its limit."""


class BodyReader(Protocol):
    """Unwraps one body."""

    is_complete: bool
    rest: bytes  # Bytes that follow the end; empty until then.
    trailers: Fields

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`; may be empty. Raises `FramingError`."""

    def end_of_input(self) -> bool:
        """Tell whether the body is whole if nothing more comes."""


class LengthReader:
    """A body of a length that is known."""

    __slots__ = ("_left", "is_complete", "rest", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_complete = length == 0
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> bytes:
        """Take what belongs to the body."""
        left = self._left - len(data)
        if left > 0:
            self._left = left
            return data
        self.is_complete = True
        if left == 0:
            self._left = 0
            return data
        data, self.rest = data[: self._left], data[self._left :]
        self._left = 0
        return data

    def end_of_input(self) -> bool:
        """Only a body that has all its bytes is whole."""
        return self.is_complete


class UntilCloseReader:
    """A body that the end of its connection ends."""

    __slots__ = ("is_complete", "rest", "trailers")

    def __init__(self) -> None:
        self.is_complete = False
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> bytes:
        """All of it is content."""
        return data

    def end_of_input(self) -> bool:
        """The end of input is the end of the body."""
        self.is_complete = True
        return True


class ChunkedReader:
    """The chunked transfer coding (RFC 9112, 7.1), read strictly.

    Extensions are dropped, as the RFC asks of who does not know them, and may not be
    much longer than what they come with (7.1.1). Many small chunks are joined.

    Args:
        ends_here: Lower-case names of trailer fields that are for this hop alone.
    """

    __slots__ = (
        "_ends_here",
        "_extension_bytes",
        "_held",
        "_left",
        "_stage",
        "is_complete",
        "rest",
        "trailers",
    )

    def __init__(self, ends_here: frozenset[bytes] = _NO_NAMES) -> None:
        self._ends_here = ends_here
        self._extension_bytes = 0  # In excess of the content that they came with.
        self._stage = _SIZE
        self._left = 0
        self._held = b""
        self.is_complete = False
        self.rest = b""
        self.trailers: Fields = []

    def feed(self, data: bytes) -> bytes:
        """Return the content in `data`, the chunks joined."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        at = 0
        while not self.is_complete:
            if self._stage == _SIZE:
                at = _take_tiny_chunks(data, at, pieces)
            after = self._step(data, at, pieces)
            if after < 0:
                self._held = data[at:]
                break
            at = after
        else:
            self.rest = data[at:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def end_of_input(self) -> bool:
        """Without its last chunk a body is not whole."""
        return self.is_complete

    def _step(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Read one element; return where it ended, or -1 to wait for more."""
        if self._stage == _DATA:
            piece = data[at : at + self._left]
            if not piece:
                return -1
            pieces.append(piece)
            self._left -= len(piece)
            if self._left == 0:
                self._stage = _DATA_END
            return at + len(piece)
        if self._stage == _SIZE:
            return self._read_size(data, at)
        if self._stage == _DATA_END:
            end = data[at : at + 2]
            if end == b"\r\n":
                self._stage = _SIZE
                return at + 2
            if end in (b"", b"\r"):
                return -1
            msg = "a chunk is longer than its size"
            raise FramingError(msg)
        return self._read_trailers(data, at)

    def _read_size(self, data: bytes, at: int) -> int:
        line = _SIZE_LINE.match(data, at)
        if line is None:
            if data.find(b"\n", at) >= 0 or len(data) - at > _MAX_LINE_BYTES:
                msg = "a chunk size is malformed"
                raise FramingError(msg)
            return -1
        if line.end() - at > _MAX_LINE_BYTES:
            msg = "a chunk extension is too long"
            raise FramingError(msg)
        self._left = int(line[1], 16)
        self._stage = _DATA if self._left else _TRAILERS
        extension_bytes = line.end() - line.end(1) - 2
        if extension_bytes:
            excess_bytes = self._extension_bytes + extension_bytes - self._left
            self._extension_bytes = max(0, excess_bytes)
            if excess_bytes > _MAX_EXTENSION_BYTES:
                msg = "chunk extensions outweigh the content"
                raise FramingError(msg)
        return line.end()

    def _read_trailers(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.is_complete = True
            return at + 2
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if len(data) - at > _MAX_TRAILER_BYTES:
                msg = "the trailer section is too large"
                raise TrailersTooLargeError(msg)
            return -1
        if end + 4 - at > _MAX_TRAILER_BYTES:
            msg = "the trailer section is too large"
            raise TrailersTooLargeError(msg)
        self._take_trailers(data, at, end + 2)
        self.is_complete = True
        return end + 4

    def _take_trailers(self, data: bytes, at: int, end: int) -> None:
        while at < end:
            line = _TRAILER.match(data, at, end)
            if line is None:
                msg = "a trailer field is malformed"
                raise FramingError(msg)
            if self._is_let_through(line[1].lower()):
                self.trailers.append((line[1], line[2].strip(b" \t")))
            at = line.end()

    def _is_let_through(self, key: bytes) -> bool:
        return not (
            key in _FORBIDDEN_TRAILERS
            or key in self._ends_here
            or key.startswith(_CONTROL)
        )


def _take_tiny_chunks(data: bytes, at: int, pieces: list[bytes]) -> int:
    """Take chunks of up to 15 bytes as long as they are whole; return where they end.

    They are what makes a reader work hardest for each byte. Whatever is not as plain
    as these, broken ones too, is left to the reader.
    """
    while True:
        size = _ONE_DIGIT.get(data[at : at + 3], 0)
        end = at + 3 + size
        if not size or data[end : end + 2] != b"\r\n":
            return at
        pieces.append(data[at + 3 : end])
        at = end + 2


def body_reader(body_bytes: int, ends_here: frozenset[bytes] = _NO_NAMES) -> BodyReader:
    """Return the reader for a body of that length, as the head tells it.

    Args:
        body_bytes: The length, or CHUNKED, or UNTIL_CLOSE.
        ends_here: Names that Connection lists: no such trailer goes on.
    """
    if body_bytes >= NO_BODY:
        return LengthReader(body_bytes)
    if body_bytes == UNTIL_CLOSE:
        return UntilCloseReader()
    return ChunkedReader(ends_here)


def encode_chunk(data: bytes) -> bytes:
    """Return `data`, which is not empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_last_chunk(trailers: Fields) -> bytes:
    """Return what ends a chunked body."""
    if not trailers:
        return LAST_CHUNK
    lines = b"".join(b"%b: %b\r\n" % field for field in trailers)
    return b"0\r\n" + lines + b"\r\n"
