"""One watch for each source: started, shared, ended as the configuration says."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from sidecar.discovery.feed import Feed
from sidecar.settings.snapshot import DnsSource

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from sidecar.clock import Clock
    from sidecar.runtime import Runtime
    from sidecar.settings.snapshot import Snapshot, Source

_log = logging.getLogger(__name__)

_AFTER_BUG_S: Final = 10.0


class Watch(Protocol):
    """Asks, and tells its feed."""

    async def run(self) -> None:
        """Ask until cancelled."""


class Discoveries:
    """The watches of one sidecar."""

    def __init__(self, runtime: Runtime, clock: Clock, rng: Random) -> None:
        self._runtime = runtime
        self._clock = clock
        self._rng = rng
        self._feeds: dict[Source, Feed] = {}
        self._tasks: dict[Source, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def prepare(self, snapshot: Snapshot) -> bool:
        """Begin to ask for what is new, and wait for the first answers.

        Not for long: who does not answer must not hold up the rest.

        Returns:
            Whether it is prepared; not so once this is closed.
        """
        if self._is_closed:
            return False
        limit_s = snapshot.first_answer_s
        wanted = _sources_of(snapshot)
        for source in wanted:
            if source not in self._tasks:
                self._start(source)
        feeds = {source: self._feeds[source] for source in wanted}
        try:
            async with asyncio.timeout(limit_s):
                for feed in feeds.values():
                    await feed.answered.wait()
        except TimeoutError:
            for source, feed in feeds.items():
                if not feed.answered.is_set():
                    msg = "discovery: %s: no answer within %g s: going on without"
                    _log.warning(msg, source, limit_s)
        return not self._is_closed

    def follow(self, snapshot: Snapshot) -> None:
        """End what nobody asks for any more."""
        wanted = _sources_of(snapshot)
        for source in [source for source in self._tasks if source not in wanted]:
            task = self._tasks.pop(source)
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            del self._feeds[source]
            self._runtime.findings.pop(source, None)

    async def close(self) -> None:
        """End all, and begin nothing any more."""
        self._is_closed = True
        tasks = [*self._tasks.values(), *self._ending]
        for feed in self._feeds.values():
            feed.answered.set()  # Nobody is to wait any more.
        self._tasks.clear()
        self._feeds.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, source: Source) -> None:
        feed = self._feeds[source] = Feed(source, self._runtime, self._clock)
        watch = _watch_of(source, feed, self._rng)
        loop = asyncio.get_running_loop()
        self._tasks[source] = loop.create_task(_keep_running(watch, source))


def _watch_of(source: Source, feed: Feed, rng: Random) -> Watch:
    """Return who asks; a library is loaded when it is needed."""
    if isinstance(source, DnsSource):
        from sidecar.discovery.dns import DnsWatch  # noqa: PLC0415 - dnspython is heavy

        return DnsWatch(source, feed, rng)
    from sidecar.discovery.kubernetes import SliceWatch  # noqa: PLC0415 - so is aiohttp

    return SliceWatch(source, feed, rng)


def _sources_of(snapshot: Snapshot) -> list[Source]:
    upstreams: Iterable[Source | None] = (
        upstream.discovery for upstream in snapshot.upstreams.values()
    )
    return list(dict.fromkeys(source for source in upstreams if source is not None))


async def _keep_running(watch: Watch, source: Source) -> None:
    """Run a watch; a bug in it must not leave the endpoints as they are for good."""
    while True:
        try:
            await watch.run()
        except Exception:  # noqa: BLE001 - told, and tried again
            _log.exception("discovery: %s: a bug, or an answer that is none", source)
        else:
            return
        await asyncio.sleep(_AFTER_BUG_S)
