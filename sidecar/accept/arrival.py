"""A connection that has just been taken: whose it is, where to, and what it speaks.

    PROXY header?   of a load balancer, where the listener is told to expect one
    intercepted?    else it was made to the proxy itself: HTTP
    to ourselves?   refused: 316-PROXY-LOOP
    opaque?         by its port, or because the server there is known to speak first
    the race        the client's first bytes are looked at, while a connection is made
                    to where it wants to go: whoever speaks first decides

Then it is handed over: to `ClientConnection`, or to `OpaqueConnection`. Nobody waits
for the look: a server that speaks first is heard at once. Only a part of what may
become the first line of a request is kept, for a tenth of a second at most; and where
HTTP was spoken before, a client has as long to say a word before a connection is made
for it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sidecar.accept.client import ClientConnection, peer_of
from sidecar.accept.opaque import OpaqueConnection, reset
from sidecar.accept.original import is_of_this_host, original_destination
from sidecar.destinations import Kind
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.wire.proxy_protocol import ProxyHeaderError, parse
from sidecar.wire.sniff import Spoken, guess, spoken

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.accept.listener import Acceptor
    from sidecar.clock import Timer
    from sidecar.destinations import Destination
    from sidecar.settings.snapshot import Address

_log = logging.getLogger(__name__)

_PEEK_S: Final = 0.1
_NOT_AS_SERVER_FIRST: Final = b"HTTP/"  # A server of HTTP that is too busy, or so.


class Arrival(asyncio.Protocol):
    """A client of whom nothing is known yet.

    Attributes:
        peer: Address of the client.
        place: Where its connection was meant to go; None: to the proxy itself.
    """

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self._runtime = acceptor.runtime
        self._clock = acceptor.runtime.clock
        self._data = b""
        self._has_ended = False
        self._is_decided = False
        self._is_in_race = False
        self._awaits_header = False
        self._has_begun = False  # The client, to say something.
        self._timer: Timer | None = None
        self._opaque: OpaqueConnection | None = None  # Made early.
        self.peer = ""
        self._name = ("", 0)  # Of its end, whatever a PROXY header says.
        self.place: Destination | None = None
        self.transport: asyncio.Transport

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Arrival {self.peer} to={self.place!r} bytes={len(self._data)}>"

    # As the other connections of a listener: this one has nothing to lose.

    @property
    def is_busy(self) -> bool:
        """Tell whether a request has begun to come."""
        return bool(self._data)

    def drain(self) -> None:
        """Who has said nothing may go."""
        if not self._data:
            self._end()

    def cut(self) -> None:
        """End it now."""
        self._end()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out where it was meant to go."""
        self.transport = transport  # type: ignore[assignment]  # A TCP one.
        address = transport.get_extra_info("peername") or ("", 0)
        self.peer = peer_of(str(address[0]))
        self._name = self.peer, int(address[1])
        if not self._acceptor.interception.has_proxy_header:
            self._meet()
        elif not self._acceptor.is_trusted(self.peer):
            msg = f"{self.peer} is not in trusted_peers: its PROXY header is no proof"
            self._refuse(ProxyFault(FaultCode.VALIDATION_ERR, msg))
        elif (refusal := self._acceptor.admit(self)) is not None:
            self._refuse(refusal)
        else:
            self._awaits_header = True
            limit_s = self._runtime.snapshot.limits.request_headers_s
            self._wait(limit_s, self._on_no_header)

    def data_received(self, data: bytes) -> None:
        """Look at what comes first."""
        self._data += data
        if self._is_in_race:
            self._look()
        elif self._awaits_header:
            self._read_header()

    def eof_received(self) -> bool:
        """The client sends no more; it may wait for what the server says."""
        self._has_ended = True
        if self._is_in_race:
            self._decide(guess(self._data) if self._data else Spoken.OTHER, "client")
        else:
            self._end()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The client has left before anything was decided."""
        del error
        if not self._is_decided:
            self._end()

    # Step by step.

    def _read_header(self) -> None:
        """Take off the header of the PROXY protocol."""
        try:
            header = parse(self._data)
        except ProxyHeaderError as error:
            self._refuse(ProxyFault(FaultCode.VALIDATION_ERR, f"{self.peer}: {error}"))
            return
        if header is None:
            return
        self._awaits_header = False
        self._stop_waiting()
        self._data = self._data[header.size_bytes :]
        self._acceptor.forget(self)
        self.peer = header.source or self.peer
        self._meet()

    def _meet(self) -> None:
        """Whose it is is known: where was it to go?"""
        address = self._meant()
        if address is None:
            self._hand_over()
        elif address.port in self._runtime.own_ports and is_of_this_host(address.host):
            msg = f"{address} is this very proxy"
            self._hand_over(ProxyFault(FaultCode.PROXY_LOOP, msg))
        else:
            listener = self._acceptor.name
            self.place = self._runtime.destinations.enter(listener, address)
            self._take(self.place)

    def _meant(self) -> Address | None:
        """Return where it was meant to go, if it was intercepted."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or not self._acceptor.interception.is_transparent:
            return None
        return original_destination(sock)

    def _take(self, place: Destination) -> None:
        """Find out what it speaks, if it is not one too many, or one of our own."""
        kind = place.kind(self._clock.now_s())
        if self._name in self._runtime.own_ends:
            msg = f"a connection of this proxy to {place.address} came back to it"
            self._refuse(ProxyFault(FaultCode.PROXY_LOOP, msg))
        elif (refusal := self._acceptor.admit(self)) is not None:
            if kind is Kind.HTTP:
                self._hand_over(refusal)  # It can be told so.
            else:
                self._refuse(refusal)
        elif place.address.port in self._acceptor.interception.opaque_ports:
            self._decide(Spoken.OTHER, "port")
        elif kind is Kind.SERVER_FIRST:
            self._decide(Spoken.OTHER, "memory")
        else:
            self._race(kind)

    def _race(self, kind: Kind) -> None:
        """See who speaks first."""
        self._is_in_race = True
        if kind is Kind.UNKNOWN:
            self._connect_early()
        else:
            self._wait(_PEEK_S, self._connect_early)
        if self._data:
            self._look()

    def _connect_early(self) -> None:
        """Let the server speak, if it is the one to begin."""
        self._timer = None
        if self._opaque is None and self.place is not None:
            self._opaque = OpaqueConnection(self._acceptor, self.peer, self.place)
            self._opaque.connect(self._on_server_first)

    def _look(self) -> None:
        found = spoken(self._data)
        if found is not Spoken.OPEN:
            self._decide(found, "client")
        elif not self._has_begun:
            self._has_begun = True
            self._stop_waiting()
            self._wait(_PEEK_S, self._on_late_line)

    def _on_late_line(self) -> None:
        self._timer = None
        found = guess(self._data) if self._data else Spoken.OTHER
        self._decide(found, "client")

    def _on_server_first(self, data: bytes) -> None:
        """The server has spoken; or, without data, is gone or was never reached."""
        if (
            data
            and self.place is not None
            and not data.startswith(_NOT_AS_SERVER_FIRST)
        ):
            self.place.learn(Kind.SERVER_FIRST, self._clock.now_s())
        if data:
            self._decide(Spoken.OTHER, "server")
        elif self._timer is None:  # A client of HTTP is to be told in HTTP.
            self._wait(_PEEK_S, self._on_late_line)

    def _decide(self, what: Spoken, by: str) -> None:
        """Hand it over to whom it belongs."""
        place = self.place
        if self._is_decided or place is None:
            return
        self._runtime.recorder.opaque.detected(
            self._acceptor.name, "http" if what is Spoken.HTTP else "opaque", by
        )
        if what is Spoken.HTTP:
            place.learn(Kind.HTTP, self._clock.now_s())
            if self._opaque is not None:
                self._opaque.drop()
            self._hand_over()
            return
        self._is_decided = True
        self._stop_waiting()
        opaque = self._opaque or OpaqueConnection(self._acceptor, self.peer, place)
        self._acceptor.hand_on(self, opaque)
        opaque.begin(self.transport, self._data, has_ended=self._has_ended)

    def _hand_over(self, refusal: ProxyFault | None = None) -> None:
        """It is HTTP."""
        self._is_decided = True
        self._stop_waiting()
        client = ClientConnection(self._acceptor, self.place, self.peer, refusal)
        if refusal is None:
            self._acceptor.hand_on(self, client)
        self._acceptor.forget(self)
        self.transport.set_protocol(client)
        client.connection_made(self.transport)
        if self._data:
            client.data_received(self._data)
        if self._has_ended:
            client.eof_received()

    # Inside.

    def _refuse(self, fault: ProxyFault) -> None:
        """End it without a word: what it speaks is not known."""
        self._runtime.recorder.opaque.refused(self._acceptor.name)
        if fault.limit is not None:
            self._runtime.recorder.limit_hit(fault.limit)
        self._runtime.recorder.fault(
            fault.spec, fault.detail, listener=self._acceptor.name, client=self.peer
        )
        self._end()

    def _on_no_header(self) -> None:
        self._timer = None
        msg = f"{self.peer}: no whole PROXY header in time"
        self._refuse(ProxyFault(FaultCode.CLIENT_SLOW, msg))

    def _wait(self, limit_s: float, then: Callable[[], None]) -> None:
        self._timer = self._clock.call_at(self._clock.now_s() + limit_s, then)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        """Let go of everything."""
        if self._is_decided:
            return
        self._is_decided = True
        self._stop_waiting()
        if self._opaque is not None:
            self._opaque.drop()
        self._acceptor.forget(self)
        if self.place is not None:
            self._runtime.destinations.leave(self.place)
        if not self.transport.is_closing():
            reset(self.transport)
