"""Listening on an address, of both families where it means both."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_ANY = "::"  # Of IPv6, and of IPv4.
BACKLOG = 100  # As asyncio has it.


async def bind(
    make_protocol: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    *,
    backlog: int = BACKLOG,
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Listen.

    Args:
        make_protocol: Makes the protocol of a connection.
        host: An address of this machine.
        port: 0 is any that is free.
        backlog: How many connections wait to be accepted.
        tls: What to speak TLS with.

    Raises:
        OSError: The address is taken, or not ours.
    """
    loop = asyncio.get_running_loop()
    if host != _ANY or not socket.has_dualstack_ipv6():
        return await loop.create_server(
            make_protocol, host, port, backlog=backlog, ssl=tls
        )
    # The loop itself would take IPv6 alone: the kubelet, and what interception
    # redirects to a port, may come by either.
    both = socket.create_server(
        (host, port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
    )
    return await loop.create_server(make_protocol, sock=both, backlog=backlog, ssl=tls)
