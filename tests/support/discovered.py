"""A watch of discovery alone, with what it tells."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.clock import LoopClock
from sidecar.discovery.watching import Discoveries
from sidecar.record.recorder import Recorder
from sidecar.runtime import Runtime
from sidecar.settings.load import load_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sidecar.settings.snapshot import Snapshot
    from sidecar.upstream.finding import Finding
    from sidecar.upstream.pool import Pool


class Discovered:
    """One upstream whose endpoints somebody else knows.

    Attributes:
        watches: Who asks.
        snapshot: What they go by.
    """

    def __init__(
        self, runtime: Runtime, watches: Discoveries, snapshot: Snapshot
    ) -> None:
        self.watches = watches
        self.snapshot = snapshot
        self._upstream = runtime.upstreams["app"]

    @property
    def pool(self) -> Pool:
        return self._upstream.pool

    @property
    def finding(self) -> Finding:
        assert self._upstream.finding is not None
        return self._upstream.finding

    @property
    def names(self) -> list[str]:
        """Addresses in use, sorted."""
        return sorted(endpoint.name for endpoint in self.pool.endpoints)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait, a turn of the loop at a time; the test's own limit ends it."""
        while not is_so():
            await asyncio.sleep(0.001)

    async def until_names(self, *names: str) -> None:
        await self.until(lambda: self.names == sorted(names))


@asynccontextmanager
async def discovered(
    upstream: dict[str, Any], top: dict[str, Any]
) -> AsyncIterator[Discovered]:
    """Watch by these settings, without a proxy before it."""
    settings = {
        "upstreams": {"app": {"discovery": upstream}},
        "routes": [{"name": "all", "upstream": "app"}],
        "discovery": top,
    }
    snapshot = load_text(yaml.safe_dump(settings)).snapshot
    clock = LoopClock(asyncio.get_running_loop())
    recorder = Recorder(snapshot, clock, StringIO())
    runtime = Runtime(snapshot, clock, Random(1), recorder)
    watches = Discoveries(runtime, clock, Random(1))
    try:
        await watches.prepare(snapshot)
        yield Discovered(runtime, watches, snapshot)
    finally:
        await watches.close()
