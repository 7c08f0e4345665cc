"""Who may talk to the admin API: this host's people, not its browsers' pages.

A page of another site can make a browser here send requests here, in two ways:

    its name is made to resolve to 127.0.0.1 (DNS rebinding): its `Host` tells,
    for an attacker owns names, never the address itself or "localhost"
    it posts to 127.0.0.1 directly, blind to the answer: its `Origin` tells
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_SAFE = frozenset(("GET", "HEAD", "OPTIONS"))


@web.middleware
async def only_this_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of another site may have sent."""
    host = request.host
    if not is_own_name(host):
        return refusal(403, f"Host {host!r} is a foreign name; use an address")
    origin = request.headers.get("Origin")
    is_change = request.method not in _SAFE
    if is_change and origin is not None and not is_same_place(origin, host):
        return refusal(403, f"Origin {origin!r} may not change anything here")
    return await handler(request)


def is_own_name(host: str) -> bool:
    """Tell whether a `Host` value is an address or "localhost", port aside."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_same_place(origin: str, host: str) -> bool:
    """Tell whether a page of `origin` was served by `host` itself."""
    return origin.lower() == f"http://{host.lower()}"


def refusal(status: int, error: str) -> web.Response:
    """Return an answer that tells what is wrong."""
    return web.json_response({"error": error}, status=status)
