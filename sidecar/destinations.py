"""Where intercepted connections were meant to go, and what is kept for each place.

    table    the routes that hold for it: those without `destinations`, and those
             with one that it is in
    states   a route whose upstream is the original destination has, for each place, a
             pool, a budget and a breaker of its own, as if it were an upstream
    kind     what is spoken there, as far as is known

There are as many as there are connections, and a bounded number of unused ones: those
that have been unused for longest go first. Belongs to one event loop; nothing waits.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Final

from sidecar.route.destinations import holds_anywhere, holds_at
from sidecar.route.table import RouteTable
from sidecar.settings.snapshot import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.runtime import RouteState, UpstreamState
    from sidecar.settings.snapshot import Route, Upstream

    MakeUpstream = Callable[[Upstream], UpstreamState]
    MakeRoute = Callable[[Route, UpstreamState, "RouteState | None"], RouteState]
    Holding = tuple[RouteTable, list[RouteState]]  # The states, in its order.

_MOST_UNUSED: Final = 1024
_MOST_SETS: Final = 256  # Of routes that hold together somewhere.
_KNOWN_FOR_S: Final = 600.0
_LOOPBACK: Final = {4: "127.0.0.1", 6: "::1"}


def intercepted(listener: str) -> str:
    """Return what the table for a place that no route names is called."""
    return f"{listener}, intercepted"


class Kind(Enum):
    """What is spoken at a place."""

    UNKNOWN = "unknown"
    HTTP = "http"  # A client has spoken it.
    SERVER_FIRST = "server_first"  # The server spoke before its client did.


class Destination:
    """One place: an address, as a listener sees it.

    Attributes:
        address: As the client meant it.
        reached_at: Where the proxy connects to: of the application, over loopback.
        users: Connections that are there because of it.
        table: Of the routes that hold here.
        routes: Their states, in the order of the table.
    """

    __slots__ = (
        "_kind",
        "_known_until_s",
        "address",
        "listener",
        "own",
        "parts",
        "reached_at",
        "routes",
        "table",
        "users",
    )

    def __init__(self, listener: str, address: Address) -> None:
        self.listener = listener
        self.address = address
        self.reached_at = address
        if listener == "inbound":
            version = ipaddress.ip_address(address.host).version
            loopback = _LOOPBACK[version]
            self.reached_at = Address(loopback, address.port, (address.host,))
        self.users = 0
        self._kind = Kind.UNKNOWN
        self._known_until_s = 0.0
        self.table: RouteTable
        self.routes: Sequence[RouteState]
        # What is of this place alone, by what it is a twin of.
        self.own: dict[RouteState, RouteState] = {}
        self.parts: dict[UpstreamState, UpstreamState] = {}

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Destination {self.address} {self._kind.value} users={self.users}>"

    def kind(self, now_s: float) -> Kind:
        """Return what is spoken here; what was found out long ago is forgotten."""
        return self._kind if now_s < self._known_until_s else Kind.UNKNOWN

    def learn(self, kind: Kind, now_s: float) -> None:
        """Remember what is spoken here."""
        self._kind = kind
        self._known_until_s = now_s + _KNOWN_FOR_S


class Destinations:
    """All places that intercepted connections were meant for.

    Args:
        make_upstream: Returns an upstream at work, given its settings.
        make_route: Returns a route at work: with its upstream, and its state before.
        retire: Takes an upstream that was made, and is not to be used any more.
    """

    def __init__(
        self,
        make_upstream: MakeUpstream,
        make_route: MakeRoute,
        retire: Callable[[UpstreamState], None],
    ) -> None:
        self._make_upstream = make_upstream
        self._make_route = make_route
        self._retire = retire
        self._places: dict[tuple[str, Address], Destination] = {}
        self._unused: OrderedDict[Destination, None] = OrderedDict()
        self._states: dict[str, list[RouteState]] = {}
        self._choosy: dict[str, list[int]] = {}  # Who holds at some places only.
        self._holding: dict[tuple[str, tuple[int, ...]], Holding] = {}

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._places)

    def enter(self, listener: str, address: Address) -> Destination:
        """Return the place for another connection; `leave` it when that is over."""
        place = self._places.get((listener, address))
        if place is None:
            place = self._places[listener, address] = Destination(listener, address)
            self._settle(place)
        self._unused.pop(place, None)
        place.users += 1
        return place

    def leave(self, place: Destination) -> None:
        """A connection is over."""
        place.users -= 1
        if not place.users:
            self._unused[place] = None
            if len(self._unused) > _MOST_UNUSED:
                self._forget(self._unused.popitem(last=False)[0])

    def own(self, place: Destination, route: RouteState, now_s: float) -> RouteState:
        """Return what a route to the original destination is at this place."""
        own = place.own.get(route)
        if own is None:
            own = self._own(place, route, None)
            if own.breaker is not None and route.breaker is not None:
                own.breaker.hold_like(route.breaker, now_s)
        return own

    def adopt(
        self, states: dict[str, list[RouteState]], tables: dict[str, RouteTable]
    ) -> None:
        """Go by these routes, by listener, from now on.

        Args:
            states: All routes.
            tables: Those that are made already, see `intercepted`.
        """
        self._states = states
        self._holding.clear()
        for listener, listed in states.items():
            self._choosy[listener] = [
                i for i, s in enumerate(listed) if not holds_anywhere(s.route)
            ]
            self._hold(listener, (), tables[intercepted(listener)])
        listed = [state for each in states.values() for state in each]
        for state in listed:
            state.parts.clear()
        upstreams = {state.upstream for state in listed}
        for place in self._places.values():
            self._adopt_at(place, upstreams)

    def _adopt_at(self, place: Destination, upstreams: set[UpstreamState]) -> None:
        """Keep what is the same."""
        for twin in [twin for twin in place.parts if twin not in upstreams]:
            part = place.parts.pop(twin)
            twin.parts.remove(part)
            self._retire(part)
        self._settle(place)
        before = {(s.route.listener, s.route.name): s for s in place.own.values()}
        place.own = {}
        if not before:
            return
        for route in place.routes:
            known = before.get((route.route.listener, route.route.name))
            if known is not None and route.upstream in place.parts:
                self._own(place, route, known)

    def upstreams(self) -> Iterator[UpstreamState]:
        """Yield what is at work for places."""
        for place in self._places.values():
            yield from place.parts.values()

    def routes(self) -> Iterator[RouteState]:
        """Yield the routes at work for places."""
        for place in self._places.values():
            yield from place.own.values()

    def reached(self, listener: str) -> frozenset[Address]:
        """Return where connections of a listener were led to, as far as is known."""
        return frozenset(
            place.reached_at
            for (name, _), place in self._places.items()
            if name == listener
        )

    def _own(
        self, place: Destination, route: RouteState, known: RouteState | None
    ) -> RouteState:
        part = place.parts.get(route.upstream)
        if part is None:
            settings = replace(route.upstream.settings, endpoints=(place.reached_at,))
            part = place.parts[route.upstream] = self._make_upstream(settings)
            route.upstream.parts.append(part)
        own = place.own[route] = self._make_route(route.route, part, known)
        route.parts.append(own)
        return own

    def _settle(self, place: Destination) -> None:
        """Find out which routes hold at a place."""
        states = self._states.get(place.listener, [])
        address = ipaddress.ip_address(place.address.host), place.address.port
        here = tuple(
            index
            for index in self._choosy.get(place.listener, ())
            if holds_at(states[index].route, address)
        )
        found = self._holding.get((place.listener, here))
        if found is None:
            found = self._hold(place.listener, here)
        place.table, place.routes = found

    def _hold(
        self, listener: str, here: tuple[int, ...], table: RouteTable | None = None
    ) -> Holding:
        """Return, and keep, what holds where of the choosy routes these do."""
        left_out = set(self._choosy.get(listener, ())).difference(here)
        states = [
            state
            for index, state in enumerate(self._states.get(listener, []))
            if index not in left_out
        ]
        if len(self._holding) >= _MOST_SETS:
            self._holding.clear()  # Places keep what they have.
        table = table or RouteTable([state.route for state in states])
        found = self._holding[listener, here] = table, states
        return found

    def _forget(self, place: Destination) -> None:
        """Let go of a place that nobody uses."""
        del self._places[place.listener, place.address]
        for route, own in place.own.items():
            route.parts.remove(own)
        for twin, part in place.parts.items():
            twin.parts.remove(part)
            self._retire(part)
