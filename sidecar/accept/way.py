"""The way to where an intercepted connection was meant to go: one host after another.

Who takes a connection of ours may be we ourselves, if interception does not let us
go. So its own end is known by name from the moment it begins.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
from typing import TYPE_CHECKING, Protocol

from sidecar.faults.classify import classify_connect
from sidecar.model import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.destinations import Destination
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.runtime import Runtime

    OnFailed = Callable[[ProxyFault], None]
    MakeWay = Callable[[Runtime, Destination, asyncio.Protocol, OnFailed], "Connecting"]

_log = logging.getLogger(__name__)


class Connecting(Protocol):
    """A connection in the making: `Way`, or a test's."""

    def stop(self) -> None:
        """Make none any more; it may have been made."""


class Way:
    """A connection in the making, and its name while it lasts.

    Args:
        runtime: Knows by which names this process has connections.
        place: Where to.
        protocol: What gets the connection.
        on_failed: Called once if there is none to be had.
    """

    def __init__(
        self,
        runtime: Runtime,
        place: Destination,
        protocol: asyncio.Protocol,
        on_failed: OnFailed,
    ) -> None:
        self._own_ends = runtime.own_ends
        self._address = place.reached_at
        self._protocol = protocol
        self._on_failed = on_failed
        self._own_end: tuple[str, int] | None = None
        self._task = asyncio.get_running_loop().create_task(self._go())

    def stop(self) -> None:
        """Connect no further, or have had a connection."""
        self._task.cancel()
        self._forget_own_end()

    async def _go(self) -> None:
        try:
            await self._try_each()
        except OSError as error:
            fault = classify_connect(error, Phase.CONNECT, str(self._address))
        else:
            return
        self._on_failed(fault)

    async def _try_each(self) -> None:
        """Connect to the first host that takes it.

        Raises:
            OSError: None does; why the last one does not.
        """
        address = self._address
        for host in (address.host, *address.other_hosts):
            try:
                await self._connect_to(host)
            except OSError as error:
                self._forget_own_end()
                if host == (address.other_hosts or (address.host,))[-1]:
                    raise
                _log.debug("%s: %s; the next one", host, error)
            else:
                return

    async def _connect_to(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        is_ipv6 = ipaddress.ip_address(host).version == 6  # noqa: PLR2004 - a version
        sock = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
        try:
            self._start(sock, (host, self._address.port))
            await _until_connected(loop, sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.create_connection(lambda: self._protocol, sock=sock)
        except BaseException:
            sock.close()
            raise

    def _start(self, sock: socket.socket, address: tuple[str, int]) -> None:
        """Begin to connect, and remember by which name.

        Raises:
            OSError: It was refused at once.
        """
        sock.setblocking(False)
        state = sock.connect_ex(address)
        if state not in (0, errno.EINPROGRESS):
            raise OSError(state, os.strerror(state))
        name = sock.getsockname()
        self._own_end = (str(name[0]), int(name[1]))
        self._own_ends.add(self._own_end)

    def _forget_own_end(self) -> None:
        if self._own_end is not None:
            self._own_ends.discard(self._own_end)
            self._own_end = None


async def _until_connected(
    loop: asyncio.AbstractEventLoop, sock: socket.socket
) -> None:
    """Return when a connection that has begun is made.

    Raises:
        OSError: It is not.
    """
    done: asyncio.Future[None] = loop.create_future()

    def on_writable() -> None:
        if not done.done():
            done.set_result(None)

    loop.add_writer(sock.fileno(), on_writable)
    try:
        await done
    finally:
        loop.remove_writer(sock.fileno())
    state = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if state:
        raise OSError(state, os.strerror(state))
