"""Faults, events and traffic as they happen: server-sent events.

    id: 17                  event: fault    data: the record
                            event: event    data: a breaker moved, a reload, ...
                            event: traffic  data: an interval's, if it is asked for
                            event: skipped  data: how many this reader was too slow for
                            event: end      the sidecar drains

After a break, `Last-Event-ID` goes on where it was, as long as memory has it. A reader
that takes nothing for as long as the door has patience is cut.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import web

from sidecar.admin.door import DOOR
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.fault_feed import record_of
from sidecar.record.traffic import Tick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.record.feed.fault_book import FaultBook
    from sidecar.record.feed.fault_filter import FaultFilter
    from sidecar.record.feed.fault_hub import Item, Listener

BEAT_S: Final = 10.0  # Proxies and the door take silence for an end.
_BATCH: Final = 25  # Records made between two turns of the loop, some 0.5 ms.
_MAX_SEQ_DIGITS: Final = 16


class FaultStream:
    """One reader's stream.

    Args:
        book: What is told.
        listener: Just joined to its hub.
        wanted: Which faults; events are told in any case.
        request: Of the reader.
    """

    def __init__(
        self,
        book: FaultBook,
        listener: Listener,
        wanted: FaultFilter,
        request: web.Request,
    ) -> None:
        self._hub = book.hub
        self._listener = listener
        self._wanted = wanted
        self._request = request
        last_id = _last_id(request)
        # Now: what comes later is with the listener already.
        self._missed = book.feed.after(last_id) if last_id else []
        self._response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )

    async def run(self) -> web.StreamResponse:
        """Write until the reader leaves, or the sidecar drains."""
        try:
            await self._response.prepare(self._request)
            await self._write("retry: 2000\n\n")
            await self._tell(self._missed)
            await self._follow()
        except ConnectionError:
            pass  # It left.
        finally:
            self._hub.leave(self._listener)
        return self._response

    async def _follow(self) -> None:
        while True:
            items, skipped = await self._listener.take(BEAT_S)
            has_told = await self._tell(items)
            if skipped:
                await self._write(f"event: skipped\ndata: {skipped}\n\n")
            if self._listener.is_over:
                await self._write("event: end\ndata: draining\n\n")
                return
            if not has_told and not skipped:  # What came may be what it does not want.
                await self._write(": still here\n\n")

    async def _tell(self, items: Sequence[Item]) -> bool:
        """Write what is wanted; return whether there was any."""
        has_told = False
        for tick in (item for item in items if isinstance(item, Tick)):
            for _ in iter(tick.encode_some, True):
                await asyncio.sleep(0)
        for start in range(0, len(items), _BATCH):
            text = "".join(map(self._text_of, items[start : start + _BATCH]))
            if text:
                has_told = True
                await self._write(text)
            await asyncio.sleep(0)  # A write that need not wait does not.
        return has_told

    async def _write(self, text: str) -> None:
        await self._response.write(text.encode())  # Waits for a reader that is slow.
        self._request.app[DOOR].asked(self._request.protocol)

    def _text_of(self, item: Item) -> str:
        if isinstance(item, Tick):
            return f"event: traffic\ndata: {item.as_json()}\n\n"
        if not isinstance(item, Failure):
            data = json.dumps(item.as_record(), default=str)
            return f"event: event\ndata: {data}\n\n"
        if not self._wanted.may_hold(item):
            return ""
        record = record_of(item)
        if not self._wanted.has_text(record):
            return ""
        data = json.dumps(record, default=str)  # ASCII: no line break gets through.
        return f"id: {item.seq}\nevent: fault\ndata: {data}\n\n"


def _last_id(request: web.Request) -> int:
    """Return the last that a reader has had, if it says so."""
    text = request.headers.get("Last-Event-ID", "")
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_SEQ_DIGITS
    return int(text) if is_number else 0
