"""A request's body on its way, kept for a while in case it is to be sent again.

Until an attempt has a connection, bytes are only kept, and when `keep_bytes` is
reached the client is not read any further: so a connection that fails never
costs the right to try again. Once a connection takes the bytes and there are
more than `keep_bytes`, they are kept no longer, and the body cannot be replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import CHUNKED, Limit
from sidecar.wire.framing import (
    FramingError,
    body_reader,
    encode_chunk,
    encode_last_chunk,
)

if TYPE_CHECKING:
    from sidecar.upstream.connection import UpstreamConnection


_MOST_PIECES: Final = 64  # That are kept: each is an object of its own.


class BodySource(Protocol):
    """Where the bytes come from."""

    def pause_reading(self) -> None:
        """Send no more for now."""

    def resume_reading(self) -> None:
        """Send again."""


class RequestBody:
    """Reads one body, and writes it to the connection of the present attempt."""

    __slots__ = (
        "_connection",
        "_is_chunked",
        "_keep_bytes",
        "_kept",
        "_max_bytes",
        "_reader",
        "_source",
        "count_bytes",
        "is_replayable",
        "is_sent",
        "rest",
    )

    def __init__(
        self, body_bytes: int, source: BodySource, ends_here: frozenset[bytes]
    ) -> None:
        self._reader = body_reader(body_bytes, ends_here)
        self._is_chunked = body_bytes == CHUNKED
        self._source = source
        self._kept: list[bytes] = []
        self._keep_bytes = 64 * 1024
        self._max_bytes: int | None = None
        self._connection: UpstreamConnection | None = None
        self.count_bytes = 0
        self.is_replayable = True
        self.is_sent = False  # Any of it, to the present attempt.
        self.rest = b""

    @property
    def is_complete(self) -> bool:
        """Tell whether all of it has come from the client."""
        return self._reader.is_complete

    @property
    def is_full(self) -> bool:
        """Tell whether so much has come that no more is read before it is sent."""
        return self.count_bytes >= self._keep_bytes

    def limit(self, keep_bytes: int, max_bytes: int | None, declared: int) -> None:
        """Take the route's limits.

        Raises:
            ProxyFault: The declared length is already over `max_bytes`.
        """
        self._keep_bytes = keep_bytes
        self._max_bytes = max_bytes
        if max_bytes is not None and max(declared, self.count_bytes) > max_bytes:
            raise _too_large(max_bytes)

    def feed(self, data: bytes) -> None:
        """Take bytes from the client.

        Raises:
            ProxyFault: They are not framed as they should be, or too many.
        """
        try:
            content = self._reader.feed(data)
        except FramingError as error:
            raise ProxyFault(FaultCode.VALIDATION_ERR, str(error)) from None
        if self._reader.is_complete:
            self.rest = self._reader.rest
        if content:
            self._take(content)
        if self._reader.is_complete and self._connection is not None:
            self._finish(self._connection)

    def attach(self, connection: UpstreamConnection) -> None:
        """Send what has come so far, and all that comes, to `connection`."""
        self._connection = connection
        self._source.resume_reading()  # First: what is sent may pause it again.
        for content in self._kept:
            self._send(connection, content)
        if self.count_bytes > self._keep_bytes:
            self._stop_keeping()
        if self._reader.is_complete:
            self._finish(connection)

    def detach(self) -> None:
        """The attempt is over: keep what comes for the next."""
        self._connection = None
        self.is_sent = False

    def discard(self) -> None:
        """Nobody wants the rest of it."""
        self.detach()
        self._stop_keeping()

    def _take(self, content: bytes) -> None:
        self.count_bytes += len(content)
        if self._max_bytes is not None and self.count_bytes > self._max_bytes:
            raise _too_large(self._max_bytes)
        if self.is_replayable:
            self._kept.append(content)
            if len(self._kept) > _MOST_PIECES:
                self._kept = [b"".join(self._kept)]
        if self._connection is not None:
            self._send(self._connection, content)
            if self.count_bytes > self._keep_bytes:
                self._stop_keeping()
        elif self.is_replayable and self.count_bytes >= self._keep_bytes:
            self._source.pause_reading()

    def _send(self, connection: UpstreamConnection, content: bytes) -> None:
        self.is_sent = True
        connection.write(encode_chunk(content) if self._is_chunked else content)

    def _finish(self, connection: UpstreamConnection) -> None:
        if self._is_chunked:
            connection.write(encode_last_chunk(self._reader.trailers))

    def _stop_keeping(self) -> None:
        self.is_replayable = False
        self._kept = []


def _too_large(max_bytes: int) -> ProxyFault:
    return ProxyFault(
        FaultCode.DATA_REQ_SIZE,
        f"the body is over the limit of {max_bytes} bytes",
        limit=Limit.BODY_MAX,
    )
