"""The servers of one sidecar beside its traffic: bound together, ended together."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from aiohttp import http_exceptions, web

from sidecar.accept.binding import bind
from sidecar.accept.listener import ListenError
from sidecar.admin.access import Access, Throttle, Way
from sidecar.admin.api import admin_application
from sidecar.admin.door import DOOR, Door
from sidecar.admin.health import health_application
from sidecar.admin.token import AdminToken
from sidecar.admin.unix_socket import UnixSocket
from sidecar.settings.hosts import is_loopback

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from sidecar.admin.context import AdminContext
    from sidecar.clock import Clock

_log = logging.getLogger(__name__)

_SHUTDOWN_S = 1.0
# An admin request is a few bytes; nobody may hold memory here with a large one.
_MAX_BODY_BYTES = 64 * 1024


class Servers:
    """Health and admin server of one sidecar."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._running: list[tuple[asyncio.Server, web.AppRunner]] = []
        self._socket: UnixSocket | None = None
        self.health_address = ("", 0)
        self.admin_address = ("", 0)

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: An address is taken, or not ours. Nothing is left behind.
        """
        snapshot = self._context.snapshot
        try:
            self.health_address = await self._listen(
                "health", snapshot.health, health_application(self._context)
            )
            host = snapshot.admin[0]
            way = Way.LOOPBACK if is_loopback(host) else Way.NETWORK
            token = AdminToken(snapshot.admin_token_file, os.environ)
            throttle = Throttle(self._context.clock)
            self.admin_address = await self._listen(
                "admin", snapshot.admin, self._admin(way, token, throttle)
            )
            if snapshot.admin_socket is not None:
                application = self._admin(Way.SOCKET, token, throttle)
                await self._listen_on_socket(snapshot.admin_socket, application)
        except ListenError:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop."""
        while self._running:
            server, runner = self._running.pop()
            server.close()
            await runner.cleanup()
            await server.wait_closed()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _admin(
        self, way: Way, token: AdminToken, throttle: Throttle
    ) -> web.Application:
        count = self._context.recorder.admin_refused
        access = Access(way, token, throttle, self._context.clock, count)
        return admin_application(self._context, access, _MAX_BODY_BYTES)

    async def _listen(
        self, what: str, address: tuple[str, int], application: web.Application
    ) -> tuple[str, int]:
        runner, door = await behind_door(application, self._context.clock)
        host, port = address
        try:
            server = await bind(door, host, port)
        except OSError as error:
            await runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(what, f"{host}:{port}", reason) from None
        self._running.append((server, runner))
        bound = server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    async def _listen_on_socket(self, path: str, application: web.Application) -> None:
        self._socket = bound = UnixSocket(path)
        runner, door = await behind_door(application, self._context.clock)
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(door, sock=bound.sock)
        self._running.append((server, runner))
        _log.info("admin socket: %s", path)


async def behind_door(
    application: web.Application, clock: Clock, shutdown_s: float = _SHUTDOWN_S
) -> tuple[web.AppRunner, Door]:
    """Return what serves an application, and the door before it.

    Args:
        application: What is asked.
        clock: Time.
        shutdown_s: How long a request under way may take once the server ends.
    """

    def make_protocol() -> web.RequestHandler:
        server = runner.server
        assert server is not None  # noqa: S101 - it is set up below
        return server()

    door = Door(clock, make_protocol)

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        door.asked(request.protocol)
        return await handler(request)

    application[DOOR] = door
    application.middlewares.insert(0, note)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_errors(),
        shutdown_timeout=shutdown_s,
        lingering_time=_SHUTDOWN_S,
    )
    await runner.setup()
    return runner, door


def _errors() -> logging.Logger:
    """Return the log of aiohttp, without what any client can put into it."""
    log = logging.getLogger(f"{__name__}.http")
    log.addFilter(_is_ours)
    return log


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell an error of ours from a request that was malformed."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, http_exceptions.HttpProcessingError)
