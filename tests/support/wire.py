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

import json
from functools import lru_cache
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from sidecar.accept.client import ClientConnection
from sidecar.accept.listener import Acceptor
from sidecar.faults.classify import classify_connect
from sidecar.model import Phase
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime, tables_of
from sidecar.settings.load import load_text
from sidecar.settings.snapshot import Address
from sidecar.upstream.connection import UpstreamConnection
from tests.support.clock import FakeClock
from tests.support.ends import End, FakeTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Clock
    from sidecar.runtime import UpstreamState
    from sidecar.settings.snapshot import Snapshot, Timeouts, Upstream
    from sidecar.upstream.pool import Endpoint

    Done = Callable[[UpstreamConnection | Exception], None]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(path: str = "/", *lines: str, method: str = "GET") -> bytes:
    """Return a request without a body."""
    head = [f"{method} {path} HTTP/1.1", "Host: test", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def post(body: bytes = b"data", path: str = "/", *lines: str) -> bytes:
    """Return a request with a body of a length that is told."""
    return get(path, f"Content-Length: {len(body)}", *lines, method="POST") + body


@lru_cache(maxsize=32)
def _snapshot(text: str) -> Snapshot:
    """Load a configuration; most wires of a test file have the same."""
    return load_text(text).snapshot


def snapshot_of(
    *,
    upstream: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
    **route: Any,
) -> Snapshot:
    """Return a configuration with keys of its one upstream, the top and one route."""
    elsewhere = {"discovery", "original_destination"} & (upstream or {}).keys()
    where = {} if elsewhere else {"endpoints": ["10.0.0.1:80"]}
    settings = {
        "upstreams": {"app": {**where, **(upstream or {})}},
        "routes": [{"name": "all", "upstream": "app", **route}],
        "telemetry": {"access_log": {"mode": "off"}},
        **(top or {}),
    }
    return _snapshot(json.dumps(settings))  # JSON is YAML, and quicker.


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

    expiries: ClassVar[dict[str, float]] = {}

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
        self.clock = FakeClock()
        self.is_holding = False  # Connections are made by `open_next` only.
        self.openings: list[FakeOpening] = []
        self.errors: dict[str, Exception] = {}  # By endpoint; "*": by any.
        self.clients: list[End] = []
        self.origins: list[End] = []  # As they were connected.
        snapshot = snapshot_of(upstream=upstream, top=top, **route)
        self.recorder = Recorder(snapshot, self.clock, StringIO())
        self.runtime = Runtime(
            snapshot, self.clock, Random(1), self.recorder, self._connector
        )
        self.acceptor = Acceptor("inbound", self.runtime)

    def reload(
        self,
        *,
        upstream: dict[str, Any] | None = None,
        top: dict[str, Any] | None = None,
        **route: Any,
    ) -> None:
        """Go by other keys from now on."""
        snapshot = snapshot_of(upstream=upstream, top=top, **route)
        self.runtime.adopt(snapshot, tables_of(snapshot))
        self.recorder.watch(self.runtime)

    def client(self, peer: str = "127.0.0.1", to: str = "") -> End:
        """Connect to the proxy, or to where it intercepts."""
        host, _, port = to.rpartition(":")
        place = None
        if to:
            address = Address(host, int(port))
            place = self.runtime.destinations.enter("inbound", address)
        protocol = ClientConnection(self.acceptor, place)
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
            "uploads": upstream.uploads.count,
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
            self.upstream.settings.response_header_max_bytes,
            self.runtime.snapshot.limits.buffer_bytes,
            lambda closed: forget(endpoint, closed),
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
