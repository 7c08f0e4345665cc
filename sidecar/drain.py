"""How the traffic of a sidecar ends, in the order in which a pod does.

    inbound    lead    still accepting, while others take this pod off their lists
               then    each response says `Connection: close`, and what comes all
                       the same gets 316-DRAINING
               until   nothing is under way but tunnels, or grace is nearly over
    outbound   open     all the while, and until the application is gone: its last
                       requests go out, too

Whatever is left then is cut by whoever runs this. The application is gone when
nobody listens on its port any more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sidecar.application import application_addresses, is_listening

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.accept.listener import Acceptor
    from sidecar.runtime import Runtime
    from sidecar.settings.snapshot import Address

_log = logging.getLogger(__name__)

END_S = 3.0  # Of the grace: to cut what is left, and to write what there is to tell.
_LOOK_S = 0.05
_PROBE_EVERY_S = 1.0


class Drain:
    """Lets the traffic end by itself. `run` it once; cancel it to hurry."""

    def __init__(self, runtime: Runtime, acceptors: Iterable[Acceptor]) -> None:
        self._runtime = runtime
        self._clock = runtime.clock
        acceptors = list(acceptors)
        self._inbound = [a for a in acceptors if a.name == "inbound"]
        self._outbound = [a for a in acceptors if a.name == "outbound"]
        self._due_s = 0.0

    async def run(self) -> None:
        """Return when all has ended, or the time for it has."""
        snapshot = self._runtime.snapshot
        grace_s = snapshot.drain_grace_s
        # Of a very short grace, half is for the requests all the same.
        self._due_s = self._clock.now_s() + grace_s - min(END_S, grace_s / 2)
        await asyncio.sleep(min(snapshot.drain_lead_s, self._left_s()))
        self._runtime.is_draining = True
        await self._end(self._inbound)
        if self._outbound:
            reached = self._runtime.destinations.reached("inbound")
            await self._outlive(application_addresses(snapshot) | reached)
            await self._end(self._outbound)

    async def _end(self, acceptors: list[Acceptor]) -> None:
        """Take nothing new, and wait for what is under way."""
        while True:
            for acceptor in acceptors:
                acceptor.drain()  # Again and again: it still takes new ones.
            # First: who waits to be accepted is to be told, too.
            await asyncio.sleep(min(_LOOK_S, self._left_s()))
            if not any(acceptor.is_busy for acceptor in acceptors):
                return
            if self._left_s() <= 0:
                _log.warning("out of grace: cutting what is still under way")
                return

    async def _outlive(self, addresses: frozenset[Address]) -> None:
        """Wait for the application to be gone."""
        while self._left_s() > 0 and await self._is_there(addresses):  # noqa: ASYNC110 - no event tells of another process
            await asyncio.sleep(min(_PROBE_EVERY_S, self._left_s()))

    async def _is_there(self, addresses: frozenset[Address]) -> bool:
        """Tell whether the application runs: by its port, else by what it holds."""
        if not addresses:
            return any(acceptor.connections for acceptor in self._outbound)
        answers = await asyncio.gather(*map(is_listening, addresses))
        return any(answers)

    def _left_s(self) -> float:
        return max(0.0, self._due_s - self._clock.now_s())
