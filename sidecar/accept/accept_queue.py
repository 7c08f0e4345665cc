"""Connections that wait to be accepted, and are not to wait for too long.

    look      how many wait, how many are accepted a second: so long is the wait
    shorten   while it is too long: the kernel drops what is beyond, for nothing
    sweep     who has waited longest gets a short answer without being read

The loop takes one new connection a turn, so too many of them do not show as lag:
they wait in the queue of the socket, until their clients have given up. So that wait
is watched like lag.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.accept.shedding import Shedder
    from sidecar.clock import Timer
    from sidecar.runtime import Runtime

_TICK_S: Final = 0.1
_FAST_TICK_S: Final = 0.02  # While the loop is late.
_MEAN_OF_S: Final = 0.3  # For the mean of what is accepted.
_LEAST_SINCE_S: Final = 1e-3
_MOST_SWEPT: Final = 100  # At once: they cost, too, if little.
_LEAST_BACKLOG: Final = 16
_READ_BYTES: Final = 16 * 1024
_TCP_INFO_BYTES: Final = 32
_UNACKED: Final = struct.Struct("24xI")  # tcpi_unacked: of a listener, who waits.


class AcceptQueue:
    """That of one listener.

    Args:
        runtime: What is shared.
        shedder: Has the answers for who is swept away.
        descriptor: Of the socket that listens.
        backlog: How many may wait, when all is well.

    Attributes:
        accepted: Connections, since the last look.
    """

    __slots__ = (
        "_backlog",
        "_listener",
        "_long_backlog",
        "_looked_s",
        "_per_s",
        "_runtime",
        "_shedder",
        "_ticker",
        "accepted",
    )

    def __init__(
        self, runtime: Runtime, shedder: Shedder, descriptor: int, backlog: int
    ) -> None:
        self._runtime = runtime
        self._shedder = shedder
        self._listener: socket.socket | None = socket.socket(fileno=os.dup(descriptor))
        self._listener.setblocking(False)
        self._long_backlog = self._backlog = backlog
        self._per_s = 0.0  # Connections accepted, of late.
        self.accepted = 0
        self._looked_s = runtime.clock.now_s()
        self._ticker: Timer | None = None
        self._tick_at(self._looked_s + _TICK_S)

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<AcceptQueue backlog={self._backlog}>"

    def close(self) -> None:
        """Look no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def look(self) -> None:
        """Look how long who connects now would wait."""
        listener, now_s = self._listener, self._runtime.clock.now_s()
        if listener is None:
            return
        admission = self._runtime.admission
        since_s = max(now_s - self._looked_s, _LEAST_SINCE_S)
        share = min(1.0, since_s / _MEAN_OF_S)
        self._per_s += share * (self.accepted / since_s - self._per_s)
        self._looked_s, self.accepted = now_s, 0
        count, swept, is_full = waiting(listener), 0, False
        wait_s = count / max(self._per_s, 1.0)
        if admission.is_late:
            limit_s = self._runtime.snapshot.overload.lag_s
            most = max(_LEAST_BACKLOG, int(self._per_s * limit_s / 2))
            swept = self._sweep(listener, min(count - most, _MOST_SWEPT))
            is_full = count >= min(most, self._backlog)  # The kernel refuses, too.
            self._set_backlog(listener, most)
        else:
            self._set_backlog(listener, self._long_backlog)
        admission.observe_queue(now_s, wait_s, has_refused=swept > 0 or is_full)
        self._tick_at(now_s + (_TICK_S if not admission.is_late else _FAST_TICK_S))

    def _tick_at(self, when_s: float) -> None:
        self._ticker = self._runtime.clock.call_at(when_s, self.look)

    def _set_backlog(self, listener: socket.socket, most: int) -> None:
        """Linux takes another length for a socket that listens already."""
        if most != self._backlog:
            self._backlog = most
            listener.listen(most)

    def _sweep(self, listener: socket.socket, count: int) -> int:
        """Refuse so many of the connections that have waited longest."""
        swept = 0
        answer = b""
        for _ in range(count):
            try:
                connection, address = listener.accept()
            except OSError:  # None is left, or no descriptor.
                break
            swept += 1
            answer = answer or self._shedder.answer_unread(str(address[0]))
            _refuse_unread(connection, answer)
        if swept:
            self._shedder.count_unread(swept)
        return swept


def waiting(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted; 0 where nobody tells."""
    try:
        told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(_UNACKED.unpack_from(told)[0])
    except (OSError, AttributeError, struct.error):
        return 0


def _refuse_unread(connection: socket.socket, answer: bytes) -> None:
    """Answer and close; what came is read, or the close would be a reset."""
    with connection, suppress(OSError):  # It has gone, or has not sent anything yet.
        connection.setblocking(False)
        connection.send(answer, socket.MSG_NOSIGNAL)
        connection.recv(_READ_BYTES)
