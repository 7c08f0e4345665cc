"""Names of receivers, looked up where the traffic's are not.

The loop has a few threads for names. One whose name server hangs holds its thread for
as long as the system's resolver likes, so the names of receivers would hold up those
of upstreams. Here each has a thread of its own, which the end does not wait for.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from aiohappyeyeballs import start_connection

if TYPE_CHECKING:
    from collections.abc import Callable

_NEXT_AFTER_S: Final = 0.25  # As RFC 8305 recommends.

AddressInfo = tuple[Any, Any, int, str, Any]  # As `getaddrinfo` returns it.


async def addresses_of(host: str, port: int, family: int = 0) -> list[AddressInfo]:
    """Return the addresses of a name; an address is its own.

    Raises:
        OSError: It has none, or nobody could tell.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[AddressInfo]] = loop.create_future()

    def settle(done: Callable[[Any], None], value: Any) -> None:
        if not found.done():  # Else whoever asked has left.
            done(value)

    def look_up() -> None:
        done: Callable[[Any], None] = found.set_result
        value: Any
        try:
            value = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except OSError as error:
            done, value = found.set_exception, error
        except UnicodeError:
            done, value = found.set_exception, socket.gaierror("it is no host name")
        with suppress(RuntimeError):  # The loop has ended meanwhile.
            loop.call_soon_threadsafe(settle, done, value)

    Thread(target=look_up, name="alerts-name", daemon=True).start()
    return await found


async def connected(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to the first address that takes it.

    One that swallows packets holds the others up for a moment only (RFC 8305).

    Raises:
        OSError: None does.
    """
    found = await addresses_of(host, port)
    return await start_connection(found, happy_eyeballs_delay=_NEXT_AFTER_S)
