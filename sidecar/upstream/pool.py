"""Which connection a request gets: decided here, opened elsewhere.

    request --> idle one? --> room for a new one? --> room to wait? --> refused
                  LIFO          max_connections        max_pending

The newest idle connection is taken first, so that the others grow old and are
closed; a connection idle for longer than its limit is never used, since the
application is about to close it, or just did (the keep-alive race).

The addresses may change at any time (`update`): an endpoint that stays keeps its
connections; of one that is removed the idle ones are closed at once, and the busy
ones count until they end with their requests.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.policy.outlier import Health

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.settings.snapshot import Address
    from sidecar.upstream.connection import UpstreamConnection


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Caps of one upstream, over all of its endpoints."""

    max_connections: int
    max_pending: int
    idle_s: float
    max_requests_per_connection: int | None


class Endpoint:
    """One address of an upstream, and its connections."""

    __slots__ = ("address", "busy", "health", "idle", "is_removed", "name")

    def __init__(self, address: Address) -> None:
        self.address = address
        self.name = str(address)
        self.health = Health(self.name)
        self.busy = 0  # Connecting ones included.
        self.idle: list[UpstreamConnection] = []  # Oldest first.
        self.is_removed = False  # Its connections are used once, no request begins.

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Endpoint {self.name} idle={len(self.idle)} busy={self.busy}>"


class Waiter(Protocol):
    """A request that waits for a connection."""

    def on_room(self) -> None:
        """`take` may succeed now. Not to be acted on before the caller is done."""


class Connect:
    """Permission to open a connection; it counts until it is given back."""


CONNECT: Final = Connect()
_MOST_REMEMBERED: Final = 256


class Pool:
    """The connections of one upstream. Every grant is given back exactly once."""

    __slots__ = (
        "_ending",
        "_is_retired",
        "_leaving",
        "_limits",
        "_out",
        "_told",
        "_waiters",
        "endpoints",
    )  # fmt: skip

    def __init__(self, limits: PoolLimits, addresses: tuple[Address, ...]) -> None:
        self._limits = limits
        self.endpoints = [Endpoint(address) for address in addresses]
        self._leaving: list[Endpoint] = []  # Removed, with requests under way.
        self._out: dict[Address, Health] = {}  # Of who was out when it was removed.
        self._waiters: deque[Waiter] = deque()
        self._is_retired = False
        self._told = 0  # Waiters whose turn it is, and who have not come yet.
        self._ending: set[UpstreamConnection] = set()  # Closed, and not gone yet.

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Pool {self.endpoints!r} pending={self.pending}>"

    @property
    def pending(self) -> int:
        """How many requests wait for a connection."""
        return len(self._waiters)

    @property
    def ending(self) -> int:
        """How many connections are closed, but wait for their peer to say so, too."""
        return len(self._ending)

    @property
    def open_connections(self) -> int:
        """How many connections are open or being opened."""
        count = sum(e.busy + len(e.idle) for e in self.endpoints)
        return count + self.leaving if self._leaving else count

    @property
    def leaving(self) -> int:
        """How many connections go to endpoints that were removed since."""
        return sum(e.busy for e in self._leaving)

    def update(self, addresses: Iterable[Address]) -> None:
        """Go to these addresses from now on; what is under way ends where it is."""
        before = {e.address: e for e in (*self.endpoints, *self._leaving)}
        kept: list[Endpoint] = []
        for address in dict.fromkeys(addresses):
            endpoint = before.pop(address, None) or self._new(address)
            endpoint.is_removed = False
            kept.append(endpoint)
        removed = list(before.values())
        self.endpoints = kept
        self._leaving = [endpoint for endpoint in removed if endpoint.busy]
        for endpoint in removed:
            endpoint.is_removed = True
            self._remember(endpoint)
            while endpoint.idle:
                self._end(endpoint.idle.pop())
                self._tell_next()
        if not kept:  # Nothing to wait for.
            while self._waiters:
                self._tell_next()

    def _new(self, address: Address) -> Endpoint:
        """Return an endpoint that comes; one that comes back is as it was known."""
        endpoint = Endpoint(address)
        endpoint.health = self._out.pop(address, endpoint.health)
        return endpoint

    def _remember(self, endpoint: Endpoint) -> None:
        """Keep what is known of one that goes, if that speaks against it."""
        if endpoint.health.is_out:
            if len(self._out) >= _MOST_REMEMBERED:
                self._out.pop(next(iter(self._out)))
            self._out[endpoint.address] = endpoint.health

    def take(
        self,
        endpoint: Endpoint,
        now_s: float,
        max_idle_s: float,
        *,
        is_in_turn: bool = False,
    ) -> UpstreamConnection | Connect | None:
        """Grant an idle connection, or to open one; None: wait or give up.

        Args:
            endpoint: Where to.
            now_s: Now.
            max_idle_s: A connection that was idle for longer is left alone.
            is_in_turn: It waited and was told. Who comes while others wait, waits
                behind them.
        """
        if is_in_turn:
            self._told -= 1
        elif self._told or self._waiters:
            return None
        idle = endpoint.idle
        while idle:
            connection = idle[-1]
            age_s = now_s - connection.idle_since_s
            if age_s > max_idle_s:
                break
            idle.pop()
            if connection.is_closing or age_s > connection.idle_limit_s:
                self._end(connection)
                continue
            endpoint.busy += 1
            return connection
        is_full = self.open_connections >= self._limits.max_connections
        if is_full and not self._close_an_idle_one():
            return None
        endpoint.busy += 1
        return CONNECT

    def enqueue(self, waiter: Waiter, *, is_first: bool = False) -> bool:
        """Let `waiter` be told when its turn has come; False when full."""
        if is_first:
            self._waiters.appendleft(waiter)
        elif len(self._waiters) >= self._limits.max_pending:
            return False
        else:
            self._waiters.append(waiter)
        return True

    def leave(self, waiter: Waiter) -> None:
        """Give up waiting; if its turn had come already, it is the next one's."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            self._told -= 1
            self._tell_next()

    def give_back(
        self, endpoint: Endpoint, connection: UpstreamConnection, now_s: float
    ) -> None:
        """Keep a connection for the next request, or close it."""
        endpoint.busy -= 1
        most = self._limits.max_requests_per_connection
        is_fit = connection.release() and (most is None or connection.served < most)
        if endpoint.is_removed:
            self._let_go(endpoint)
            self._end(connection)
        elif is_fit and not self._is_retired:
            connection.idle_since_s = now_s
            endpoint.idle.append(connection)
        else:
            self._end(connection)
        if self._waiters:
            self._tell_next()

    def give_up(self, endpoint: Endpoint) -> None:
        """A grant came to nothing: the connection failed or is gone."""
        endpoint.busy -= 1
        if endpoint.is_removed:
            self._let_go(endpoint)
        self._tell_next()

    def forget(self, endpoint: Endpoint, connection: UpstreamConnection) -> None:
        """A connection is gone: an idle one that the other side closed, or any."""
        self._ending.discard(connection)
        try:
            endpoint.idle.remove(connection)
        except ValueError:
            return
        self._tell_next()

    def sweep(self, now_s: float) -> float | None:
        """Close what is idle for too long; return when to look again."""
        next_s: float | None = None
        for endpoint in self.endpoints:
            for connection in list(endpoint.idle):
                due_s = connection.idle_since_s + connection.idle_limit_s
                if due_s <= now_s:
                    endpoint.idle.remove(connection)
                    self._end(connection)
                elif next_s is None or due_s < next_s:
                    next_s = due_s
        return next_s

    def close(self) -> None:
        """Close every idle connection; the busy ones end with their requests."""
        for endpoint in self.endpoints:
            while endpoint.idle:
                self._end(endpoint.idle.pop())

    def retire(self) -> None:
        """Another pool has taken over: keep no connection beyond its request."""
        self._is_retired = True
        self.close()

    def abort(self) -> None:
        """Wait for no peer any more: the process ends."""
        while self._ending:
            self._ending.pop().abort()

    def _let_go(self, endpoint: Endpoint) -> None:
        """Forget a removed endpoint with its last request."""
        if not endpoint.busy and endpoint in self._leaving:
            self._leaving.remove(endpoint)

    def _end(self, connection: UpstreamConnection) -> None:
        if connection.close():
            self._ending.add(connection)

    def _close_an_idle_one(self) -> bool:
        for endpoint in self.endpoints:
            if endpoint.idle:
                self._end(endpoint.idle.pop(0))
                return True
        return False

    def _tell_next(self) -> None:
        if self._waiters:
            self._told += 1
            self._waiters.popleft().on_room()


@lru_cache(maxsize=64)
def idle_limit_s(limit_s: float, keep_alive: bytes) -> float:
    """Return how long a connection may be idle, given `Keep-Alive: timeout=N`.

    A second less than the peer says, since it counts from an earlier moment.
    """
    for parameter in keep_alive.lower().split(b","):
        name, _, value = parameter.strip().partition(b"=")
        if name == b"timeout" and value.isdigit() and len(value) < _MAX_DIGITS:
            return min(limit_s, max(0.0, int(value) - 1.0))
    return limit_s


_MAX_DIGITS: Final = 7
