"""One connection to an endpoint: the only file that touches an upstream socket.

It sends one request at a time and tells a `ResponseSink` what comes back, by
callback and in order: interim heads, the head with the content that came along,
more content, the end; or that it was lost. Idle, it holds no sink, and a byte or
an end of input makes it useless.

A sink may do anything when it is told, also give this connection back and begin
the next request on it: so every method tells last, and looks at nothing after.
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import TYPE_CHECKING, Final

from sidecar.model import UNTIL_CLOSE
from sidecar.transports import unsent_bytes
from sidecar.water_marks import SHORT_BYTES, WaterMarks, read_no_further
from sidecar.wire.fields import named_by_connection
from sidecar.wire.framing import BodyReader, FramingError, body_reader
from sidecar.wire.head import HEAD_END, HeadError, parse_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.model import Fields, ResponseHead
    from sidecar.upstream.sink import ResponseSink

_SWITCHING: Final = 101
_FIRST_FINAL: Final = 200
_MAX_INTERIM: Final = 100  # 1xx before a response; all with less than one head's bytes.
_NO_TRAILERS: Fields = []
_LAST_WORDS_BYTES: Final = 64 * 1024


class UpstreamConnection(asyncio.Protocol):
    """HTTP/1.1, one request at a time.

    Attributes:
        error: What it was lost to, if that was not an orderly end.
        served: Requests that it was given, the present one included.
        idle_since_s: When it was last given back, on the steady clock.
        opened_s: When it was opened, on the same.
        is_open: Whether bytes can be sent and received.
    """

    __slots__ = (
        "_buffer",
        "_buffer_bytes",
        "_head",
        "_head_bytes",
        "_interim",
        "_interim_bytes",
        "_is_full",
        "_is_reading_paused",
        "_is_tunnel",
        "_is_whole",
        "_marks",
        "_max_head_bytes",
        "_method",
        "_on_closed",
        "_poller",
        "_reader",
        "_sent_bytes",
        "_sink",
        "error",
        "idle_limit_s",
        "idle_since_s",
        "is_open",
        "opened_s",
        "served",
        "transport",
    )

    def __init__(
        self,
        max_head_bytes: int,
        buffer_bytes: int,
        on_closed: Callable[[UpstreamConnection], None],
    ) -> None:
        self._max_head_bytes = max_head_bytes
        self._buffer_bytes = buffer_bytes
        self._marks: WaterMarks
        self._on_closed = on_closed
        self._sink: ResponseSink | None = None
        self._buffer = b""
        self._method = ""
        self._head: ResponseHead | None = None
        self._reader: BodyReader | None = None
        self._is_whole = False  # The response; what follows was not asked for.
        self._poller: select.poll | None = None
        self._is_tunnel = False
        self._is_full = False
        self._is_reading_paused = False
        self._head_bytes = 0  # Of the request.
        self._sent_bytes = 0  # All of it, so far.
        self._interim = self._interim_bytes = 0  # Heads before the response's own.
        self.transport: asyncio.Transport
        self.error: Exception | None = None
        self.served = 0
        self.idle_since_s = self.opened_s = 0.0
        self.idle_limit_s = 0.0  # Set by the pool, shortened by Keep-Alive.
        self.is_open = False

    def __repr__(self) -> str:
        """Return its state in a line."""
        state = "open" if self.is_open else "closed"
        doing = "busy" if self._sink is not None else "idle"
        return f"<UpstreamConnection {state} {doing} served={self.served}>"

    # What the exchange does.

    def begin(self, sink: ResponseSink, method: str, head: bytes) -> None:
        """Send the head of a request; its body follows by `write`."""
        self._sink = sink
        self._method = method
        self._is_whole = False
        self._interim = self._interim_bytes = 0
        self.served += 1
        self._head_bytes = len(head)
        self._sent_bytes = 0
        if not self.is_closing:
            self._sent_bytes = len(head)
            self.transport.write(head)

    def write(self, data: bytes) -> None:
        """Send what follows the head; nothing goes out when the peer is gone."""
        if not self.is_closing:  # Else the loop is about to tell what it is lost to.
            self._sent_bytes += len(data)
            if len(data) < SHORT_BYTES:
                self._marks.count_short()
            self.transport.write(data)

    def write_eof(self) -> None:
        """Tell the other end of a tunnel that nothing more comes."""
        if self.is_open and self.transport.can_write_eof():
            self.transport.write_eof()

    @property
    def is_closing(self) -> bool:
        """Tell whether it is closed, or about to be: nothing can be sent."""
        return not self.is_open or self.transport.is_closing()

    @property
    def is_full(self) -> bool:
        """Tell whether its peer does not read what is there for it."""
        return self._is_full

    def has_input(self) -> bool:
        """Tell whether an idle connection has something to read: its end, mostly.

        The event loop may not have come round to it. What lies there would be taken
        for the answer to a request that has not been sent yet, so the system call,
        less than a microsecond, is worth its while.
        """
        if self._poller is None:
            self._poller = select.poll()
            sock = self.transport.get_extra_info("socket")
            self._poller.register(sock, select.POLLIN)
        return bool(self._poller.poll(0))

    def unsent_bytes(self) -> int:
        """Return how many bytes the peer has not taken, those in the socket too."""
        return unsent_bytes(self.transport)

    @property
    def may_have_received(self) -> bool:
        """Tell whether the peer can have got the whole head of the request."""
        unsent_bytes = self.transport.get_write_buffer_size()
        if self._is_full:  # A transport that is lost has forgotten what it held.
            unsent_bytes = max(unsent_bytes, self._marks.low_bytes)
        return unsent_bytes <= self._sent_bytes - self._head_bytes

    @property
    def has_response_bytes(self) -> bool:
        """Tell whether any byte of a response has come."""
        return self._head is not None or bool(self._buffer)

    def release(self) -> bool:
        """Forget the sink; return whether another request may follow."""
        self._sink = None
        if self._is_reading_paused:
            self.resume_reading()
        head = self._head
        self._head = self._reader = None  # Idle, it keeps nothing of them.
        return (
            self._is_whole
            and head is not None
            and head.keep_alive
            and head.body_bytes != UNTIL_CLOSE
            and self.is_open
            and not self._buffer  # More than was declared.
            and not self._is_full  # The next request would wait behind what it holds.
            and not self.transport.is_closing()
        )

    def close(self) -> bool:
        """Close; nobody is told.

        Idle, a TLS connection is closed in its own words (RFC 9112, 9.8). In all
        other cases at once: what is still to be sent shall not be.

        Returns:
            Whether it waits for its peer's last word, see `abort`.
        """
        is_idle = self._sink is None
        self._sink = None
        if is_idle and self.transport.get_extra_info("ssl_object") is not None:
            self.is_open = False
            self.transport.close()
            return True
        self.transport.abort()
        return False

    def abort(self) -> None:
        """Be gone, whatever the peer does."""
        self.transport.abort()

    def pause_reading(self) -> None:
        """Let the socket fill up: who reads the response cannot keep pace."""
        if not self._is_reading_paused and self.is_open:
            self._is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self._is_reading_paused:
            self._is_reading_paused = False
            if self.is_open and not self.transport.is_closing():
                self.transport.resume_reading()
            if self._buffer and self._head is None and self._sink is not None:
                self._take_head(self._sink, self._buffer)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready to send."""
        self.transport = transport  # type: ignore[assignment]  # A TCP one.
        self._marks = WaterMarks(self.transport, self._buffer_bytes)
        if transport.get_extra_info("ssl_object") is not None:
            read_no_further(transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Hand on what came, as what it is."""
        sink = self._sink
        if sink is None or self._is_whole:
            self._buffer += data[:1]  # Nobody asked: never to be used again.
            self.transport.abort()
        elif self._reader is not None:
            self._take_body(sink, self._reader, data)
        elif self._is_tunnel:
            sink.on_body(data)
        else:
            self._take_head(sink, self._buffer + data if self._buffer else data)

    def eof_received(self) -> bool:
        """End of input: the end of a body, half of a tunnel, or a loss."""
        sink, reader = self._sink, self._reader
        if sink is None or self._is_whole:
            self.is_open = False  # For who looks before the loop closes it.
            return False
        if self._is_tunnel:
            sink.on_end(_NO_TRAILERS)
            return True  # The other half may still be in use.
        if reader is not None and reader.end_of_input():
            self._is_whole = True
            sink.on_end(reader.trailers)
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever is concerned."""
        self.is_open = False
        if self._sink is not None and self._head is None:
            self._take_last_words(self._sink, error)
        self.error = error
        sink, self._sink = self._sink, None
        self._on_closed(self)
        if sink is not None and not self._is_whole:
            sink.on_lost(error)

    def pause_writing(self) -> None:
        """Hand on that the socket is full."""
        self._is_full = True
        if self._sink is not None:
            self._sink.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that it is not."""
        self._is_full = False
        self._marks.relax()
        if self._sink is not None:
            self._sink.resume_writing()

    def _take_last_words(self, sink: ResponseSink, error: Exception | None) -> None:
        """Take what is here although the connection is gone: held, or not yet read."""
        is_holding = self._is_reading_paused
        self._is_reading_paused = False
        data = b"" if error is None else self._unread()
        if data or (is_holding and self._buffer):
            self._take_head(sink, self._buffer + data)

    def _unread(self) -> bytes:
        """Read what is here although the connection broke.

        Who refuses a long body answers, closes, and its system resets what still
        comes. The loop tells of the failed write first; the answer lies unread.
        """
        if self.transport.get_extra_info("ssl_object") is not None:
            return b""
        sock = self.transport.get_extra_info("socket")
        try:
            return os.read(sock.fileno(), _LAST_WORDS_BYTES) if sock else b""
        except OSError:
            return b""

    # Heads and bodies.

    def _take_head(self, sink: ResponseSink, data: bytes) -> None:
        """Take heads until the final one, and what came behind it."""
        while True:
            end = data.find(HEAD_END)
            if end < 0 or end > self._max_head_bytes:
                self._wait_for_head(sink, data, is_here=end >= 0)
                return
            self._buffer = b""
            try:
                head = parse_response(data[: end + 4], self._method)
            except HeadError as error:
                self._refuse(sink, error)
                return
            data = data[end + 4 :]
            if head.status >= _FIRST_FINAL:
                break
            if head.status == _SWITCHING:
                self._head = head
                self._is_tunnel = True
                sink.on_head(head, data, None)
                return
            self._interim += 1
            self._interim_bytes += end
            if (
                self._interim > _MAX_INTERIM
                or self._interim_bytes > self._max_head_bytes
            ):
                msg = "more interim responses than anyone needs"
                self._refuse(sink, HeadError(msg))
                return
            sink.on_interim(head)
            if not data or self._sink is not sink:
                return
            if self._is_reading_paused:  # Those behind it wait here, as they came.
                self._buffer = data
                return
        self._head = head
        if head.body_bytes == len(data):  # Nearly always: it came in one piece.
            self._is_whole = True
            sink.on_head(head, data, _NO_TRAILERS)
        else:
            self._take_with_content(sink, head, data)

    def _wait_for_head(self, sink: ResponseSink, data: bytes, *, is_here: bool) -> None:
        self._buffer = data
        if is_here or len(data) > self._max_head_bytes:
            self._refuse(sink, HeadError("the response head is too large", 431))

    def _take_with_content(
        self, sink: ResponseSink, head: ResponseHead, rest: bytes
    ) -> None:
        """Begin a body that did not come as one piece."""
        ends_here = named_by_connection(head.named.get(b"connection"))
        self._reader = reader = body_reader(head.body_bytes, ends_here)
        content = b""
        try:
            if reader.is_complete:
                self._buffer = rest
            elif rest:
                content = reader.feed(rest)
                self._buffer = reader.rest
        except FramingError as error:
            sink.on_head(head, b"", None)
            if self._sink is sink:
                self._refuse(sink, error)
            return
        self._is_whole = reader.is_complete
        sink.on_head(head, content, reader.trailers if reader.is_complete else None)

    def _take_body(self, sink: ResponseSink, reader: BodyReader, data: bytes) -> None:
        try:
            content = reader.feed(data)
        except FramingError as error:
            self._refuse(sink, error)
            return
        if not reader.is_complete:
            if content:
                sink.on_body(content)
            return
        self._buffer = reader.rest
        self._is_whole = True
        if content:
            sink.on_body(content)
        sink.on_end(reader.trailers)

    def _refuse(self, sink: ResponseSink, error: HeadError | FramingError) -> None:
        self._sink = None
        self.transport.abort()
        sink.on_malformed(error)
