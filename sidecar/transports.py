"""What the kernel knows of a connection, and asyncio does not tell.

    unsent_bytes   written here, but not yet taken by the other end's system
    FarewellProbe  has a peer that sends no more closed, or only said all?

An end of input looks the same in both cases: TCP tells only who sends something
whether anybody is there to read it (RFC 9293, 3.10.7.1: a closed one answers with a
reset). So the probe sends a byte that no reader gets: one of urgent data, which
stays out of the stream unless a program asks for it inline (RFC 6093).
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import sys
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from sidecar.clock import Clock, Timer

_FIRST_LOOK_S = 0.001  # The reset takes a round trip,
_LAST_LOOK_S = 1.0  # or more, if packets are lost.
_INT = struct.Struct("i")


def unsent_bytes(transport: asyncio.BaseTransport) -> int:
    """Return how many written bytes the other end's system has not taken.

    What lies in the socket counts, too: it holds some hundred KiB, and a reader may
    need minutes for that before the transport sees any of it go.
    """
    size = int(transport.get_write_buffer_size())  # type: ignore[attr-defined]
    sock = transport.get_extra_info("socket")
    if sock is None:
        return size
    try:
        queued = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    except (OSError, ValueError):  # Closed, or no socket of TCP.
        return size
    return size + int(_INT.unpack(queued)[0])


class FarewellProbe:
    """Finds out whether a peer that sends no more is still there to read.

    Args:
        transport: To the peer.
        clock: Time.
        on_gone: Called once if it is not, at once or in a later turn.
    """

    __slots__ = ("_clock", "_next_s", "_on_gone", "_timer", "_transport")

    def __init__(
        self,
        transport: asyncio.BaseTransport,
        clock: Clock,
        on_gone: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._on_gone = on_gone
        self._next_s = _FIRST_LOOK_S
        self._timer: Timer | None = None

    def start(self) -> None:
        """Ask, and look for the answer now and then until `stop`."""
        _send_urgent(self._transport)
        self._look()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if _is_reset(self._transport):
            self._on_gone()
            return
        self._timer = self._clock.call_at(
            self._clock.now_s() + self._next_s, self._look
        )
        self._next_s = min(2 * self._next_s, _LAST_LOOK_S)


def _send_urgent(transport: asyncio.BaseTransport) -> None:
    fd = _fd_of(transport)
    if fd < 0:
        return
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return
    try:
        sock.send(b"\n", socket.MSG_OOB | socket.MSG_DONTWAIT)
    except OSError:
        pass  # Full: what is in there asks as well. Or broken: the look tells.
    finally:
        sock.detach()  # It is the transport's.


def _is_reset(transport: asyncio.BaseTransport) -> bool:
    fd = _fd_of(transport)
    if fd < 0:
        return False
    poller = select.poll()
    poller.register(fd, 0)
    events = poller.poll(0)
    return bool(events) and bool(events[0][1] & (select.POLLERR | select.POLLHUP))


def _fd_of(transport: asyncio.BaseTransport) -> int:
    """Return -1 if there is none, or this system has no such way to ask."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None or sys.platform != "linux" else int(sock.fileno())
