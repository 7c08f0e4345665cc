"""A listening socket and the client connections that came through it."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Protocol

from sidecar.accept.accept_queue import AcceptQueue
from sidecar.accept.arrival import Arrival
from sidecar.accept.binding import bind
from sidecar.accept.client import ClientConnection
from sidecar.accept.shedding import Shedder
from sidecar.accept.way import Way
from sidecar.descriptors import most_lingering
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Limit
from sidecar.settings.snapshot import Interception

if TYPE_CHECKING:
    import asyncio

    from sidecar.accept.way import MakeWay
    from sidecar.runtime import Runtime

_BACKLOG = 4096
_MAX_KNOWN_PEERS = 4096
_IPV6_NETWORK_BITS = 64  # What one client has to choose its addresses from.


_NOT_INTERCEPTED = Interception(
    is_transparent=False,
    opaque_ports=frozenset(),
    has_proxy_header=False,
    connect_s=1.0,
    idle_s=3600.0,
)


class Held(Protocol):
    """A connection that a listener remembers."""

    transport: asyncio.Transport

    @property
    def peer(self) -> str:
        """Return the address of its client."""

    @property
    def is_busy(self) -> bool:
        """Tell whether a request is under way on it."""

    def drain(self) -> None:
        """End when nothing is under way."""

    def cut(self) -> None:
        """End now."""


class ListenError(Exception):
    """An address cannot be listened on.

    Args:
        what: Which server, as the configuration calls it.
        address: host:port.
        reason: What the system said.
    """

    def __init__(self, what: str, address: str, reason: str) -> None:
        super().__init__(
            f"{what}: cannot listen on {address}: {reason}; "
            f"free the port, or set {what}.listen to another"
        )


class Acceptor:
    """One listener: admits connections, remembers them, lets them go."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        self.name = name
        self.runtime = runtime
        self.connections: set[Held] = set()
        self._lingering: set[ClientConnection] = set()
        self._most_lingering = most_lingering()
        self._per_peer: dict[str, int] = {}
        self._trust: dict[str, bool] = {}
        self._server: asyncio.Server | None = None
        self.make_way: MakeWay = Way  # A test may have others.
        self.shedder = Shedder(name, runtime)
        self.queue: AcceptQueue | None = None  # While it listens.

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Start to accept; return the address in use.

        Raises:
            ListenError: The address is taken, or not ours.
        """
        try:
            self._server = await bind(
                self._new_connection, host, port, backlog=_BACKLOG
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(self.name, f"{host}:{port}", reason) from None
        self.runtime.own_ports.add(self._server.sockets[0].getsockname()[1])
        descriptor = self._server.sockets[0].fileno()
        self.queue = AcceptQueue(self.runtime, self.shedder, descriptor, _BACKLOG)
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def _new_connection(self) -> asyncio.Protocol:
        """Return who takes a connection: HTTP it is, unless it may be anything."""
        if self.queue is not None:
            self.queue.accepted += 1
        interception = self.interception
        if interception.is_transparent or interception.has_proxy_header:
            return Arrival(self)
        return ClientConnection(self)

    @property
    def interception(self) -> Interception:
        """Return how connections are treated that were redirected to here."""
        return self.runtime.snapshot.interception.get(self.name, _NOT_INTERCEPTED)

    def admit(self, client: Held) -> ProxyFault | None:
        """Count a connection; return why it is one too many, if it is."""
        if client in self.connections:
            return None  # It was handed on.
        most = self.runtime.snapshot.limits.connections_per_client
        mine = 0 if most is None else self._per_peer.get(network_of(client.peer), 0)
        if most is not None and mine >= most:
            detail = f"{mine} connections of this client are open"
            limit = Limit.CONNECTIONS_PER_CLIENT
        elif not self.runtime.clients.try_enter():
            detail = f"{self.runtime.clients.count} connections are open"
            limit = Limit.CONNECTIONS
        else:
            self.connections.add(client)
            if most is not None:
                self._per_peer[network_of(client.peer)] = mine + 1
            return None
        return ProxyFault(FaultCode.OVERLOAD, detail, retry_after_s=1.0, limit=limit)

    def hand_on(self, before: Held, after: Held) -> None:
        """Count another one for the same connection from now on, if it counts."""
        if before in self.connections:
            self.connections.discard(before)
            self.connections.add(after)

    def may_linger(self, client: ClientConnection) -> bool:
        """Remember one that was refused; tell whether it may stay for a while."""
        if len(self._lingering) >= self._most_lingering:
            return False
        self._lingering.add(client)
        return True

    def forget(self, client: Held) -> None:
        """A connection is gone."""
        if client not in self.connections:
            self._lingering.discard(client)
            return
        self.connections.discard(client)
        self.runtime.clients.leave()
        if not self._per_peer:
            return
        network = network_of(client.peer)
        left = self._per_peer.get(network, 1) - 1
        if left:
            self._per_peer[network] = left
        else:
            self._per_peer.pop(network, None)

    def is_trusted(self, peer: str) -> bool:
        """Tell whether what this address says of others is believed."""
        known = self._trust.get(peer)
        if known is None:
            if len(self._trust) >= _MAX_KNOWN_PEERS:
                self._trust.clear()
            known = self._trust[peer] = self._is_in_trusted_network(peer)
        return known

    def on_reload(self) -> None:
        """Other limits hold from now on, and others are believed."""
        self._trust.clear()
        self._per_peer.clear()
        if self.runtime.snapshot.limits.connections_per_client is not None:
            for client in self.connections:
                network = network_of(client.peer)
                self._per_peer[network] = self._per_peer.get(network, 0) + 1

    @property
    def is_busy(self) -> bool:
        """Tell whether a request is under way on any connection; tunnels aside."""
        return any(client.is_busy for client in self.connections)

    def drain(self) -> None:
        """Let idle connections go now, the others with their requests.

        It listens on: who has not heard yet gets an answer that proves that
        nothing was done, and may go elsewhere at once.
        """
        for client in list(self.connections):
            client.drain()

    def cut(self) -> None:
        """Take nothing new; end every connection, but answer what is under way."""
        if self.queue is not None:
            self.queue.close()
        self.shedder.close()
        if self._server is not None:
            self._server.close()
        for client in list(self.connections):
            client.cut()

    async def close(self) -> None:
        """End what is left without a word."""
        self.cut()
        for client in [*self.connections, *self._lingering]:
            client.transport.abort()
        if self._server is not None:
            await self._server.wait_closed()

    def _is_in_trusted_network(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        return any(
            address in network for network in self.runtime.snapshot.trusted_peers
        )


def network_of(peer: str) -> str:
    """Return by what the connections of one client are counted.

    That is its address; with IPv6 the first 64 bits of it, since a client chooses
    the others as it likes (RFC 4291, 2.5.1; RFC 8981).
    """
    if ":" not in peer:
        return peer
    address = ipaddress.IPv6Address(peer.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _IPV6_NETWORK_BITS), strict=False))
