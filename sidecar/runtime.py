"""What lives from request to request: the running twin of a snapshot.

Routes have a breaker, upstreams a pool, a budget and caps. All of it belongs to
one event loop.

Another snapshot is adopted in one go, between two turns of the loop: what is under
way goes on with the route and the upstream that it has, what comes finds the new
ones, and what is the same in both lives on.
"""

from __future__ import annotations

from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.descriptors import most_clients
from sidecar.destinations import Destinations, intercepted
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.render import ReplyRequest, render
from sidecar.policy.balancer import RoundRobin
from sidecar.policy.breaker import CircuitBreaker
from sidecar.policy.budget import RetryBudget
from sidecar.policy.deadline import ConnectTimes
from sidecar.policy.limiter import InFlightLimit
from sidecar.policy.outlier import OutlierDetector
from sidecar.policy.stalled import StalledReaders
from sidecar.record.feed.fault_feed import fault_id
from sidecar.route.destinations import holds_anywhere
from sidecar.route.table import RouteTable
from sidecar.upstream.connector import Connector
from sidecar.upstream.finding import Finding
from sidecar.upstream.pool import Pool, PoolLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from sidecar.clock import Clock, Timer
    from sidecar.faults.render import LocalReply
    from sidecar.model import Fault
    from sidecar.policy.breaker import State
    from sidecar.policy.outlier import Health, Reason, Standing
    from sidecar.record.recorder import Recorder
    from sidecar.settings.snapshot import Route, Snapshot, Source, Timeouts, Upstream
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import Endpoint

    Forget = Callable[[Endpoint, UpstreamConnection], None]
    MakeConnector = Callable[[Upstream, Clock, Forget], "Connecting"]
    Tables = dict[str, RouteTable]  # By listener.


LISTENERS: Final = ("inbound", "outbound")
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

    @property
    def expiries(self) -> Mapping[str, float]:
        """Return by key of `tls` when its certificates end, in Unix time."""


class UpstreamState:
    """A named set of endpoints at work."""

    __slots__ = (
        "balancer",
        "budget",
        "connect_times",
        "connector",
        "finding",
        "outlier",
        "parts",
        "pool",
        "requests",
        "settings",
        "stalled",
        "uploads",
    )

    def __init__(
        self,
        settings: Upstream,
        clock: Clock,
        make_connector: MakeConnector,
        finding: Finding | None = None,
    ) -> None:
        self.settings = settings
        self.finding = finding  # Of endpoints that are discovered.
        self.pool = Pool(
            PoolLimits(
                settings.max_connections,
                settings.max_pending,
                settings.pool_idle_s,
                settings.max_requests_per_connection,
            ),
            settings.endpoints if finding is None else finding.addresses,
        )
        self.balancer = RoundRobin()
        self.outlier: OutlierDetector | None = None  # Off, until it is given one.
        self.connect_times = ConnectTimes()
        self.budget = RetryBudget(settings.budget)
        self.requests = InFlightLimit(settings.max_requests)
        self.uploads = InFlightLimit(settings.max_uploads)
        self.stalled = StalledReaders(
            settings.max_stalled, settings.stalled_after_s, clock
        )
        self.connector = make_connector(settings, clock, self._forget)
        self.parts: list[UpstreamState] = []  # One a destination, if it has such.

    @property
    def is_in_use(self) -> bool:
        """Tell whether a request or a connection of it is left."""
        pool = self.pool
        return bool(self.requests.count or pool.open_connections or pool.ending)

    @property
    def healths(self) -> list[Health]:
        """Return what is known of each endpoint, in their order."""
        return [endpoint.health for endpoint in self.pool.endpoints]

    def no_endpoint(self) -> ProxyFault:
        """Return the fault of a request while there is no endpoint to send it to."""
        if self.finding is not None:
            return self.finding.no_endpoint(self.settings.name)
        msg = f"upstream {self.settings.name} has no endpoint"
        return ProxyFault(FaultCode.UPSTREAM_UNHEALTHY, msg)

    def _forget(self, endpoint: Endpoint, connection: UpstreamConnection) -> None:
        self.pool.forget(endpoint, connection)


class RouteState:
    """A route at work."""

    __slots__ = ("breaker", "in_flight", "parts", "route", "upstream")

    def __init__(
        self, route: Route, upstream: UpstreamState, breaker: CircuitBreaker | None
    ) -> None:
        self.route = route
        self.upstream = upstream
        self.breaker = breaker
        self.in_flight = 0
        self.parts: list[RouteState] = []  # One a destination, as of the upstream.


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
        self.unhealthy = ""  # Why the application gets no request now.
        self.in_flight = 0  # Requests at work, of all upstreams.
        self._make_connector = make_connector
        self.clients = InFlightLimit(most_clients(snapshot))  # Of all listeners.
        self.admission = recorder.admission
        self.via = b"sidecar-%08x" % rng.getrandbits(32)  # Names this process.
        # Another name for clients: who knew ours could make requests look like loops.
        self.via_line = b"Via: 1.1 sidecar\r\n"
        self._dated = (-1, b"")  # Second and lines.
        self.sample_ratio = snapshot.tracing.sample_ratio
        self.findings: dict[Source, Finding] = {}  # Whoever discovers fills them.
        self.upstreams: dict[str, UpstreamState] = {}
        self.routes: list[RouteState] = []
        self.tables: Tables = {}
        self.states: dict[str, list[RouteState]] = {}  # By listener, as in its table.
        # Of snapshots before, as long as anything of them is under way.
        self._former_upstreams: list[UpstreamState] = []
        self._former_routes: list[RouteState] = []
        self.own_ports: set[int] = set()  # That this process listens on, and
        self.own_ends: set[tuple[str, int]] = set()  # has opaque connections from.
        self.destinations = Destinations(
            lambda settings: UpstreamState(settings, clock, make_connector),
            self._route_state,
            self._retire,
        )
        self.adopt(snapshot, tables_of(snapshot))

    def adopt(self, snapshot: Snapshot, tables: Tables) -> None:
        """Go by this snapshot from now on.

        Args:
            snapshot: The whole configuration.
            tables: `tables_of` it, which may take a while to be made.
        """
        before_upstreams, before_routes = self.upstreams, self.routes
        self.upstreams = {
            name: self._upstream_state(name, settings)
            for name, settings in snapshot.upstreams.items()
        }
        known = {
            (state.route.listener, state.route.name): state for state in self.routes
        }
        self.routes = [
            self._route_state(
                route,
                self.upstreams[route.upstream],
                known.get((route.listener, route.name)),
            )
            for route in snapshot.routes
        ]
        self.tables = tables
        all_states = {
            listener: [s for s in self.routes if s.route.listener == listener]
            for listener in LISTENERS
        }
        self.states = {
            listener: [s for s in states if not s.route.destinations]
            for listener, states in all_states.items()
        }
        self._former_routes += self.destinations.routes()  # Those still in use stay.
        self.destinations.adopt(all_states, tables)
        self.snapshot = snapshot
        self.sample_ratio = snapshot.tracing.sample_ratio
        self.clients.allow(most_clients(snapshot))
        kept = set(self.upstreams.values())
        for upstream in before_upstreams.values():
            if upstream not in kept:
                self._retire(upstream)
        still_there = set(self.routes)
        self._former_routes += [s for s in before_routes if s not in still_there]
        self._forget_former()

    def finding_of(self, source: Source) -> Finding:
        """Return what is known of a source; it begins with nothing."""
        finding = self.findings.get(source)
        if finding is None:
            finding = self.findings[source] = Finding()
        return finding

    def on_found(self, source: Source) -> None:
        """Go to the endpoints that a source has now."""
        addresses = self.finding_of(source).addresses
        for upstream in self._all_upstreams():
            if upstream.settings.discovery == source:
                upstream.pool.update(addresses)
                if upstream.outlier is not None:
                    upstream.outlier.look(upstream.healths)

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
    def is_idle(self) -> bool:
        """Tell whether no request is under way."""
        states = [*self.routes, *self._former_routes, *self.destinations.routes()]
        return not any(state.in_flight for state in states)

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
        for upstream in self._all_upstreams():
            upstream.pool.sweep(now_s)
            if upstream.outlier is not None:
                upstream.outlier.tick(upstream.healths, now_s)
        self._forget_former()

    def abort(self) -> None:
        """Wait for no peer's last word any more."""
        for upstream in self._all_upstreams():
            upstream.pool.abort()

    def close(self) -> None:
        """Close what is idle."""
        for upstream in self._all_upstreams():
            upstream.pool.close()

    def _all_upstreams(self) -> list[UpstreamState]:
        return [
            *self.upstreams.values(),
            *self._former_upstreams,
            *self.destinations.upstreams(),
        ]

    def _retire(self, upstream: UpstreamState) -> None:
        """Give it no more work; what is under way goes on."""
        upstream.pool.retire()
        self._former_upstreams.append(upstream)

    def _forget_former(self) -> None:
        """Let go of what was replaced, and is not in use any more."""
        if self._former_routes:
            self._former_routes = [s for s in self._former_routes if s.in_flight]
        if self._former_upstreams:
            asked = {state.upstream for state in self._former_routes}
            former = self._former_upstreams
            self._former_upstreams = [u for u in former if u.is_in_use or u in asked]

    def _upstream_state(self, name: str, settings: Upstream) -> UpstreamState:
        """Return the state of an upstream: the one it has, if it is as it was."""
        known = self.upstreams.get(name)
        if known is not None and known.settings == settings:
            return known
        source = settings.discovery
        finding = None if source is None else self.finding_of(source)
        state = UpstreamState(settings, self.clock, self._make_connector, finding)
        state.outlier = self._outlier_of(name, settings)
        return state

    def _outlier_of(self, name: str, settings: Upstream) -> OutlierDetector | None:
        if settings.outlier is None:
            return None
        outlier = OutlierDetector(settings.outlier, self.rng)

        def moved(
            endpoint: str, before: Standing, after: Standing, reason: Reason, cause: str
        ) -> None:
            self.recorder.endpoint_moved(name, endpoint, before, after, reason, cause)

        outlier.on_move = moved
        return outlier

    def _route_state(
        self, route: Route, upstream: UpstreamState, before: RouteState | None
    ) -> RouteState:
        """Return the state of a route, with as much of the one before as still holds.

        A breaker speaks of an upstream: it lives on if that does.
        """
        if before is None or before.upstream is not upstream:
            return RouteState(route, upstream, self._breaker_of(route))
        if before.route == route:
            return before
        breaker, limits, known_limits = (
            before.breaker,
            route.breaker,
            before.route.breaker,
        )
        if breaker is None or limits is None or known_limits is None:
            return RouteState(route, upstream, self._breaker_of(route))
        lease_s = limits.probe_lease_s  # It follows from a limit of time.
        if replace(known_limits, probe_lease_s=lease_s) != limits:
            return RouteState(route, upstream, self._breaker_of(route))
        breaker.lease_for(lease_s)
        return RouteState(route, upstream, breaker)

    def _breaker_of(self, route: Route) -> CircuitBreaker | None:
        if route.breaker is None:
            return None
        breaker = CircuitBreaker(route.breaker, self.rng)

        def moved(before: State, after: State, cause: str) -> None:
            self.recorder.transition(route.name, route.upstream, before, after, cause)

        breaker.on_transition = moved
        return breaker


def tables_of(snapshot: Snapshot) -> Tables:
    """Return the tables of each listener; of many routes that takes a while.

    One for connections that were made to it, one for those that were intercepted on
    their way to a place that no route names.
    """
    tables: Tables = {}
    for listener in LISTENERS:
        routes = [r for r in snapshot.routes if r.listener == listener]
        direct = [r for r in routes if not r.destinations]
        anywhere = [r for r in routes if holds_anywhere(r)]
        tables[listener] = RouteTable(direct)
        tables[intercepted(listener)] = (
            RouteTable(anywhere) if len(anywhere) > len(direct) else tables[listener]
        )
    return tables
