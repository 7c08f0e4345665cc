"""One client connection: what the event loop tells of it, and what it holds.

Bytes go to whom they belong: the exchange under way, or the buffer, where what
follows a request waits; a client that sends on and on is not read meanwhile. What
is done for it one request after the other is told in `serving.py`, how it ends in
`farewell.py`. No other file touches a client's socket.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Final

from sidecar.accept import farewell
from sidecar.accept.refusal import refuse, refuse_in_a_flood
from sidecar.accept.response import ResponseWriter
from sidecar.accept.serving import serve
from sidecar.clock import Alarm
from sidecar.rendezvous import Rendezvous
from sidecar.time_limits import TimeLimits
from sidecar.transports import FarewellProbe, unsent_bytes
from sidecar.wire.fields import Hop

if TYPE_CHECKING:
    from sidecar.accept.listener import Acceptor
    from sidecar.destinations import Destination
    from sidecar.exchange import Exchange
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.model import RequestHead
    from sidecar.route.table import Found

_LINGER_BYTES: Final = 16 * 1024 * 1024  # Read and dropped for one that has its answer.
_MAPPED: Final = "::ffff:"  # An address of IPv4 in words of IPv6 (RFC 4291, 2.5.5.2).


class ClientConnection(asyncio.Protocol):
    """HTTP/1.x with one client.

    Attributes:
        meeting: Where its coroutine waits, also for what happens upstream.
        exchange: The request under way.
        buffer: What came, and is not read yet.
        served: Requests that are over.
        limits: Of time, of the exchange under way.
        writer: Of its responses.
        hop: What this hop adds to its requests.
        is_full: It does not read what is there for it.
        is_late: Its alarm has rung while no request was under way.
        is_leaving: It ends with the request under way, or soon.
        is_cut: It ends now.
        is_discarding: What it sends is read and dropped.
        is_gone: The client has left; nothing can be written.
        is_reading_paused: What it sends waits in its socket.
        has_ended: The client sends no more.
        place: Where it was meant to go, if it was intercepted.
        is_trusted: What it says of itself in X-Forwarded-* is believed.
    """

    __slots__ = (
        "_dropped_bytes",
        "_probe",
        "_refusal",
        "acceptor",
        "alarm",
        "buffer",
        "exchange",
        "has_ended",
        "hop",
        "is_cut",
        "is_discarding",
        "is_full",
        "is_gone",
        "is_late",
        "is_leaving",
        "is_reading_paused",
        "is_trusted",
        "last_unsent_bytes",
        "limits",
        "listener",
        "meeting",
        "peer",
        "place",
        "served",
        "transport",
        "writer",
    )

    def __init__(
        self,
        acceptor: Acceptor,
        place: Destination | None = None,
        peer: str = "",
        refusal: ProxyFault | None = None,
    ) -> None:
        self.acceptor = acceptor
        self.place = place
        self._refusal = refusal
        self.listener = acceptor.name
        clock = acceptor.runtime.clock
        self.alarm = Alarm(clock, self._on_alarm)
        self.limits = TimeLimits(clock, self.alarm)
        self.meeting = Rendezvous()
        self.buffer = b""
        self.exchange: Exchange | None = None
        self.is_late = False
        self.is_leaving = False
        self.is_cut = False
        self.is_full = False
        self.is_reading_paused = False
        self.served = 0
        self.is_discarding = False
        self._dropped_bytes = 0
        self.last_unsent_bytes = 0  # When last looked at.
        self._probe: FarewellProbe | None = None  # Since it sends no more.
        self.is_gone = False
        self.has_ended = False
        self.is_trusted = False
        self.peer = peer
        self.hop: Hop
        self.writer: ResponseWriter
        self.transport: asyncio.Transport

    def __repr__(self) -> str:
        """Return its state in a line."""
        doing = "idle" if self.exchange is None else "busy"
        return f"<ClientConnection {self.peer} {doing} served={self.served}>"

    @property
    def is_busy(self) -> bool:
        """Tell whether a request is under way, or has begun to come."""
        if self.exchange is None:
            return bool(self.buffer) or self.is_leaving
        return not self.exchange.is_tunnel

    def find_route(self, head: RequestHead) -> Found | None:
        """Return the way that a request of this client takes to its route."""
        if self.place is None:
            return self.acceptor.runtime.tables[self.listener].find(head)
        return self.place.table.find(head)

    def unsent_bytes(self) -> int:
        """Return how much of what was written for it it has not taken."""
        return unsent_bytes(self.transport)

    def drain(self) -> None:
        """Close it if it is idle; else it ends with its request.

        What the loop has not read yet is a request, too: to close now would reset it,
        and nobody could tell whether it was processed.
        """
        self.is_leaving = True
        if self.exchange is None and not self.buffer and not self._has_input():
            self.meeting.deliver()

    def _has_input(self) -> bool:
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return False
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        return bool(poller.poll(0))

    def cut(self) -> None:
        """End it now, but answer what is under way."""
        self.is_leaving = self.is_cut = True
        if self.exchange is not None:
            self.exchange.cut()
        else:
            self.transport.abort()

    # What the exchange does.

    def open_tunnel(self) -> None:
        """Hand over what came behind the head of an upgrade."""
        data, self.buffer = self.buffer, b""
        if data and self.exchange is not None:
            self.exchange.on_client_data(data)
        self.resume_reading()

    def write_eof(self) -> None:
        """Tell the client that nothing more comes."""
        if not self.is_gone and self.transport.can_write_eof():
            self.transport.write_eof()

    def pause_reading(self) -> None:
        """Let the socket fill up."""
        if not self.is_reading_paused and not self.transport.is_closing():
            self.is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self.is_reading_paused:
            self.is_reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving, or refuse when there are too many."""
        self.transport = transport  # type: ignore[assignment]  # A TCP one.
        buffer_bytes = self.acceptor.runtime.snapshot.limits.buffer_bytes
        self.writer = ResponseWriter(self.transport, buffer_bytes)
        if not self.peer:
            address = transport.get_extra_info("peername") or ("", 0)
            self.peer = peer_of(str(address[0]))
        self.is_trusted = self.acceptor.is_trusted(self.peer)
        self.hop = Hop(
            self.acceptor.runtime.via,
            self.peer.encode("latin-1"),
            b"http",
            is_trusted=self.is_trusted,
        )
        refusal = self._refusal or self.acceptor.admit(self)
        if refusal is not None:
            if self.acceptor.may_linger(self):
                refuse(self.acceptor.runtime, self, refusal)
                self.meeting.run(farewell.see_off(self))
            else:
                refuse_in_a_flood(self.acceptor.runtime, self, refusal)
                farewell.close(self)
            return
        self.meeting.run(serve(self))

    def data_received(self, data: bytes) -> None:
        """Give bytes to whom they belong."""
        exchange = self.exchange
        if exchange is not None:
            rest = exchange.on_client_data(data)
            if rest:
                self.buffer += rest
                limits = self.acceptor.runtime.snapshot.limits
                if len(self.buffer) > limits.buffer_bytes:
                    self.pause_reading()
            if exchange.is_gathering:  # The rest is in its place: it may go on.
                self.meeting.deliver()
        elif self.is_discarding:
            self._discard(data)
        else:
            self.buffer += data
            if self.is_full:  # It is to read first.
                limits = self.acceptor.runtime.snapshot.limits
                if len(self.buffer) > limits.buffer_bytes:
                    self.pause_reading()
            self.meeting.deliver()

    def _discard(self, data: bytes) -> None:
        self._dropped_bytes += len(data)
        if self._dropped_bytes > _LINGER_BYTES and not self.is_late:
            self.is_late = True
            self.meeting.deliver()

    def eof_received(self) -> bool:
        """The client sends no more: it has left, or has only said all.

        Both look alike, see `FarewellProbe`. Without that, one that asked to close
        after this response is taken for one that waits for it.
        """
        self.has_ended = True
        self.meeting.deliver()
        exchange = self.exchange
        if exchange is None:
            return True
        exchange.on_client_end()
        runtime = self.acceptor.runtime
        mode = runtime.snapshot.limits.half_close
        if exchange.is_tunnel or self.exchange is not exchange:
            return True
        if mode == "abort" and not exchange.is_last:
            self._leave()
        elif mode == "probe" and self._probe is None:
            self._probe = FarewellProbe(self.transport, runtime.clock, self._on_left)
            self._probe.start()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        del error  # Why it went does not matter: the client left.
        self.acceptor.forget(self)
        if self.place is not None:
            self.acceptor.runtime.destinations.leave(self.place)
        self.alarm.close()
        if self._probe is not None:
            self._probe.stop()
        self._leave()

    def _leave(self) -> None:
        self.is_gone = self.has_ended = True
        if self.exchange is not None:
            self.exchange.on_client_gone()
        self.meeting.deliver()

    def _on_left(self) -> None:
        """It had closed, not only said all."""
        self.transport.abort()
        self._leave()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self.is_full = True
        if self.exchange is not None:
            self.exchange.pause_response()

    def resume_writing(self) -> None:
        """It reads again."""
        self.is_full = False
        self.writer.marks.relax()
        if self.exchange is not None:
            self.exchange.resume_response()
        else:
            self.meeting.deliver()

    def _on_alarm(self) -> None:
        if self.exchange is not None:
            self.exchange.on_alarm()
            return
        if self.transport.is_closing():
            if farewell.has_read_some(self):
                farewell.await_flush(self)
            else:
                farewell.give_up_on(self)
            return
        self.is_late = True
        self.meeting.deliver()


def peer_of(host: str) -> str:
    """Return the address of a peer; of IPv4 as such, also on a socket of both."""
    if host.startswith(_MAPPED) and "." in host:
        return host[len(_MAPPED) :]
    return host
