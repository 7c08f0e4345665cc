"""An API server as far as `sidecar certify` asks one: objects, read and replaced.

A write is taken only of what was read last (409 else), as Kubernetes does by
`resourceVersion`. Rights are as RBAC gives them: by verb and name.
"""

from __future__ import annotations

import copy
import json
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trustme
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOKEN = "a-token-of-tests"


class ObjectStore:
    """Objects by path, each with the number of its version."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.rights: set[tuple[str, str]] | None = None  # None: all of them.
        self.asked: list[tuple[str, str]] = []
        self.before_write: list[Any] = []  # Each is called once, as another writer.

    def put(self, path: str, value: dict[str, Any]) -> None:
        """Write, whoever wrote before."""
        number = int(self.objects.get(path, {}).get("metadata", {}).get(_V, "0"))
        stored = copy.deepcopy(value)
        stored.setdefault("metadata", {})[_V] = str(number + 1)
        self.objects[path] = stored

    async def handle(self, request: web.Request) -> web.Response:
        verb, path = _VERBS[request.method], request.path
        self.asked.append((verb, path))
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized")
        if self.rights is not None and (verb, path) not in self.rights:
            return _status(403, f"cannot {verb} it")
        if path not in self.objects:
            return _status(404, "it is not found")
        if verb == "get":
            return web.json_response(self.objects[path])
        value = json.loads(await request.read())
        if self.before_write:
            self.before_write.pop(0)()
        if value["metadata"].get(_V) != self.objects[path]["metadata"][_V]:
            return _status(409, "the object has been modified")
        self.put(path, value)
        return web.json_response(self.objects[path])


_V = "resourceVersion"
_VERBS = {"GET": "get", "PUT": "update"}


def _status(code: int, message: str) -> web.Response:
    value = {"kind": "Status", "code": code, "message": message}
    return web.json_response(value, status=code)


@asynccontextmanager
async def serving(store: ObjectStore, folder: Path) -> AsyncIterator[dict[str, str]]:
    """Serve; yield the environment of a pod, whose ServiceAccount is in `folder`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text(TOKEN + "\n", encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", store.handle)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(runner.addresses[0][1]),
        }
    finally:
        await runner.cleanup()
