"""The API of Kubernetes for one collection, as it is documented, and with faults.

Lists come in pages, watches begin at a version, bookmarks tell how far they are; a
version that was compacted away is 410, as a status or within the watch. A test makes
objects come and go, and says what goes wrong.

Source:
    Kubernetes, "API Concepts": efficient detection of changes, 410 Gone, bookmarks.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.support.certificates import Authority

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

Object = dict[str, Any]

FIRST_TOKEN = "the-first-token"


class KubeApi:
    """Holds objects, and what happened to them.

    Attributes:
        token: The one that is good.
        refusals: Statuses of the next answers, whatever is asked for.
        is_silent: Take requests, and answer none.
        is_refusing_watches: Watches are 403: the Role lacks the verb.
        asked: What was asked for: "list" or "watch" with its query.
        page_size: Of lists, whatever a larger limit is asked for.
        retry_after: The field of that name in refusals.
    """

    def __init__(self) -> None:
        self.token = FIRST_TOKEN
        self.refusals: list[int] = []
        self.is_silent = False
        self.is_refusing_watches = False
        self.retry_after: str | None = None
        self.page_size = 500
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.objects: dict[str, Object] = {}
        self.version = 100
        self.watches: set[web.StreamResponse] = set()
        self._history: list[tuple[int, str, Object]] = []
        self._oldest = 0
        self._changed = asyncio.Event()
        self._is_ending_watches = False
        self._is_cutting_watches = False
        self.url = ""

    # What a test does.

    def put(self, thing: Object) -> None:
        """Create or change an object."""
        name = thing["metadata"]["name"]
        self._happen("MODIFIED" if name in self.objects else "ADDED", thing)
        self.objects[name] = self._history[-1][2]

    def delete(self, name: str) -> None:
        self._happen("DELETED", self.objects.pop(name))

    def bookmark(self) -> None:
        """Tell watches how far they are."""
        self._happen("BOOKMARK", {"kind": "EndpointSlice", "metadata": {}})

    def say(self, kind: str, thing: Object) -> None:
        """Let watches have any event."""
        self._happen(kind, thing)

    def compact(self) -> None:
        """Forget what happened up to now."""
        self.version += 1
        self._oldest = self.version
        self._history.clear()

    async def end_watches(self) -> None:
        """As after timeoutSeconds."""
        await self._stop("_is_ending_watches")

    async def cut_watches(self) -> None:
        """As when the API server dies: in the middle of a chunk."""
        await self._stop("_is_cutting_watches")

    async def until_asked(self, kind: str, count: int) -> None:
        """Wait until there were so many lists or watches."""
        while sum(asked == kind for asked, _ in self.asked) < count:
            await asyncio.sleep(0.001)

    async def until_watched(self) -> None:
        while not self.watches:
            await asyncio.sleep(0.001)

    async def _stop(self, how: str) -> None:
        setattr(self, how, True)
        self._changed.set()
        while self.watches:
            await asyncio.sleep(0.001)
        setattr(self, how, False)

    def _happen(self, kind: str, thing: Object) -> None:
        self.version += 1
        metadata = {**thing.get("metadata", {}), "resourceVersion": str(self.version)}
        self._history.append((self.version, kind, {**thing, "metadata": metadata}))
        self._changed.set()

    # What it answers.

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.asked.append(("watch" if "watch" in query else "list", query))
        while self.is_silent:
            await asyncio.sleep(0.001)
        if self.refusals:
            return self._refuse(self.refusals.pop(0), "as the test wants it")
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return self._refuse(401, "Unauthorized")
        if "watch" not in query:
            return self._list(query)
        if self.is_refusing_watches:
            return self._refuse(403, "endpointslices is forbidden: cannot watch")
        if int(query["resourceVersion"]) < self._oldest:
            return self._refuse(410, "too old resource version")
        return await self._watch(request, int(query["resourceVersion"]))

    def _list(self, query: dict[str, str]) -> web.Response:
        start = int(query.get("continue", "0"))
        size = min(self.page_size, int(query["limit"]))
        items = list(self.objects.values())
        metadata = {"resourceVersion": str(self.version)}
        if start + size < len(items):
            metadata["continue"] = str(start + size)
        page = {"metadata": metadata, "items": items[start : start + size]}
        return web.json_response({"kind": "EndpointSliceList", **page})

    async def _watch(self, request: web.Request, version: int) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self.watches.add(response)
        try:
            while not self._is_ending_watches:
                self._changed.clear()
                for happened, kind, thing in list(self._history):
                    if happened > version:
                        version = happened
                        event = json.dumps({"type": kind, "object": thing}) + "\n"
                        await response.write(event.encode())
                if self._is_cutting_watches:
                    await response.write(b'{"type": "ADDED", "obj')
                    assert request.transport is not None
                    request.transport.abort()
                    break
                await self._changed.wait()
        except ConnectionError:
            pass
        finally:
            self.watches.discard(response)
        return response

    def _refuse(self, status: int, message: str) -> web.Response:
        fields = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        body = {"kind": "Status", "message": message, "code": status}
        return web.json_response(body, status=status, headers=fields)


@asynccontextmanager
async def kube_api(tls: ssl.SSLContext | None = None) -> AsyncIterator[KubeApi]:
    """Run one on loopback."""
    found = KubeApi()
    application = web.Application()
    application.router.add_get("/{path:.*}", found.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    found.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield found
    finally:
        found.is_silent = False
        await found.end_watches()
        await runner.cleanup()


@asynccontextmanager
async def kube_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[KubeApi, dict[str, Any]]]:
    """Yield an API by TLS, and the settings for a pod that may ask it."""
    folder = tmp_path / "account"
    write_account(folder)
    authority = Authority(tmp_path / "authority")
    (tmp_path / "authority" / "ca.pem").rename(folder / "ca.crt")
    async with kube_api(authority.server_context("127.0.0.1")) as api:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", api.url.rpartition(":")[2])
        yield api, {"discovery": {"service_account": str(folder)}}


def write_account(folder: Path, token: str = FIRST_TOKEN) -> None:
    """Write what kubelet mounts, but for the certificate."""
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text(token + "\n", encoding="utf-8")
    (folder / "namespace").write_text("shop", encoding="utf-8")
