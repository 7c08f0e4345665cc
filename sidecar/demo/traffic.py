"""A gentle stream of requests: twenty a second, to every part of the shop."""

from __future__ import annotations

import asyncio
import random

import aiohttp

_CALLS = (
    ("GET", "/catalogue"),
    ("GET", "/catalogue"),
    ("GET", "/prices"),
    ("GET", "/prices"),
    ("POST", "/orders"),
    ("POST", "/payments"),
    ("GET", "/report"),
    ("GET", "/stock"),
    ("GET", "/legacy"),
    ("GET", "/events"),
    ("GET", "/nowhere"),
)
_EVERY_S = 0.05
_FINISH_S = 2.0  # More than any of the calls takes.


async def send_traffic(base: str, over: asyncio.Event) -> None:
    """Send requests to `base` until `over`, then let those under way end."""
    async with aiohttp.ClientSession(base) as session, asyncio.TaskGroup() as calls:
        while not over.is_set():
            method, path = random.choice(_CALLS)  # noqa: S311 - a demo
            calls.create_task(_call(session, method, path))
            await asyncio.sleep(_EVERY_S)


async def _call(session: aiohttp.ClientSession, method: str, path: str) -> None:
    limit = aiohttp.ClientTimeout(total=_FINISH_S)
    try:
        async with session.request(method, path, timeout=limit) as response:
            await response.read()
    except (aiohttp.ClientError, TimeoutError):
        return  # It shows in the proxy's own counts.
