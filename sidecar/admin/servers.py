"""Both servers of one sidecar: bound together, ended together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from sidecar.accept.listener import ListenError
from sidecar.admin.api import admin_application
from sidecar.admin.health import health_application

if TYPE_CHECKING:
    from sidecar.admin.context import AdminContext

_SHUTDOWN_S = 1.0
# An admin request is a few bytes; nobody may hold memory here with a large one.
_MAX_BODY_BYTES = 64 * 1024


class Servers:
    """Health and admin server of one sidecar."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._runners: list[web.AppRunner] = []
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
            self.admin_address = await self._listen(
                "admin",
                snapshot.admin,
                admin_application(self._context, _MAX_BODY_BYTES),
            )
        except ListenError:
            await self.close()
            raise

    async def close(self) -> None:
        """Stop."""
        while self._runners:
            await self._runners.pop().cleanup()

    async def _listen(
        self, what: str, address: tuple[str, int], application: web.Application
    ) -> tuple[str, int]:
        runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=_SHUTDOWN_S
        )
        await runner.setup()
        self._runners.append(runner)
        host, port = address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ListenError(what, f"{host}:{port}", reason) from None
        bound = runner.addresses[0]
        return str(bound[0]), int(bound[1])
