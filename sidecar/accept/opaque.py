"""A connection that is passed on as it is: bytes both ways, whatever is spoken.

    connect   to where it was meant to go, maybe before it is known to be opaque
    begin     the client's side is here, with what it has said so far
    end       both sides have said all, or one of them is lost

Each side is read only as fast as the other one takes it. A failure has its 316 code,
like any other; the client, in whose language nothing can be said, sees a reset.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

from sidecar.clock import Alarm
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_connect, classify_timeout
from sidecar.model import Phase, Processed, TimeoutKind
from sidecar.water_marks import WaterMarks

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.accept.listener import Acceptor
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

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # A TCP one.
        buffer_bytes = self._owner.buffer_bytes
        WaterMarks(self.transport, buffer_bytes)  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        self.count_bytes += len(data)
        self._owner.on_data(self, data)

    def eof_received(self) -> bool:
        self.has_ended = True
        self._owner.on_end(self)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = self.has_ended = True
        self._owner.on_lost(self, error)

    def pause_writing(self) -> None:
        self._owner.on_full(self)

    def resume_writing(self) -> None:
        self._owner.on_room(self)

    def pause_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def write_eof(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write_eof()


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
        self._task: asyncio.Task[None] | None = None
        self._on_first: Callable[[bytes], None] | None = None
        self._own_end: tuple[str, int] | None = None
        self._early = b""  # Of the server, before it is known what this is.
        self._waiting = b""  # Of the client, before there is a connection.
        self._fault: ProxyFault | None = None
        self._has_begun = False
        self._is_over = False
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
        """End it now."""
        self._close(is_reset=True)

    # What who has taken the client does.

    def connect(self, on_first: Callable[[bytes], None]) -> None:
        """Begin to connect.

        Args:
            on_first: Called with what the server says first, until `begin`; without
                data when it says nothing and is gone, or was never reached.
        """
        self._on_first = on_first
        self._task = asyncio.get_running_loop().create_task(self._connect())
        self._alarm.set(self._clock.now_s() + self._limits.connect_s)

    def begin(
        self, transport: asyncio.Transport, data: bytes, *, has_ended: bool
    ) -> None:
        """Take over the client's connection, with what came of it so far."""
        self.transport = transport
        self._has_begun = True
        self._on_first = None
        transport.set_protocol(self._near)
        self._near.connection_made(transport)
        refusal = self._acceptor.admit(self)
        self._runtime.recorder.opaque.opened(self._acceptor.name)
        if refusal is not None:
            self._fail(refusal)
            return
        if self._fault is not None:
            self._fail(self._fault)
            return
        if self._task is None:
            self.connect(lambda _: None)
            self._on_first = None
        if data:
            self._near.count_bytes += len(data)
            self.on_data(self._near, data)
        if self._early:
            early, self._early = self._early, b""
            self.on_data(self._far, early)
            self._far.resume_reading()
        if has_ended:
            self._near.has_ended = True
            self.on_end(self._near)
        if self._far.has_ended:
            self.on_end(self._far)

    def drop(self) -> None:
        """It turned out to be HTTP, or the client has left: the connection goes."""
        self._is_over = True
        self._let_go()
        if self._far.transport is not None:
            self._far.transport.abort()

    # The way there.

    async def _connect(self) -> None:
        address = self.place.reached_at
        hosts = (address.host, *address.other_hosts)
        try:
            for number, host in enumerate(hosts):
                is_last = number + 1 == len(hosts)
                try:
                    await self._connect_to(host, address.port)
                except OSError as error:
                    if is_last:
                        raise
                    _log.debug("%s: %s; the next one", host, error)
                else:
                    break
        except OSError as error:
            fault = classify_connect(error, Phase.CONNECT, str(address))
        else:
            self._on_connected()
            return
        self._on_failed(fault)

    async def _connect_to(self, host: str, port: int) -> None:
        """Connect; who takes this connection may be we ourselves, and is to know it."""
        loop = asyncio.get_running_loop()
        is_ipv6 = ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - a version
        sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
        try:
            self._start(sock, (host, port))
            await _until_connected(loop, sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.create_connection(lambda: self._far, sock=sock)
        except BaseException:
            sock.close()
            raise

    def _start(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Begin to connect, and remember by which name.

        Raises:
            OSError: It was refused at once.
        """
        sock.setblocking(False)
        state = sock.connect_ex(address)
        if state not in (0, errno.EINPROGRESS):
            raise OSError(state, os.strerror(state))
        self._forget_own_end()
        name = sock.getsockname()
        self._own_end = (str(name[0]), int(name[1]))
        self._runtime.own_ends.add(self._own_end)

    def _on_connected(self) -> None:
        if self._is_over:
            if self._far.transport is not None:
                self._far.transport.abort()
            return
        self._touch()
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._far.write(waiting)
            self._near.resume_reading()
        if self._near.has_ended and self._has_begun:
            self._far.write_eof()

    def _on_failed(self, fault: ProxyFault) -> None:
        if self._is_over:
            return
        port = self.place.address.port
        if port in _DATABASES:
            words = f"{fault.spec.code}: {fault.detail}"
            fault = ProxyFault(FaultCode.DB_CONN_ERR, words, phase=Phase.CONNECT)
        self._fault = fault
        self._alarm.clear()
        if self._has_begun:
            self._fail(fault)
        elif self._on_first is not None:
            self._on_first(b"")

    # What the two sides tell.

    def on_data(self, side: _End, data: bytes) -> None:
        """Bytes have come."""
        if side is self._far and not self._has_begun:
            self._early += data
            side.pause_reading()
            if self._on_first is not None:
                self._on_first(data)
            return
        self._touch()
        self._runtime.recorder.opaque.moved(
            self._acceptor.name, side.direction, len(data)
        )
        other = self._far if side is self._near else self._near
        if other.transport is None:
            self._waiting += data
            if len(self._waiting) > self.buffer_bytes:
                side.pause_reading()
            return
        other.write(data)

    def on_end(self, side: _End) -> None:
        """One side has said all."""
        if side is self._far and not self._has_begun:
            if self._on_first is not None and not self._early:
                self._on_first(b"")
            return
        other = self._far if side is self._near else self._near
        other.write_eof()
        if other.has_ended:
            self._close(is_reset=False)

    def on_lost(self, side: _End, error: Exception | None) -> None:
        """One side is gone; so is the other."""
        if self._is_over:
            if self._is_gone:
                self._alarm.close()
        elif not self._has_begun:
            if error is not None:
                self._fault = self._loss(error)
            if self._on_first is not None and not self._early:
                self._on_first(b"")
        elif error is None:
            self._close(is_reset=False)
        elif side is self._far:
            self._fail(self._loss(error))
        else:
            self._close(is_reset=True)

    def _loss(self, error: Exception) -> ProxyFault:
        return ProxyFault(
            FaultCode.CONN_RESET,
            f"{self.place.reached_at}: {error}",
            phase=Phase.TUNNEL,
            processed=Processed.UNKNOWN,
        )

    def on_full(self, side: _End) -> None:
        """It takes no more for now: the other one is not read."""
        (self._far if side is self._near else self._near).pause_reading()

    def on_room(self, side: _End) -> None:
        """It takes more."""
        (self._far if side is self._near else self._near).resume_reading()

    # Its end.

    @property
    def _is_gone(self) -> bool:
        return all(s.is_gone or s.transport is None for s in (self._near, self._far))

    def _touch(self) -> None:
        if self._far.transport is not None:
            self._alarm.set(self._clock.now_s() + self._limits.idle_s)

    def _on_alarm(self) -> None:
        limits = self._limits
        if self._is_over:
            for side in (self._near, self._far):
                if side.transport is not None:
                    side.transport.abort()
        elif self._far.transport is None:
            if self._task is not None:
                self._task.cancel()
            self._on_failed(
                classify_timeout(TimeoutKind.CONNECT, Phase.CONNECT, limits.connect_s)
            )
        elif self._has_begun:
            self._fail(
                classify_timeout(TimeoutKind.TUNNEL_IDLE, Phase.TUNNEL, limits.idle_s)
            )

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
        if self._is_over:
            return
        self._is_over = True
        self._let_go()
        for side in (self._near, self._far):
            if side.transport is not None and is_reset:
                reset(side.transport)
            elif side.transport is not None:
                side.transport.close()
        if not self._is_gone:  # What was written may still be read, but not for ever.
            flush_s = self._runtime.snapshot.limits.flush_s
            self._alarm.set(self._clock.now_s() + flush_s)
        self._runtime.recorder.opaque.closed(
            self._acceptor.name, "ended" if self._fault is None else "failed"
        )
        self._acceptor.forget(self)
        self._runtime.destinations.leave(self.place)

    def _let_go(self) -> None:
        self._alarm.close()
        self._forget_own_end()
        if self._task is not None:
            self._task.cancel()

    def _forget_own_end(self) -> None:
        if self._own_end is not None:
            self._runtime.own_ends.discard(self._own_end)
            self._own_end = None


async def _until_connected(
    loop: asyncio.AbstractEventLoop, sock: socket.socket
) -> None:
    """Return when a connection that has begun is made.

    Raises:
        OSError: It is not.
    """
    done: asyncio.Future[None] = loop.create_future()

    def on_writable() -> None:
        if not done.done():
            done.set_result(None)

    loop.add_writer(sock.fileno(), on_writable)
    try:
        await done
    finally:
        loop.remove_writer(sock.fileno())
    state = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if state:
        raise OSError(state, os.strerror(state))


def reset(transport: asyncio.Transport) -> None:
    """Close so that the other side can tell it from an orderly end."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        except OSError:
            _log.debug("no reset: the connection is gone")
    transport.abort()


_NO_LINGER: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # On, for no time.
