"""Opening a connection: name, TCP, TLS, each with its own fault."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_connect, classify_timeout
from sidecar.model import Phase, TimeoutKind
from sidecar.upstream.connection import UpstreamConnection
from sidecar.upstream.expiry import expiries_of
from sidecar.upstream.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Clock
    from sidecar.settings.snapshot import Timeouts, Upstream
    from sidecar.upstream.pool import Endpoint

_FRESH_S = 5.0  # An answer of the name server is used for so long,
_STALE_S = 60.0  # and if the server fails, for so long.
_FAREWELL_S = 2.0  # For a peer to answer the end of TLS.


class Opening:
    """A connection that is being made, until it is there or not wanted any more."""

    __slots__ = ("_done", "_task")

    def __init__(
        self,
        task: asyncio.Task[UpstreamConnection],
        done: Callable[[UpstreamConnection | Exception], None],
    ) -> None:
        self._task = task
        self._done: Callable[[UpstreamConnection | Exception], None] | None = done
        task.add_done_callback(self._on_done)

    def cancel(self) -> None:
        """Tell nobody; close what may still come."""
        self._done = None
        self._task.cancel()

    def _on_done(self, task: asyncio.Task[UpstreamConnection]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if self._done is None:
            if error is None:
                task.result().close()
        elif isinstance(error, Exception):
            self._done(error)
        elif error is None:
            self._done(task.result())


class Connector:
    """Opens the connections of one upstream."""

    __slots__ = (
        "_buffer_bytes",
        "_clock",
        "_known",
        "_max_head_bytes",
        "_on_closed",
        "_tls",
        "_verify",
        "expiries",
    )

    def __init__(
        self,
        upstream: Upstream,
        clock: Clock,
        on_closed: Callable[[Endpoint, UpstreamConnection], None],
    ) -> None:
        self._clock = clock
        self._max_head_bytes = upstream.response_header_max_bytes
        self._buffer_bytes = upstream.buffer_bytes
        self._on_closed = on_closed
        self._tls = upstream.tls
        self._verify = (
            tls_context(upstream.name, upstream.tls) if upstream.tls else None
        )
        self.expiries = expiries_of(upstream.tls, clock.wall_ns() / 1e9)
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    def open(
        self,
        endpoint: Endpoint,
        timeouts: Timeouts,
        done: Callable[[UpstreamConnection | Exception], None],
    ) -> Opening:
        """Begin to connect; `done` gets the connection, or a `ProxyFault`."""
        loop = asyncio.get_running_loop()
        return Opening(loop.create_task(self.connect(endpoint, timeouts)), done)

    async def connect(
        self, endpoint: Endpoint, timeouts: Timeouts
    ) -> UpstreamConnection:
        """Return an open connection.

        Raises:
            ProxyFault: It could not be made. Nothing was sent.
        """
        hosts = await self._resolve(endpoint.address.host, timeouts.dns_s)
        hosts += endpoint.address.other_hosts
        steps = _Steps()
        try:
            async with asyncio.timeout(timeouts.connect_s):
                for host in hosts[:-1]:
                    try:
                        return await self._connect_to(host, endpoint, steps)
                    except OSError:  # An address of the name where nobody is.
                        continue
                return await self._connect_to(hosts[-1], endpoint, steps)
        except TimeoutError:
            raise classify_timeout(
                TimeoutKind.CONNECT, steps.phase, timeouts.connect_s
            ) from None
        except OSError as error:  # Those of TLS, too.
            raise classify_connect(error, steps.phase, endpoint.name) from None

    async def _connect_to(
        self, host: str, endpoint: Endpoint, steps: _Steps
    ) -> UpstreamConnection:
        """Connect to one address, in two steps if there is TLS."""
        loop = asyncio.get_running_loop()
        port = endpoint.address.port
        connection = UpstreamConnection(
            self._max_head_bytes,
            self._buffer_bytes,
            lambda closed: self._on_closed(endpoint, closed),
        )
        steps.phase = Phase.CONNECT
        if self._tls is None:
            await loop.create_connection(lambda: connection, host, port)
            return connection
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family))
            sock.setblocking(False)
            await loop.sock_connect(sock, (host, port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            steps.phase = Phase.TLS
            await loop.create_connection(
                lambda: connection,
                sock=sock,
                ssl=self._verify,
                server_hostname=self._tls.server_name or endpoint.address.host,
                ssl_shutdown_timeout=_FAREWELL_S,
            )
            stack.pop_all()  # It is the transport's now.
        return connection

    async def _resolve(self, host: str, dns_s: float) -> tuple[str, ...]:
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        now_s = self._clock.now_s()
        known = self._known.get(host)
        if known is not None and now_s - known[0] < _FRESH_S:
            return known[1]
        try:
            found = await _ask(host, dns_s)
        except ProxyFault:
            if known is not None and now_s - known[0] < _STALE_S:
                return known[1]
            raise
        self._known[host] = (now_s, found)
        return found


class _Steps:
    """How far the making of a connection has come."""

    __slots__ = ("phase",)

    def __init__(self) -> None:
        self.phase = Phase.CONNECT


async def _ask(host: str, dns_s: float) -> tuple[str, ...]:
    """Return the addresses of a name, in the order of the system (RFC 6724)."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(dns_s):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise classify_timeout(TimeoutKind.DNS, Phase.DNS, dns_s) from None
    except OSError as error:
        raise classify_connect(error, Phase.DNS, host) from None
    if not found:
        msg = f"{host}: no address"
        raise ProxyFault(FaultCode.DNS_ERR, msg, phase=Phase.DNS)
    return tuple(dict.fromkeys(str(address[4][0]) for address in found))
