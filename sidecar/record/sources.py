"""What is read of the running proxy when somebody looks: never on the hot path.

The recorder counts what has happened; what is so at this moment (breakers, pools,
budgets, requests in flight) lives elsewhere and is asked for through these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar.policy.breaker import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence, Sized

    from sidecar.policy.breaker import CircuitBreaker
    from sidecar.policy.budget import RetryBudget
    from sidecar.policy.outlier import Health, OutlierDetector
    from sidecar.settings.snapshot import Route, Snapshot, Upstream
    from sidecar.upstream.finding import Finding

_WORSE: Final = (State.CLOSED, State.HALF_OPEN, State.OPEN)


class EndpointState(Protocol):
    """One address of an upstream."""

    @property
    def name(self) -> str:
        """Return host:port."""

    @property
    def health(self) -> Health:
        """Return how it stands among the others."""

    @property
    def idle(self) -> Sized:
        """Return its idle connections."""

    @property
    def busy(self) -> int:
        """Return how many connections serve a request, or are being opened."""


class PoolState(Protocol):
    """The connections of one upstream."""

    @property
    def endpoints(self) -> Sequence[EndpointState]:
        """Return its addresses."""

    @property
    def leaving(self) -> int:
        """Return how many connections go to addresses that it has no more."""

    @property
    def pending(self) -> int:
        """Return how many requests wait for a connection."""


class InFlight(Protocol):
    """How many there are at once."""

    @property
    def count(self) -> int:
        """Return how many there are now."""


class ConnectorState(Protocol):
    """Who opens the connections of one upstream."""

    @property
    def expiries(self) -> Mapping[str, float]:
        """Return by key of `tls` when what it has loaded ends, in Unix time."""


class UpstreamState(Protocol):
    """A named set of endpoints at work."""

    @property
    def settings(self) -> Upstream:
        """Return its settings, with the caps."""

    @property
    def connector(self) -> ConnectorState:
        """Return who opens its connections."""

    @property
    def pool(self) -> PoolState:
        """Return its connections."""

    @property
    def parts(self) -> Sequence[UpstreamState]:
        """Return its twins, one a destination, if it is the original destination."""

    @property
    def finding(self) -> Finding | None:
        """Return what is known of its endpoints, if they are discovered."""

    @property
    def budget(self) -> RetryBudget:
        """Return its retry budget."""

    @property
    def outlier(self) -> OutlierDetector | None:
        """Return what ejects its endpoints, if that is wanted."""

    @property
    def healths(self) -> Sequence[Health]:
        """Return how each of its endpoints stands."""

    @property
    def requests(self) -> InFlight:
        """Return its requests in flight."""

    @property
    def uploads(self) -> InFlight:
        """Return those of them whose body is still to come."""

    @property
    def stalled(self) -> InFlight:
        """Return those of them whose client does not read."""


class RouteState(Protocol):
    """A route at work."""

    @property
    def route(self) -> Route:
        """Return its settings."""

    @property
    def breaker(self) -> CircuitBreaker | None:
        """Return its breaker, if it has one."""

    @property
    def in_flight(self) -> int:
        """Return its requests in flight."""

    @property
    def parts(self) -> Sequence[RouteState]:
        """Return its twins, one a destination, as of its upstream."""


class RuntimeState(Protocol):
    """One configuration at work."""

    @property
    def snapshot(self) -> Snapshot:
        """Return the configuration in force."""

    @property
    def routes(self) -> Iterable[RouteState]:
        """Return the routes, in the order of the file."""

    @property
    def upstreams(self) -> Mapping[str, UpstreamState]:
        """Return the upstreams by name."""

    @property
    def in_flight(self) -> int:
        """Return all requests at work, those of configurations before included."""


def in_flight_of(route: RouteState) -> int:
    """Return its requests in flight, wherever they go."""
    return route.in_flight + sum(part.in_flight for part in route.parts)


def breakers_of(route: RouteState) -> list[CircuitBreaker]:
    """Return its breakers, the one that it was made with first."""
    return [s.breaker for s in (route, *route.parts) if s.breaker is not None]


def worst_breaker(route: RouteState, now_s: float) -> CircuitBreaker | None:
    """Return the one that lets least through, if there is one."""
    return max(
        breakers_of(route),
        key=lambda breaker: _WORSE.index(breaker.state_at(now_s)),
        default=None,
    )


def breaker_word(route: RouteState, now_s: float) -> str:
    """Return how its worst breaker stands; "off" if it has none."""
    breaker = worst_breaker(route, now_s)
    return "off" if breaker is None else breaker.state_at(now_s).value


def total_of(upstream: UpstreamState, count: Callable[[UpstreamState], int]) -> int:
    """Return what is counted of an upstream and its parts."""
    return sum(map(count, (upstream, *upstream.parts)))


def busiest_of(upstream: UpstreamState) -> int:
    """Return how many connections are busy, where most are of its parts."""
    return max(
        each.pool.leaving + sum(endpoint.busy for endpoint in each.pool.endpoints)
        for each in (upstream, *upstream.parts)
    )


def connections_of(upstream: UpstreamState) -> tuple[int, int]:
    """Return how many connections of an upstream are idle, and how many busy."""
    idle = busy = 0
    for each in (upstream, *upstream.parts):
        busy += each.pool.leaving
        for endpoint in each.pool.endpoints:
            idle += len(endpoint.idle)
            busy += endpoint.busy
    return idle, busy
