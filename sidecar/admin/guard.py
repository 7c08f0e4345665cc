"""What an admin request must pass before its handler sees it.

A page of another site can make a browser here send requests here, in two ways:

    its name is made to resolve to 127.0.0.1 (DNS rebinding): its `Host` tells,
    for an attacker owns names, never the address itself or "localhost"
    it sends to 127.0.0.1 directly, blind to the answer: `Origin` and
    `Sec-Fetch-Site` tell, and it cannot know the token

Whether the caller may do what it asks for is decided in `access.py`.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from sidecar.admin.access import SAFE, Refusal, Way
from sidecar.admin.page import is_asked_for

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from sidecar.admin.access import Access

_OWN_SITES = frozenset(("same-origin", "none"))  # None: typed in, or a bookmark.
_HEADERS = {
    "Server": "sidecar",  # Not which version of which library.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_OWN_SAY = frozenset(("Cache-Control", "Content-Security-Policy"))


def guarded(access: Access) -> Middleware:
    """Return the middleware of a server."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        what = _what(request)
        found = None if access.way is Way.SOCKET else foreign(request)
        if found is not None:
            access.refused(found, request.method, what)
        elif not is_asked_for(request):
            given = request.headers.get("Authorization")
            found = access.refusal(request.method, what, given)
        if found is None:
            return await handler(request)
        answer = refusal(found.status, found.error)
        if found.challenge:
            answer.headers["WWW-Authenticate"] = found.challenge
        return answer

    return guard


def foreign(request: web.Request) -> Refusal | None:
    """Return why a request may be of a page of another site, if it may."""
    host = request.host
    if not is_own_name(host):
        error = f"Host {host!r} is a foreign name; use an address"
        return Refusal(403, error, "foreign host")
    if request.method in SAFE:
        return None
    origin = request.headers.get("Origin")
    if origin is not None and not is_same_place(origin, host):
        error = f"Origin {origin!r} may not change anything here"
        return Refusal(403, error, "foreign origin")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in _OWN_SITES:
        return Refusal(403, "a page may not change anything here", "foreign origin")
    return None


async def harden(_: web.Request, response: web.StreamResponse) -> None:
    """Keep browsers from guessing, keeping and framing what is answered.

    The page alone says otherwise, of itself.
    """
    for name, value in _HEADERS.items():
        if name not in _OWN_SAY or name not in response.headers:
            response.headers[name] = value


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


def _what(request: web.Request) -> str:
    """Return what is asked for in words of ours, for logs."""
    resource = request.match_info.route.resource
    return "an unknown path" if resource is None else resource.canonical
