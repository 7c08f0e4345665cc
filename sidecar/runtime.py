"""What lives from request to request: the running twin of a snapshot.

Routes have a breaker, upstreams a pool, a budget and caps. All of it belongs to
one event loop.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.descriptors import most_clients
from sidecar.faults.render import ReplyRequest, render
from sidecar.policy.balancer import RoundRobin
from sidecar.policy.breaker import CircuitBreaker
from sidecar.policy.budget import RetryBudget
from sidecar.policy.deadline import ConnectTimes
from sidecar.policy.limiter import InFlightLimit
from sidecar.policy.stalled import StalledReaders
from sidecar.record.fault_feed import fault_id
from sidecar.route.table import RouteTable
from sidecar.upstream.connector import Connector
from sidecar.upstream.pool import Pool, PoolLimits

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from sidecar.clock import Clock, Timer
    from sidecar.faults.render import LocalReply
    from sidecar.model import Fault
    from sidecar.policy.breaker import State
    from sidecar.record.recorder import Recorder
    from sidecar.settings.snapshot import Route, Snapshot, Timeouts, Upstream
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import Endpoint

    Forget = Callable[[Endpoint, UpstreamConnection], None]
    MakeConnector = Callable[[Upstream, Clock, Forget], "Connecting"]


_NS_PER_S: Final = 1_000_000_000


class Connecting(Protocol):
    """Who opens connections: `Connector`, or a test's."""

    def open(
        self,
        endpoint: Endpoint,
        timeouts: Timeouts,
        done: Callable[[UpstreamConnection | Exception], None],
    ) -> Timer:
        """Begin to connect; return how to stop it."""


class UpstreamState:
    """A named set of endpoints at work."""

    __slots__ = (
        "balancer",
        "budget",
        "connect_times",
        "connector",
        "pool",
        "requests",
        "settings",
        "stalled",
        "uploads",
    )

    def __init__(
        self, settings: Upstream, clock: Clock, make_connector: MakeConnector
    ) -> None:
        self.settings = settings
        self.pool = Pool(
            PoolLimits(
                settings.max_connections,
                settings.max_pending,
                settings.pool_idle_s,
                settings.max_requests_per_connection,
            ),
            settings.endpoints,
        )
        self.balancer = RoundRobin()
        self.connect_times = ConnectTimes()
        self.budget = RetryBudget(settings.budget)
        self.requests = InFlightLimit(settings.max_requests)
        self.uploads = InFlightLimit(settings.max_uploads)
        self.stalled = StalledReaders(
            settings.max_stalled, settings.stalled_after_s, clock
        )
        self.connector = make_connector(settings, clock, self._forget)

    def _forget(self, endpoint: Endpoint, connection: UpstreamConnection) -> None:
        self.pool.forget(endpoint, connection)


class RouteState:
    """A route at work."""

    __slots__ = ("breaker", "in_flight", "route", "upstream")

    def __init__(
        self, route: Route, upstream: UpstreamState, breaker: CircuitBreaker | None
    ) -> None:
        self.route = route
        self.upstream = upstream
        self.breaker = breaker
        self.in_flight = 0


class Runtime:
    """One configuration at work, with what the exchanges share."""

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        rng: Random,
        recorder: Recorder,
        make_connector: MakeConnector = Connector,
    ) -> None:
        self.snapshot = snapshot
        self.clock = clock
        self.rng = rng
        self.recorder = recorder
        self.is_draining = False
        self.clients = InFlightLimit(most_clients(snapshot))  # Of all listeners.
        self.admission = recorder.admission
        self.via = b"sidecar-%08x" % rng.getrandbits(32)  # Names this process.
        # Another name for clients: who knew ours could make requests look like loops.
        self.via_line = b"Via: 1.1 sidecar\r\n"
        self._dated = (-1, b"")  # Second and lines.
        self.sample_ratio = snapshot.tracing.sample_ratio
        self.upstreams = {
            name: UpstreamState(settings, clock, make_connector)
            for name, settings in snapshot.upstreams.items()
        }
        self.routes = [self._route_state(route) for route in snapshot.routes]
        self.tables: dict[str, RouteTable] = {}
        self.states: dict[str, list[RouteState]] = {}  # By listener, as in its table.
        for listener in ("inbound", "outbound"):
            mine = [s for s in self.routes if s.route.listener == listener]
            self.states[listener] = mine
            self.tables[listener] = RouteTable([state.route for state in mine])

    def dated_via(self) -> bytes:
        """Return `via_line` below a Date, for a response that has none.

        Source:
            RFC 9110, 6.6.1: who has a clock adds it, also to what it sends on.
        """
        second = self.clock.wall_ns() // _NS_PER_S
        if second != self._dated[0]:
            date = formatdate(second, usegmt=True).encode()
            self._dated = (second, b"Date: %b\r\n%b" % (date, self.via_line))
        return self._dated[1]

    @property
    def in_flight(self) -> int:
        """Return how many requests are at work, of all upstreams."""
        return sum(upstream.requests.count for upstream in self.upstreams.values())

    def new_fault_id(self) -> str:
        """Return an id that sorts by time and is unlikely to come twice."""
        return fault_id(self.clock.wall_ns(), self.rng.getrandbits(32))

    def reply_to(
        self, fault: Fault, status: int, accept: bytes = b"", content_type: bytes = b""
    ) -> LocalReply:
        """Return the answer to a request that failed here."""
        snapshot = self.snapshot
        asked = ReplyRequest(
            accept, content_type, snapshot.status_profile, snapshot.expose
        )
        return render(fault, status, asked)

    def sweep(self) -> None:
        """Close connections that have been idle for too long."""
        now_s = self.clock.now_s()
        for upstream in self.upstreams.values():
            upstream.pool.sweep(now_s)

    def abort(self) -> None:
        """Wait for no peer's last word any more."""
        for upstream in self.upstreams.values():
            upstream.pool.abort()

    def close(self) -> None:
        """Close what is idle."""
        for upstream in self.upstreams.values():
            upstream.pool.close()

    def _route_state(self, route: Route) -> RouteState:
        breaker = None
        if route.breaker is not None:
            breaker = CircuitBreaker(route.breaker, self.rng)

            def moved(before: State, after: State, cause: str) -> None:
                self.recorder.transition(
                    route.name, route.upstream, before, after, cause
                )

            breaker.on_transition = moved
        return RouteState(route, self.upstreams[route.upstream], breaker)
