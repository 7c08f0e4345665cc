"""Opening a connection: name, TCP, TLS, each with its own fault."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_connect, classify_timeout
from sidecar.model import Phase, TimeoutKind
from sidecar.upstream.connection import UpstreamConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Clock
    from sidecar.settings.snapshot import Upstream, UpstreamTls
    from sidecar.upstream.pool import Endpoint

_FRESH_S = 5.0  # An answer of the name server is used for so long,
_STALE_S = 60.0  # and if the server fails, for so long.


class Connector:
    """Opens the connections of one upstream."""

    __slots__ = ("_clock", "_known", "_max_head_bytes", "_on_closed", "_tls", "_verify")

    def __init__(
        self,
        upstream: Upstream,
        clock: Clock,
        on_closed: Callable[[Endpoint, UpstreamConnection], None],
    ) -> None:
        self._clock = clock
        self._max_head_bytes = upstream.response_header_max_bytes
        self._on_closed = on_closed
        self._tls = upstream.tls
        self._verify = tls_context(upstream.tls) if upstream.tls else None
        self._known: dict[str, tuple[float, str]] = {}

    async def connect(self, endpoint: Endpoint, dns_s: float) -> UpstreamConnection:
        """Return an open connection.

        Raises:
            ProxyFault: It could not be made. Nothing was sent.
        """
        host = await self._resolve(endpoint.address.host, dns_s)
        loop = asyncio.get_running_loop()
        connection = UpstreamConnection(
            self._max_head_bytes, lambda closed: self._on_closed(endpoint, closed)
        )
        name = None
        if self._tls is not None:
            name = self._tls.server_name or endpoint.address.host
        try:
            await loop.create_connection(
                lambda: connection,
                host,
                endpoint.address.port,
                ssl=self._verify,
                server_hostname=name,
            )
        except (OSError, ssl.SSLError) as error:
            phase = Phase.TLS if isinstance(error, ssl.SSLError) else Phase.CONNECT
            raise classify_connect(error, phase, endpoint.name) from None
        return connection

    async def _resolve(self, host: str, dns_s: float) -> str:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
        now_s = self._clock.now_s()
        known = self._known.get(host)
        if known is not None and now_s - known[0] < _FRESH_S:
            return known[1]
        try:
            found = await self._ask(host, dns_s)
        except ProxyFault:
            if known is not None and now_s - known[0] < _STALE_S:
                return known[1]
            raise
        self._known[host] = (now_s, found)
        return found

    async def _ask(self, host: str, dns_s: float) -> str:
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
        return str(found[0][4][0])


def tls_context(tls: UpstreamTls) -> ssl.SSLContext:
    """Return the context to speak TLS with.

    Raises:
        OSError: A file is missing, unreadable or not what it should be.
    """
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
