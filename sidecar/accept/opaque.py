"""A connection that is passed on as it is: bytes both ways, whatever is spoken.

    connect   to where it was meant to go, maybe before it is known to be opaque
    begin     the client's side is here, with what it has said so far
    end       both sides have said all, or one of them is lost

Each side is read only as fast as the other one takes it. A failure has its 316 code,
like any other; the client, in whose language nothing can be said, sees a reset.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Final

from sidecar.clock import Alarm
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_timeout
from sidecar.model import Phase, Processed, TimeoutKind
from sidecar.water_marks import SHORT_BYTES, WaterMarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.accept.listener import Acceptor
    from sidecar.accept.way import Connecting
    from sidecar.destinations import Destination

_log = logging.getLogger(__name__)

# Where a database listens: who is called at night looks for one word.
_DATABASES: Final = frozenset((1433, 1521, 3306, 5432, 6379, 9042, 11211, 26257, 27017))


class _End(asyncio.Protocol):
    """One side of it."""

    def __init__(self, owner: OpaqueConnection, direction: str) -> None:
        self._owner = owner
        self.direction = direction  # Of what it reads.
        self.count_bytes = 0
        self.has_ended = False  # It sends no more.
        self.is_gone = False
        self.transport: asyncio.Transport | None = None
        self._marks: WaterMarks

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # A TCP one.
        buffer_bytes = self._owner.buffer_bytes
        self._marks = WaterMarks(self.transport, buffer_bytes)  # type: ignore[arg-type]
        self._owner.on_made(self)

    def data_received(self, data: bytes) -> None:
        self._owner.on_data(self, data)

    def eof_received(self) -> bool:
        self.has_ended = True
        self._owner.on_end(self)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = self.has_ended = True
        self._owner.on_lost(self, error)

    def pause_writing(self) -> None:
        self._owner.other(self).pause_reading()

    def resume_writing(self) -> None:
        self._marks.relax()
        self._owner.other(self).resume_reading()

    # What its owner does.

    def pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            if len(data) < SHORT_BYTES:
                self._marks.count_short()
            self.transport.write(data)

    def write_eof(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()

    def close(self, *, is_reset: bool) -> None:
        """End it, now or once what was written has been taken."""
        if self.transport is None or self.is_gone:
            return
        if is_reset:
            reset(self.transport)
        else:
            self.transport.close()


class OpaqueConnection:
    """One client, and whom it wanted to speak to.

    Attributes:
        peer: Address of the client.
        place: Where it was meant to go.
        buffer_bytes: Of each direction.
    """

    def __init__(self, acceptor: Acceptor, peer: str, place: Destination) -> None:
        self._acceptor = acceptor
        self._runtime = acceptor.runtime
        self._clock = acceptor.runtime.clock
        self._limits = acceptor.interception
        self._alarm = Alarm(self._clock, self._on_alarm)
        self._near = _End(self, "in")
        self._far = _End(self, "out")
        self._way: Connecting | None = None
        self._on_first: Callable[[bytes], None] | None = None
        self._early = b""  # Of the server, before it is known what this is.
        self._waiting = b""  # Of the client, before there is a connection.
        self._fault: ProxyFault | None = None
        self._has_begun = False
        self._is_over = False
        self._is_forgotten = False
        self.peer = peer
        self.place = place
        self.buffer_bytes = acceptor.runtime.snapshot.limits.buffer_bytes
        self.transport: asyncio.Transport  # The client's.

    def __repr__(self) -> str:
        """Return its state in a line."""
        moved = f"{self._near.count_bytes}/{self._far.count_bytes}"
        return f"<OpaqueConnection {self.peer} to {self.place.address} bytes={moved}>"

    # As the other connections of a listener.

    @property
    def is_busy(self) -> bool:
        """Tell whether a request is under way: nobody knows, and it may last."""
        return False

    def drain(self) -> None:
        """Its protocol may end it; nothing can be said in a language unknown."""

    def cut(self) -> None:
        """End it now, also if what was written is still being read."""
        if self._is_over:
            self._end_both(is_reset=True)
        else:
            self._close(is_reset=True)

    # What who has taken the client does.

    def connect(self, on_first: Callable[[bytes], None] | None = None) -> None:
        """Begin to connect.

        Args:
            on_first: Called with what the server says first, until `begin`; without
                data when it says nothing and is gone, or was never reached.
        """
        self._on_first = on_first
        self._alarm.set(self._clock.now_s() + self._limits.connect_s)
        self._way = self._acceptor.make_way(
            self._runtime, self.place, self._far, self._on_unreached
        )

    def begin(
        self, transport: asyncio.Transport, data: bytes, *, has_ended: bool
    ) -> None:
        """Take over the client's connection, with what came of it so far."""
        self.transport = transport
        self._has_begun = True
        self._on_first = None
        transport.set_protocol(self._near)
        self._near.connection_made(transport)
        self._runtime.recorder.opaque.opened(self._acceptor.name)
        refusal = self._acceptor.admit(self) or self._fault
        if refusal is not None:
            self._fail(refusal)
            return
        if self._way is None:
            self.connect()
        if data:
            self.on_data(self._near, data)
        if self._early:
            early, self._early = self._early, b""
            self._far.resume_reading()  # First: the client may be full after it.
            self.on_data(self._far, early)
        if has_ended:
            self._near.eof_received()
        if self._far.has_ended:
            self.on_end(self._far)

    def drop(self) -> None:
        """It turned out to be HTTP, or the client has left: the connection goes."""
        self._is_over = True
        self._let_go()
        if self._far.transport is not None:
            self._far.transport.abort()

    # What the way there, and the two sides tell.

    def other(self, side: _End) -> _End:
        """Return the other side."""
        return self._far if side is self._near else self._near

    def on_made(self, side: _End) -> None:
        """A side is there; what the client has said meanwhile comes first."""
        if side is self._near:
            return
        if self._is_over:
            side.close(is_reset=True)
            return
        self._touch()
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._near.resume_reading()  # First: the server may be full after it.
            side.write(waiting)
        if self._has_begun and self._near.has_ended:
            side.write_eof()

    def _on_unreached(self, fault: ProxyFault) -> None:
        if self.place.address.port in _DATABASES:
            words = f"{fault.spec.code}: {fault.detail}"
            fault = ProxyFault(FaultCode.DB_CONN_ERR, words, phase=Phase.CONNECT)
        self._give_up(fault)

    def on_data(self, side: _End, data: bytes) -> None:
        """Bytes have come."""
        side.count_bytes += len(data)
        if not self._has_begun:
            self._early += data
            side.pause_reading()
            if self._on_first is not None:
                self._on_first(data)
            return
        self._touch()
        self._runtime.recorder.opaque.moved(
            self._acceptor.name, side.direction, len(data)
        )
        other = self.other(side)
        if other.transport is not None:
            other.write(data)
            return
        self._waiting += data
        if len(self._waiting) > self.buffer_bytes:
            side.pause_reading()

    def on_end(self, side: _End) -> None:
        """One side has said all."""
        if not self._has_begun:
            if self._on_first is not None:
                self._on_first(b"")
            return
        other = self.other(side)
        other.write_eof()
        if other.has_ended:
            self._close(is_reset=False)

    def on_lost(self, side: _End, error: Exception | None) -> None:
        """One side is gone; so is the other."""
        if self._is_over:
            self._forget()
        elif side is self._far and (error is not None or not self._has_begun):
            self._give_up(self._loss(error))
        else:
            self._close(is_reset=error is not None)

    def _loss(self, error: Exception | None) -> ProxyFault:
        return ProxyFault(
            FaultCode.CONN_RESET,
            f"{self.place.reached_at}: {error or 'gone'}",
            phase=Phase.TUNNEL,
            processed=Processed.UNKNOWN,
        )

    # Its end.

    def _touch(self) -> None:
        if self._far.transport is not None:
            self._alarm.set(self._clock.now_s() + self._limits.idle_s)

    def _on_alarm(self) -> None:
        limits = self._limits
        if self._is_over:
            self._end_both(is_reset=True)  # What is cut off is to look so.
        elif self._far.transport is None:
            self._on_unreached(
                classify_timeout(TimeoutKind.CONNECT, Phase.CONNECT, limits.connect_s)
            )
        else:
            self._give_up(
                classify_timeout(TimeoutKind.TUNNEL_IDLE, Phase.TUNNEL, limits.idle_s)
            )

    def _give_up(self, fault: ProxyFault) -> None:
        """Fail, as soon as there is a client to fail for."""
        if self._is_over:
            return
        self._fault = fault
        self._let_go()
        if self._has_begun:
            self._fail(fault)
        elif self._on_first is not None:
            self._on_first(b"")

    def _fail(self, fault: ProxyFault) -> None:
        """End it, and tell why."""
        if fault.limit is not None:
            self._runtime.recorder.limit_hit(fault.limit)
        self._runtime.recorder.fault(
            fault.spec,
            fault.detail,
            phase=fault.phase.value,
            processed=fault.processed.value,
            listener=self._acceptor.name,
            endpoint=str(self.place.reached_at),
            client=self.peer,
            timeout_kind="" if fault.timeout is None else fault.timeout.value,
        )
        self._fault = fault
        self._close(is_reset=True)

    def _close(self, *, is_reset: bool) -> None:
        self._is_over = True
        self._let_go()
        self._end_both(is_reset=is_reset)
        # What was written may still be read, but not for ever.
        flush_s = self._runtime.snapshot.limits.flush_s
        self._alarm.set(self._clock.now_s() + flush_s)
        self._runtime.recorder.opaque.closed(
            self._acceptor.name, "ended" if self._fault is None else "failed"
        )
        self._forget()

    def _end_both(self, *, is_reset: bool) -> None:
        for side in (self._near, self._far):
            side.close(is_reset=is_reset)

    def _forget(self) -> None:
        """It counts until both sides are gone: each holds a descriptor."""
        is_gone = all(s.is_gone or s.transport is None for s in (self._near, self._far))
        if not is_gone or self._is_forgotten:
            return
        self._is_forgotten = True
        self._alarm.close()
        if self._has_begun:
            self._acceptor.forget(self)
            self._runtime.destinations.leave(self.place)

    def _let_go(self) -> None:
        self._alarm.close()
        if self._way is not None:
            self._way.stop()


def reset(transport: asyncio.Transport) -> None:
    """Close so that the other side can tell it from an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            _log.debug("no reset: the connection is gone")
    transport.abort()


_NO_LINGER: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # On, for no time.
