"""A whole proxy without a socket or an event loop: a fake wire, and a fake clock.

    client = wire.client()          a connection to the proxy
    client.send(b"GET / ...")       what it does happens before this returns
    origin = wire.origin()          the newest connection that the proxy made
    origin.take()                   what came since the last look
    origin.send(b"HTTP/1.1 ...")    and so on
    wire.clock.advance(5)           time passes, timers fire
    wire.end()                      all is over: nothing may be left behind

Everything between the two ends is the real thing. What asyncio would do in a
later turn of its loop (telling that a connection is there or gone) is done by
`turn`, which every call here ends with.
"""

from __future__ import annotations

import asyncio
import os
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.accept.client import ClientConnection
from sidecar.accept.listener import Acceptor
from sidecar.faults.classify import classify_connect
from sidecar.model import Phase
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime
from sidecar.settings.load import load_text
from sidecar.upstream.connection import UpstreamConnection
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Clock
    from sidecar.runtime import UpstreamState
    from sidecar.settings.snapshot import Timeouts, Upstream
    from sidecar.upstream.pool import Endpoint

    Done = Callable[[UpstreamConnection | Exception], None]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FakeSocket:
    """A descriptor that can be asked whether it has something to read."""

    def __init__(self, data: bytes = b"") -> None:
        self._fds = os.pipe()
        os.set_blocking(self._fds[0], False)
        os.write(self._fds[1], data)

    def fileno(self) -> int:
        return self._fds[0]

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)


_QUIET = FakeSocket()


def get(path: str = "/", *lines: str, method: str = "GET") -> bytes:
    """Return a request without a body."""
    head = [f"{method} {path} HTTP/1.1", "Host: test", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def post(body: bytes = b"data", path: str = "/", *lines: str) -> bytes:
    """Return a request with a body of a length that is told."""
    return get(path, f"Content-Length: {len(body)}", *lines, method="POST") + body


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
        self.high_water = high or 0

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
    """Makes connections in the next turn, unless the wire says otherwise."""

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
            self._wire.later(self.finish, opening)
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
        self.clients: list[End] = []
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
        self.clients.append(transport.end)
        return transport.end

    def origin(self, index: int = -1) -> End:
        """Return a connection that the proxy made; the newest if not told which."""
        return self.origins[index]

    def ask(self, request: bytes, *answers: bytes) -> bytes:
        """Send a request on a connection of its own; return what comes back.

        Each answer is that of the newest connection to the origin.
        """
        client = self.client()
        client.send(request)
        for answer in answers:
            self.origin().send(answer)
        return client.take()

    def refuse(self, endpoint: str = "*") -> None:
        """Let nothing listen at an endpoint from now on."""
        error = ConnectionRefusedError(111, "Connection refused")
        self.errors[endpoint] = classify_connect(error, Phase.CONNECT, endpoint)

    def open_next(self) -> None:
        """Finish the oldest connection in the making."""
        connector = self.upstream.connector
        assert isinstance(connector, FakeConnector)
        connector.finish(self.openings[0])
        self.turn()

    def end(self) -> None:
        """Let all clients leave; then nothing may be left behind."""
        for client in self.clients:
            client.leave()
        self.runtime.close()
        self.turn()
        assert not self.leftovers, self.leftovers

    @property
    def upstream(self) -> UpstreamState:
        """The one upstream at work."""
        return self.runtime.upstreams["app"]

    @property
    def leftovers(self) -> dict[str, int]:
        """What is taken and not given back yet; all of it, when all is quiet."""
        upstream, budget = self.upstream, self.upstream.budget
        breakers = [route.breaker for route in self.runtime.routes if route.breaker]
        counts = {
            "waiters": upstream.pool.pending + upstream.pool._told,
            "connections": upstream.pool.open_connections,
            "requests": upstream.requests.count,
            "in flight": sum(route.in_flight for route in self.runtime.routes),
            "budget requests": budget._requests - budget._ended_requests,
            "budget retries": budget._retries - budget._ended_retries,
            "probes": sum(len(breaker._leases) for breaker in breakers),
            "clients": len(self.acceptor.connections),
            "openings": sum(not opening.is_cancelled for opening in self.openings),
            "origins": sum(not origin.is_closed for origin in self.origins),
            "timers": self.clock.armed,
        }
        return {name: count for name, count in counts.items() if count}

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
        self.origins.append(transport.end)
        return connection

    @property
    def faults(self) -> list[dict[str, Any]]:
        """Records of what failed, the newest first."""
        return self.recorder.feed.newest()

    @property
    def codes(self) -> list[str]:
        """Codes of what failed, the newest first."""
        return [record["code"] for record in self.faults]

    def _connector(
        self,
        upstream: Upstream,
        clock: Clock,
        forget: Callable[[Endpoint, UpstreamConnection], None],
    ) -> FakeConnector:
        del upstream, clock
        return FakeConnector(self, forget)
