"""Faults as they happen, each once and none left out, over breaks of the connection.

    stream opened --> what there is already, but for what was told
                  --> what comes, but for what was told
    lost          --> told, and tried again with backoff; then from Last-Event-ID on

Both are asked for each time: the sidecar may be another one by then, which counts anew.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sidecar.policy.backoff import Backoff
from sidecar.terminal.client import UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping
    from random import Random

    from sidecar.terminal.client import AdminClient
    from sidecar.terminal.sse import ServerEvent

BACKOFF: Final = Backoff(base_s=0.5, max_s=10.0)
RECENT: Final = 10  # Shown first, unless it is said since when.
ALL: Final = 1000  # What the sidecar has in memory.
_REMEMBERED: Final = 4 * ALL
# Records are kept up to a second after their time; clocks of threads differ a little.
_OVERLAP: Final = timedelta(seconds=5)

Record = dict[str, Any]


class Told:
    """What was told already.

    Attributes:
        last_id: Of the stream; empty: none came.
        since: Where to go on from, as the API takes it; empty: from anywhere.
    """

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}  # Those of faults, the oldest first.
        self._latest: datetime | None = None
        self.last_id = ""

    @property
    def since(self) -> str:
        """Return where to go on from, with some overlap; empty: nothing was told."""
        return "" if self._latest is None else (self._latest - _OVERLAP).isoformat()

    def is_new(self, record: Record) -> bool:
        """Remember a record; return whether it was not told before."""
        fault_id = record["fault_id"]
        if fault_id in self._ids:
            return False
        self._ids[fault_id] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]
        moment = datetime.fromisoformat(record["time"])
        self._latest = max(moment, self._latest or moment)
        return True


class Follower:
    """Follows the faults of one sidecar.

    Args:
        client: Asks it.
        query: Which faults, as the API takes it.
        since: Those from then on come first; empty: the last few.
        tell: Is handed each record.
        note: Is handed what there is to know beside them.
        rng: Source of the jitter of waits.
        most: So many of those that are there already are told.
    """

    def __init__(
        self,
        client: AdminClient,
        query: Mapping[str, str],
        since: str,
        *,
        tell: Callable[[Record], object],
        note: Callable[[str], object],
        rng: Random,
        most: int = ALL,
    ) -> None:
        self._client = client
        self._query = query
        self._since = since
        self._tell = tell
        self._note = note
        self._rng = rng
        self._most = most
        self._told = Told()
        self._is_joined = False  # It once was.
        self._losses = 0  # Since it last was.

    async def run(self) -> None:
        """Follow until cancelled.

        Raises:
            AdminError: It cannot be done; a sidecar that was there is waited for.
        """
        while True:
            try:
                await self._follow()
            except UnreachableError as error:
                if not self._is_joined:
                    raise
                lost = str(error)
            self._losses += 1
            wait_s = BACKOFF.delay_s(self._losses, self._rng)
            self._note(f"{lost}; trying again in {wait_s:.1f} s")
            await asyncio.sleep(wait_s)

    async def _follow(self) -> None:
        """Tell what there is, and what comes.

        Raises:
            UnreachableError: Nothing comes any more.
        """
        last_id = self._told.last_id
        async with self._client.stream(
            "/faults/stream", self._query, last_id
        ) as events:
            asked = self._before()
            records = await self._client.get("/faults", asked)
            if self._losses:
                self._note(f"{self._client.place} is back")
            if "since" in asked and len(records) == self._most:
                self._note(
                    f"there may be more than these {self._most:,}: all that are kept"
                    f" are at /faults?format=jsonl&since={asked['since']}"
                )
            self._is_joined, self._losses = True, 0
            for record in reversed(records):
                self._offer(record)
            await self._take(events)
        msg = f"{self._client.place} has ended the stream"
        raise UnreachableError(msg)

    async def _take(self, events: AsyncIterable[ServerEvent]) -> None:
        async for event in events:
            if event.name == "fault":
                self._told.last_id = event.id
                self._offer(json.loads(event.data))
            elif event.name == "skipped":
                self._note(f"{event.data} were skipped: they came faster than we read")
            elif event.name == "end":
                self._note(f"{self._client.place} drains")

    def _before(self) -> dict[str, str]:
        """Return how to ask for what there is already."""
        since = self._told.since or self._since
        limit = self._most if since or self._is_joined else RECENT
        asked = {**self._query, "limit": str(limit)}
        return {**asked, "since": since} if since else asked

    def _offer(self, record: Record) -> None:
        if self._told.is_new(record):
            self._tell(record)
