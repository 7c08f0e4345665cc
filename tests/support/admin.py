"""A client of the admin or the health server, that knows the token."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.proxy import Proxy

TOKEN = "0123456789-a-token-of-tests"
KNOWING = {"Authorization": f"Bearer {TOKEN}"}
SAFE = ("GET", "HEAD")


class Client:
    """Asks one server of the sidecar."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def ask(
        self, path: str, method: str = "GET", *, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """Return status and body, read as JSON where it is.

        With the token where something may be changed, unless told otherwise.
        """
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        known = {} if method in SAFE else KNOWING
        async with self.session.request(
            method, path, data=data, headers=known | headers
        ) as got:
            is_json = got.content_type == "application/json"
            return got.status, await (got.json() if is_json else got.text())

    async def get(self, path: str) -> Any:
        status, value = await self.ask(path)
        assert status == 200
        return value


@asynccontextmanager
async def client_of(proxy: Proxy, server: str = "admin") -> AsyncIterator[Client]:
    host, port = proxy.app.addresses[server]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        yield Client(session)
