"""The two sides of a fake connection: what a protocol writes to, and who reads it."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.support.wire import FakeWire


class FakeSocket:
    """A descriptor that can be asked whether it has something to read."""

    def __init__(self, data: bytes = b"") -> None:
        self._fds = os.pipe()
        os.set_blocking(self._fds[0], False)
        os.write(self._fds[1], data)

    def fileno(self) -> int:
        return self._fds[0]

    def setsockopt(self, *_option: int) -> None:
        """Take what a transport's socket is told: it is none."""

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)


class TcpEnd:
    """A socket whose peer, the system of this machine, sends no more.

    Args:
        is_closed: It reads no more, either.
    """

    def __init__(self, *, is_closed: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self._far = socket.create_connection(listening.getsockname())
            self._near, _ = listening.accept()
        if is_closed:
            self._far.close()
        else:
            self._far.shutdown(socket.SHUT_WR)
        self._near.recv(1)  # The end of input: it is known here, too.

    def fileno(self) -> int:
        return self._near.fileno()

    def setsockopt(self, *_option: Any) -> None:
        """Take what a transport's socket is told."""

    def close_far(self) -> None:
        self._far.close()

    def __del__(self) -> None:
        self._far.close()
        self._near.close()


_QUIET = FakeSocket()


class FakeTransport(asyncio.Transport):
    """What a protocol writes to; `End` holds the other side of it."""

    def __init__(self, wire: FakeWire, protocol: Any, peer: str) -> None:
        super().__init__({"peername": (peer, 4321), "socket": _QUIET})
        self._wire = wire
        self.protocol = protocol
        self.end = End(wire, self)
        self.high_water = 64 * 1024
        self.written = b""
        self.unread = 0  # Bytes that the other side did not take.
        self.is_taking = True
        self.is_full = False  # And has said so.
        self.is_lost = False
        self.has_eof = False
        self.was_aborted = False
        self._is_closing = False
        self._is_reading = True

    def write(self, data: Any) -> None:
        assert not self.has_eof, "written after the end"
        if self._is_closing:
            return
        self.written += data
        if not self.is_taking:
            self.unread += len(data)
            self._tell_if_full()

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_eof = True

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self.unread:
                self._wire.later(self._lose)

    def abort(self) -> None:
        self.was_aborted = True
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        self._is_closing = True
        self._wire.later(self._lose, error)

    def _lose(self, error: Exception | None = None) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.unread = 0
            self.protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        del low
        self.high_water = 64 * 1024 if high is None else high
        self._tell_if_full()

    def _tell_if_full(self) -> None:
        if not self.is_full and self.unread > self.high_water:
            self.is_full = True
            self.protocol.pause_writing()

    def pause_reading(self) -> None:
        assert not self._is_closing, "paused when it was closed"
        self._is_reading = False

    def resume_reading(self) -> None:
        assert not self._is_closing, "resumed when it was closed"
        self._is_reading = True
        self._wire.later(self.end.go_on)

    def is_reading(self) -> bool:
        return self._is_reading


class End:
    """The far end of one connection: a client, or an origin."""

    def __init__(self, wire: FakeWire, transport: FakeTransport) -> None:
        self._wire = wire
        self.transport = transport
        self._seen = 0
        self._unsent: list[bytes] = []  # An empty one is the end.
        self.has_ended = False  # It was told to send no more.

    @property
    def received(self) -> bytes:
        """All that ever came."""
        return self.transport.written

    @property
    def is_closed(self) -> bool:
        """Whether the proxy has closed it."""
        return self.transport.is_closing()

    @property
    def is_read(self) -> bool:
        """Whether the proxy reads what is sent here."""
        return self.transport.is_reading()

    @property
    def has_eof(self) -> bool:
        """Whether the proxy has said that it sends no more."""
        return self.transport.has_eof

    def take(self) -> bytes:
        """Return what came since the last call."""
        new = self.transport.written[self._seen :]
        self._seen = len(self.transport.written)
        return new

    def send(self, data: bytes, piece_bytes: int = 0) -> None:
        """Send, whole or in pieces of a size; unread bytes wait in between."""
        step = piece_bytes or len(data)
        self._unsent += [data[at : at + step] for at in range(0, len(data), step)]
        self.go_on()

    def send_eof(self) -> None:
        """Say that no more will be sent."""
        self.has_ended = True
        self._unsent.append(b"")
        self.go_on()

    def go_on(self) -> None:
        """Send what waits, as far as the proxy reads."""
        transport = self.transport
        while self._unsent and transport.is_reading() and not transport.is_closing():
            piece = self._unsent.pop(0)
            if piece:
                transport.protocol.data_received(piece)
            elif not transport.protocol.eof_received():
                transport.close()
            self._wire.turn()

    def close(self) -> None:
        """Close as programs do: first only the end of what it sends is seen."""
        self.transport._extra["socket"] = TcpEnd(is_closed=True)  # type: ignore[attr-defined]
        self.send_eof()

    def shut_down_writing(self) -> None:
        """Have said all, and wait for the answer."""
        self.transport._extra["socket"] = TcpEnd(is_closed=False)  # type: ignore[attr-defined]
        self.send_eof()

    def close_rest(self) -> None:
        """Close after that; what was sent to it unread makes that a reset."""
        sock = self.transport.get_extra_info("socket")
        assert isinstance(sock, TcpEnd)
        sock.close_far()

    @property
    def unsent(self) -> int:
        """How many pieces wait because the proxy does not read."""
        return len(self._unsent)

    def leave(self, error: Exception | None = None) -> None:
        """Be gone, in an orderly way or with an error."""
        self.transport.lose(error)
        self._wire.turn()

    def leave_unread(self, data: bytes) -> None:
        """Have sent something of which the loop has not told yet."""
        self.transport._extra["socket"] = FakeSocket(data)  # type: ignore[attr-defined]
        self.transport.protocol._poller = None  # It asks the socket that was there.

    def stop_taking(self) -> None:
        """Read no more: what is written piles up."""
        self.transport.is_taking = False

    def take_some(self, count_bytes: int) -> None:
        """Read a part of what has piled up, less than makes room for more."""
        assert count_bytes < self.transport.unread
        self.transport.unread -= count_bytes

    def take_all(self) -> None:
        """Read everything that has piled up, and go on reading."""
        transport = self.transport
        transport.is_taking = True
        transport.unread = 0
        if transport.is_full:
            transport.is_full = False
            transport.protocol.resume_writing()
        if transport.is_closing():
            transport.lose(None)
        self._wire.turn()
