"""The day of a promotion, as docs/faults-howto.md tells it: shop, clients, receivers.

    calm        a few orders a second, the catalogue beside them
    promotion   twelve times as many; the shop has five connections to its database
    mended      the shop gets more of them; what was over is told

The sidecar is the real one with config/examples/promotion.yaml; the shop, its clients,
the mail server and the webhook are here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp import web

from tests.support.web import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_DATABASE_WAIT_S: Final = 0.25  # For a free connection; then the order is refused.
_ORDER_S: Final = 0.08  # That an order holds one.
_FEW: Final = 5
_ENOUGH: Final = 40


class Shop:
    """Takes orders as long as its database has a connection to spare."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_FEW)
        self.port = 0

    def mend(self) -> None:
        """Give it more connections: what somebody does who has read the fix."""
        for _ in range(_ENOUGH - _FEW):
            self._free.release()

    async def order(self, _: web.Request) -> web.Response:
        """Take an order, or name why not: 316-ORDER-SUBMIT-ERR."""
        try:
            async with asyncio.timeout(_DATABASE_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            return web.json_response(
                {"error": "no database connection was free in 250 ms"},
                status=503,
                headers={"x-316-code": "316-ORDER-SUBMIT-ERR"},
            )
        try:
            await asyncio.sleep(_ORDER_S)
        finally:
            self._free.release()
        return web.json_response({"order": time.monotonic_ns()}, status=201)

    async def catalogue(self, _: web.Request) -> web.Response:
        """List what there is."""
        return web.json_response(["a lamp", "a chair"])


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    """Run one."""
    here = Shop()
    application = web.Application()
    application.router.add_post("/orders", here.order)
    application.router.add_get("/catalogue", here.catalogue)
    async with served(application) as here.port:
        yield here


@dataclass
class Clients:
    """Those who buy: so many orders a second, whatever becomes of them."""

    base: str
    orders_per_s: float = 6.0
    statuses: list[tuple[int, str]] = field(default_factory=list)

    async def run(self, over: asyncio.Event) -> None:
        """Send until it is over; nobody waits for the order before."""
        limits = aiohttp.ClientTimeout(total=10)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(
                self.base, timeout=limits, connector=connector
            ) as session,
            asyncio.TaskGroup() as tasks,
        ):
            number = 0
            while not over.is_set():
                tasks.create_task(self._ask(session, "POST", "/orders"))
                if number % 3 == 0:
                    tasks.create_task(self._ask(session, "GET", "/catalogue"))
                number += 1
                await asyncio.sleep(1.0 / self.orders_per_s)

    async def _ask(self, session: Any, method: str, path: str) -> None:
        async with session.request(method, path) as got:
            await got.read()
            self.statuses.append((got.status, got.headers.get("x-316-code", "")))
