"""A copy of a collection of the API, kept up to date.

    list --> watch from its version --> watch from the last one that was seen ...
      ^                |
      +---- 410 Gone --+    what happened since is not known any more

Whatever fails, the copy stays as it was, and is asked for again after a while.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.kube.api import GONE, OPENED, ApiError
from sidecar.policy.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from sidecar.kube.api import Api, Object

_WATCH_S: Final = (240, 480)  # Not all at once, when an API server has begun anew.
_BACKOFF: Final = Backoff(0.5, 30.0)
_CHANGES: Final = ("ADDED", "MODIFIED", "DELETED")
_SHORT_S: Final = 1.0  # A watch that ends sooner, and shows nothing, is no good sign.


class Listener(Protocol):
    """Who wants to know."""

    def changed(self, objects: Collection[Object]) -> None:
        """These are there now."""

    def heard(self) -> None:
        """The API answers; nothing has changed."""

    def failed(self, detail: str) -> None:
        """The API does not answer, or refuses; it will be asked again."""


class Reflector:
    """Follows one collection.

    Args:
        api: Whom to ask.
        path: Of the collection.
        selector: Labels that an object must have.
        listener: Told of all.
        rng: Source of jitter.
        backoff: How long to wait after failures.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        selector: str,
        listener: Listener,
        rng: Random,
        *,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        self._api = api
        self._path = path
        self._selector = selector
        self._listener = listener
        self._rng = rng
        self._backoff = backoff
        self._objects: dict[str, Object] = {}
        self._version = ""  # Empty: list first.
        self._failures = 0  # In a row, since the API was last known to be well.

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            retry_after_s = await self._step()
            if self._failures:
                wait_s = self._backoff.delay_s(self._failures, self._rng)
                most_s = self._backoff.max_s
                await asyncio.sleep(min(most_s, max(wait_s, retry_after_s)))

    async def _step(self) -> float:
        """List if need be, and watch once; return how long we are asked to wait."""
        self._failures += 1
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except ApiError as error:
            if error.status == GONE or error.is_garbled:
                self._version = ""
            if error.status != GONE:
                self._listener.failed(str(error))
            return error.retry_after_s or 0.0
        return 0.0

    async def _list(self) -> None:
        items, version = await self._api.list(self._path, self._selector)
        self._objects = {_name(item): item for item in items}
        self._version = version
        self._listener.changed(self._objects.values())

    async def _watch(self) -> None:
        """Take in what happens, until the watch ends."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        limit_s = self._rng.randint(*_WATCH_S)
        watch = self._api.watch(self._path, self._selector, self._version, limit_s)
        async with aclosing(watch) as events:
            async for kind, thing in events:
                self._take_in(kind, thing)
        if loop.time() - start_s >= _SHORT_S:
            self._failures = 0

    def _take_in(self, kind: str, thing: Object) -> None:
        if kind != OPENED:
            self._failures = 0
            version = (thing.get("metadata") or {}).get("resourceVersion")
            self._version = version or self._version
        if kind not in _CHANGES:
            self._listener.heard()
            return
        if kind == "DELETED":
            self._objects.pop(_name(thing), None)
        else:
            self._objects[_name(thing)] = thing
        self._listener.changed(self._objects.values())


def _name(thing: Object) -> str:
    return str((thing.get("metadata") or {}).get("name"))
