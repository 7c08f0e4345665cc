"""Failures, events and traffic for those who listen while they happen.

    publish --> deque of each listener (bounded) --> its own coroutine: encode, write

Nobody waits for a listener: when its queue is full, items are skipped for it, and it
is told how many. What waits is references, not text. The number of listeners is
bounded, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from sidecar.record.feed.events import Event
    from sidecar.record.feed.failure import Failure
    from sidecar.record.traffic import Tick

    Item: TypeAlias = Failure | Event | Tick

MAX_LISTENERS: Final = 8
MAX_WAITING: Final = 500


class Listener:
    """One who listens.

    Attributes:
        wants_traffic: Beside failures and events.
        is_over: Nothing will come any more.
    """

    def __init__(self, hub: FaultHub, *, wants_traffic: bool) -> None:
        self._hub = hub
        self._waiting: deque[Item] = deque()
        self._skipped = 0
        self._is_told = asyncio.Event()
        self.wants_traffic = wants_traffic
        self.is_over = False

    def put(self, item: Item) -> None:
        """Hand an item over, if there is room."""
        if len(self._waiting) >= MAX_WAITING:
            self._skipped += 1
            self._hub.skipped += 1
        else:
            self._waiting.append(item)
        self._is_told.set()

    def end(self) -> None:
        """Wake it for the last time."""
        self.is_over = True
        self._is_told.set()

    async def take(self, timeout_s: float) -> tuple[list[Item], int]:
        """Return what came, and how many were skipped; nothing after `timeout_s`."""
        if not self._waiting and not self.is_over:
            self._is_told.clear()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._is_told.wait()
            except TimeoutError:
                pass
        items, skipped = list(self._waiting), self._skipped
        self._waiting.clear()
        self._skipped = 0
        return items, skipped


class FaultHub:
    """Who listens.

    Attributes:
        listeners: All of them; while it is empty, nothing need be published.
        skipped: How many items a listener was too slow for.
    """

    def __init__(self, most: int = MAX_LISTENERS) -> None:
        self._most = most
        self.listeners: set[Listener] = set()
        self.skipped = 0
        self.is_closed = False

    @property
    def wants_traffic(self) -> bool:
        """Tell whether traffic need be published."""
        return any(listener.wants_traffic for listener in self.listeners)

    def join(self, *, wants_traffic: bool = False) -> Listener | None:
        """Listen from now on; None: there are enough, or it is over."""
        if self.is_closed or len(self.listeners) >= self._most:
            return None
        listener = Listener(self, wants_traffic=wants_traffic)
        self.listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more."""
        self.listeners.discard(listener)

    def publish(self, item: Item) -> None:
        """Tell all who listen."""
        for listener in self.listeners:
            listener.put(item)

    def publish_traffic(self, tick: Tick) -> None:
        """Tell those who asked for it: to others it would be an empty message."""
        for listener in self.listeners:
            if listener.wants_traffic:
                listener.put(tick)

    def close(self) -> None:
        """Let all who listen end, and nobody begin."""
        self.is_closed = True
        for listener in self.listeners:
            listener.end()
