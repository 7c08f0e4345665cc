"""When a transport says that it is full: by its bytes, or by how many writes wait.

A transport counts the bytes that its socket does not take. But a write that waits
also costs the event loop some 850 bytes of its own (uvloop 0.21 to 0.23, measured),
however short it is: 64 KiB that came as chunks of one byte would be nine megabytes.
So short writes are counted, and when there were many with something still waiting,
the transport is told that it may hold nothing: it is full at once, says so as it
always does, and says when it is empty.

What the kernel holds behind the transport is bounded as well. Left alone, it lets the
buffer of a socket that sends grow to 4 MiB (net.ipv4.tcp_wmem), and that memory counts
against the limit of the pod: a hundred tunnels whose readers had stopped held 1.5 GB
and brought the whole machine under memory pressure, where packets are dropped.
`TCP_NOTSENT_LOWAT` (tcp(7)) limits what is not sent yet, not what is under way, so
it costs no throughput on a long path; large answers become cheaper, since what is
written is still in the processor's cache when it is sent.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

SHORT_BYTES: Final = 1024  # A write of less is mostly what the loop adds to it.
_FEWEST: Final = 16  # Short writes that may always wait.
_MOST_UNSENT_BYTES: Final = 2**31 - 1  # What the option can say.
_UNSENT_TIMES: Final = 2  # Of the buffer, in the kernel: it takes more at half of it.


class WaterMarks:
    """Sets the limits of one transport.

    Attributes:
        low_bytes: Of a transport that is full, so many wait at least.
    """

    __slots__ = ("_high_bytes", "_is_strict", "_most", "_short", "_transport")

    def __init__(self, transport: asyncio.Transport, high_bytes: int) -> None:
        self._transport = transport
        self._high_bytes = high_bytes
        self._most = max(high_bytes // SHORT_BYTES, _FEWEST)
        self._short = 0  # Short writes since the last look.
        self._is_strict = False
        transport.set_write_buffer_limits(high_bytes, high_bytes // 4)
        _limit_unsent(transport, min(_UNSENT_TIMES * high_bytes, _MOST_UNSENT_BYTES))

    @property
    def low_bytes(self) -> int:
        """How many bytes wait at the least while the transport is full."""
        return 1 if self._is_strict else self._high_bytes // 4

    def count_short(self) -> None:
        """Count a write of less than `SHORT_BYTES`; call it before the write."""
        self._short += 1
        if self._short >= self._most:
            self.look()

    def look(self) -> None:
        """Make the transport full if anything waits in it after many short writes."""
        self._short = 0
        if not self._is_strict and self._transport.get_write_buffer_size():
            self._is_strict = True
            self._transport.set_write_buffer_limits(0, 0)

    def relax(self) -> None:
        """The transport has said that it takes more."""
        self._short = 0
        if self._is_strict and not self._transport.is_closing():
            self._is_strict = False
            self._transport.set_write_buffer_limits(
                self._high_bytes, self._high_bytes // 4
            )


def _limit_unsent(transport: asyncio.Transport, most_bytes: int) -> None:
    """Let the kernel take no more, while so much waits there to be sent."""
    sock = transport.get_extra_info("socket")
    name = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # Linux and macOS have it.
    if sock is None or name is None:
        return
    with suppress(OSError):  # Gone already, or no socket of TCP: a Unix one.
        sock.setsockopt(socket.IPPROTO_TCP, name, most_bytes)


def read_no_further(transport: Any) -> None:
    """Let TLS stop reading its socket as soon as nobody takes what it has.

    By default it reads on into a buffer of 256 KiB, and if it meets the end of the
    connection there, what waits in that buffer is dropped (asyncio's and uvloop's
    SSLProtocol.eof_received): a slow client would miss the end of a response.
    """
    transport.set_read_buffer_limits(1)
