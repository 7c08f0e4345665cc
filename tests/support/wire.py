"""A whole proxy without a socket or an event loop: a fake wire, and a fake clock.

    client = wire.client()          a connection to the proxy
    client.send(b"GET / ...")       what it does happens before this returns
    origin = wire.origin()          the newest connection that the proxy made
    origin.take()                   what came since the last look
    origin.send(b"HTTP/1.1 ...")    and so on
    wire.clock.advance(5)           time passes, timers fire

Everything between the two ends is the real thing. What asyncio would do in a
later turn of its loop (telling that a connection is gone) is done by `turn`,
which every call here ends with.
"""

from __future__ import annotations

import asyncio
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.accept.client import ClientConnection
from sidecar.accept.listener import Acceptor
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime
from sidecar.settings.load import load_text
from sidecar.upstream.connection import UpstreamConnection
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Clock
    from sidecar.settings.snapshot import Timeouts, Upstream
    from sidecar.upstream.pool import Endpoint

    Done = Callable[[UpstreamConnection | Exception], None]


class FakeTransport(asyncio.Transport):
    """What a protocol writes to; `End` holds the other side of it."""

    def __init__(self, wire: FakeWire, protocol: Any, peer: str) -> None:
        super().__init__({"peername": (peer, 4321)})
        self._wire = wire
        self.protocol = protocol
        self.high_water = 64 * 1024
        self.written = b""
        self.unread = 0  # Bytes that the other side did not take.
        self.is_taking = True
        self.is_reading = True
        self.is_lost = False
        self.has_eof = False
        self._is_closing = False

    def write(self, data: Any) -> None:
        assert not self.has_eof, "written after the end"
        if self._is_closing:
            return
        self.written += data
        if not self.is_taking:
            was_full = self.unread > self.high_water
            self.unread += len(data)
            if not was_full and self.unread > self.high_water:
                self.protocol.pause_writing()

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
        self._is_closing = True
        self.unread = 0
        self._wire.later(self._lose)

    def lose(self, error: Exception | None) -> None:
        self._is_closing = True
        self._wire.later(self._lose, error)

    def _lose(self, error: Exception | None = None) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connection_lost(error)

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        del low
        self.high_water = high or 0

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True


class End:
    """The far end of one connection: a client, or an origin."""

    def __init__(self, wire: FakeWire, transport: FakeTransport) -> None:
        self._wire = wire
        self.transport = transport
        self._seen = 0
        self._unsent: list[bytes] = []

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
        return self.transport.is_reading

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

    def go_on(self) -> None:
        """Send what waits, as far as the proxy reads."""
        transport = self.transport
        while self._unsent and transport.is_reading and not transport.is_closing():
            transport.protocol.data_received(self._unsent.pop(0))
            self._wire.turn()

    @property
    def unsent(self) -> int:
        """How many pieces wait because the proxy does not read."""
        return len(self._unsent)

    def send_eof(self) -> None:
        """Say that no more will be sent."""
        if not self.transport.protocol.eof_received():
            self.transport.close()
        self._wire.turn()

    def leave(self, error: Exception | None = None) -> None:
        """Be gone, in an orderly way or with an error."""
        self.transport.lose(error)
        self._wire.turn()

    def stop_taking(self) -> None:
        """Read no more: what is written piles up."""
        self.transport.is_taking = False

    def take_all(self) -> None:
        """Read everything that has piled up, and go on reading."""
        transport = self.transport
        was_full = transport.unread > transport.high_water
        transport.is_taking = True
        transport.unread = 0
        if was_full:
            transport.protocol.resume_writing()
        if transport.is_closing():
            transport.lose(None)
        self._wire.turn()


class FakeOpening:
    """A connection in the making."""

    def __init__(self, endpoint: Endpoint, done: Done) -> None:
        self.endpoint = endpoint
        self.done = done
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class FakeConnector:
    """Makes connections at once, unless the wire says otherwise."""

    def __init__(
        self, wire: FakeWire, forget: Callable[[Endpoint, UpstreamConnection], None]
    ) -> None:
        self._wire = wire
        self._forget = forget

    def open(self, endpoint: Endpoint, timeouts: Timeouts, done: Done) -> FakeOpening:
        del timeouts
        opening = FakeOpening(endpoint, done)
        self._wire.openings.append(opening)
        if not self._wire.is_holding:
            self.finish(opening)
        return opening

    def finish(self, opening: FakeOpening) -> None:
        self._wire.openings.remove(opening)
        if opening.is_cancelled:
            return
        endpoint = opening.endpoint
        error = self._wire.errors.get(endpoint.name) or self._wire.errors.get("*")
        opening.done(error or self._wire.connected(endpoint, self._forget))


class FakeWire:
    """The proxy, its clients and its origins.

    Args:
        upstream: Keys of the one upstream, "app".
        top: Keys of the top level.
        route: Keys of the one route.
    """

    def __init__(
        self,
        *,
        upstream: dict[str, Any] | None = None,
        top: dict[str, Any] | None = None,
        **route: Any,
    ) -> None:
        settings = {
            "upstreams": {"app": {"endpoints": ["10.0.0.1:80"], **(upstream or {})}},
            "routes": [{"name": "all", "upstream": "app", **route}],
            "telemetry": {"access_log": {"mode": "off"}},
            **(top or {}),
        }
        self.clock = FakeClock()
        self.is_holding = False  # Connections are made by `open_next` only.
        self.openings: list[FakeOpening] = []
        self.errors: dict[str, Exception] = {}  # By endpoint; "*": by any.
        self.origins: list[End] = []  # As they were connected.
        snapshot = load_text(yaml.safe_dump(settings)).snapshot
        self.recorder = Recorder(snapshot, self.clock, StringIO())
        self.runtime = Runtime(
            snapshot, self.clock, Random(1), self.recorder, self._connector
        )
        self.acceptor = Acceptor("inbound", self.runtime)

    def client(self, peer: str = "127.0.0.1") -> End:
        """Connect to the proxy."""
        protocol = ClientConnection(self.acceptor)
        transport = FakeTransport(self, protocol, peer)
        protocol.connection_made(transport)
        self.turn()
        return End(self, transport)

    def origin(self, index: int = -1) -> End:
        """Return a connection that the proxy made; the newest if not told which."""
        return self.origins[index]

    def open_next(self) -> None:
        """Finish the oldest connection in the making."""
        opening = self.openings[0]
        if opening.is_cancelled:
            self.openings.remove(opening)
            return
        upstream = self.runtime.upstreams["app"].connector
        assert isinstance(upstream, FakeConnector)
        upstream.finish(opening)
        self.turn()

    def turn(self) -> None:
        """Let happen what a loop does in its next turns."""
        self.clock.advance(0.0)

    def later(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call in a turn to come."""
        self.clock.call_at(self.clock.now_s(), lambda: callback(*arguments))

    def connected(
        self,
        endpoint: Endpoint,
        forget: Callable[[Endpoint, UpstreamConnection], None],
    ) -> UpstreamConnection:
        """Make the connection that a connector was asked for."""
        connection = UpstreamConnection(
            64 * 1024, lambda closed: forget(endpoint, closed)
        )
        transport = FakeTransport(self, connection, endpoint.address.host)
        connection.connection_made(transport)
        self.origins.append(End(self, transport))
        return connection

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Records of what failed, the newest first."""
        return self.recorder.feed.newest()

    def _connector(
        self,
        upstream: Upstream,
        clock: Clock,
        forget: Callable[[Endpoint, UpstreamConnection], None],
    ) -> FakeConnector:
        del upstream, clock
        return FakeConnector(self, forget)
