"""A listening socket and the client connections that came through it."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from typing import TYPE_CHECKING

from sidecar.accept.client import ClientConnection
from sidecar.accept.shedding import Shedder
from sidecar.faults.catalogue import FaultCode, ProxyFault

if TYPE_CHECKING:
    from sidecar.runtime import Runtime

_BACKLOG = 4096
_MAX_KNOWN_PEERS = 4096


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
        self.connections: set[ClientConnection] = set()
        self._per_peer: dict[str, int] = {}
        self._trust: dict[str, bool] = {}
        self._server: asyncio.Server | None = None
        self.shedder = Shedder(name, runtime)

    async def listen(self, host: str, port: int) -> tuple[str, int]:
        """Start to accept; return the address in use.

        Raises:
            ListenError: The address is taken, or not ours.
        """
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: ClientConnection(self), host, port, backlog=_BACKLOG
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(self.name, f"{host}:{port}", reason) from None
        self.shedder.watch(self._server.sockets[0].fileno(), _BACKLOG)
        address = self._server.sockets[0].getsockname()
        return str(address[0]), int(address[1])

    def admit(self, client: ClientConnection) -> ProxyFault | None:
        """Count a connection; return why it is one too many, if it is."""
        limits = self.runtime.snapshot.limits
        mine = self._per_peer.get(client.peer, 0)
        most = limits.connections_per_client
        if len(self.connections) >= limits.connections:
            detail = f"{len(self.connections)} connections are open"
        elif most is not None and mine >= most:
            detail = f"{mine} connections of this client are open"
        else:
            self.connections.add(client)
            self.shedder.accepted += 1
            self._per_peer[client.peer] = mine + 1
            return None
        return ProxyFault(FaultCode.OVERLOAD, detail, retry_after_s=1.0)

    def forget(self, client: ClientConnection) -> None:
        """A connection is gone."""
        if client not in self.connections:
            return
        self.connections.discard(client)
        left = self._per_peer.get(client.peer, 1) - 1
        if left:
            self._per_peer[client.peer] = left
        else:
            self._per_peer.pop(client.peer, None)

    def is_trusted(self, peer: str) -> bool:
        """Tell whether what this address says of others is believed."""
        known = self._trust.get(peer)
        if known is None:
            if len(self._trust) >= _MAX_KNOWN_PEERS:
                self._trust.clear()
            known = self._trust[peer] = self._is_in_trusted_network(peer)
        return known

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
        self.shedder.close()
        if self._server is not None:
            self._server.close()
        for client in list(self.connections):
            client.cut()

    async def close(self) -> None:
        """End what is left without a word."""
        self.cut()
        for client in list(self.connections):
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
