"""The page: one file that shows all the rest, served to browsers.

    GET /      for who prefers text/html; everybody else gets the index
    GET /page  for everybody

It is built from `sidecar/page` by `make page`, holds no data of this sidecar and
reaches for nothing outside of it: a browser may run its script, and no other, and
ask this server, and no other. So it may be read by all; what it then asks for is
subject to `access.py`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import hdrs, web

from sidecar.admin.openapi import told

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PATHS: Final = ("/page", "/page/licences.txt")
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)
_NOT_BUILT = (
    "This sidecar was installed without its page: run `make page`, which needs npm or "
    "the network, and start it again; /faults, /fault-groups and /upstreams have the "
    "same as JSON"
)


class Page(NamedTuple):
    """What is served."""

    text: str
    policy: str  # Content-Security-Policy: its own script and style, by their hashes.
    etag: str


def is_asked_for(request: web.Request) -> bool:
    """Tell whether a request is for the page, which holds no data, and nothing else."""
    if request.method not in ("GET", "HEAD"):
        return False
    return request.path in PATHS or (request.path == "/" and prefers_html(request))


def prefers_html(request: web.Request) -> bool:
    """Tell whether HTML is wanted more than JSON (RFC 9110, 12.5.1).

    Browsers name text/html; programs that take anything, or JSON, do not.
    """
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, ())).lower()
    return "text/html" in accept and "application/json" not in accept


@told(kinds=("text/html",), errors=(503,))
async def page(request: web.Request) -> web.Response:
    """Show everything on a page, live."""
    return shown(request)


@told(kinds=("text/plain",), errors=(503,))
async def licences(_: web.Request) -> web.Response:
    """Show the licences of what the page is made with."""
    file = _built() / "licences.txt"
    if not file.is_file():
        return _not_built()
    return web.Response(text=file.read_text(encoding="utf-8"))


def shown(request: web.Request) -> web.Response:
    """Return the page, or that the browser has it already."""
    found = load()
    if found is None:
        return _not_built()
    headers = {
        hdrs.CACHE_CONTROL: "no-cache",
        hdrs.ETAG: found.etag,
        hdrs.VARY: hdrs.ACCEPT,
        "Content-Security-Policy": found.policy,
        "Referrer-Policy": "no-referrer",
    }
    if request.headers.get(hdrs.IF_NONE_MATCH) == found.etag:
        return web.Response(status=304, headers=headers)
    return web.Response(text=found.text, content_type="text/html", headers=headers)


@cache
def load() -> Page | None:
    """Return the page as it was built; None: it was not."""
    file = _built() / "index.html"
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
    return Page(text, policy_of(text), etag)


def policy_of(text: str) -> str:
    """Return the policy that lets a page run what is in it, and nothing else."""
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in _INLINE.findall(text):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    return "; ".join([
        "default-src 'none'",
        *(f"{kind}-src {' '.join(found)}" for kind, found in hashes.items() if found),
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ])  # fmt: skip


def _not_built() -> web.Response:
    return web.json_response({"error": _NOT_BUILT}, status=503)


def _built() -> Traversable:
    return resources.files("sidecar") / "page" / "built"
