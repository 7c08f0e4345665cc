"""The fault feed over HTTP: records, groups, events; listed, exported, as they happen.

Pages of records go on from memory into the store, by one number that counts up.
"""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from sidecar.admin.door import DOOR
from sidecar.admin.fault_export import KINDS, csv_head, csv_line, json_line
from sidecar.admin.fault_query import (
    EVENT_QUERY,
    FAULT_QUERY,
    GROUP_QUERY,
    SHOWN,
    STREAM_QUERY,
    filter_of,
    since_of,
)
from sidecar.admin.fault_stream import FaultStream
from sidecar.admin.guard import refusal
from sidecar.admin.openapi import QueryError, checked, document, told
from sidecar.admin.repeat import repeated
from sidecar.record.feed.fault_feed import full_record_of, record_of
from sidecar.record.feed.fault_schema import StoreError
from sidecar.record.moments import iso_time

if TYPE_CHECKING:
    from sidecar.admin.context import AdminContext
    from sidecar.record.feed.fault_book import FaultBook
    from sidecar.record.feed.fault_filter import FaultFilter
    from sidecar.record.feed.group import Group

_LATEST: Final = 2**62
_BATCH: Final = 25  # Records made between two turns of the loop, some 0.5 ms.
_PAGE: Final = 100  # Of an export.

Numbered = tuple[int, dict[str, Any]]


class FaultRoutes:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    @property
    def _book(self) -> FaultBook:
        return self._context.recorder.book

    @told(
        returns="Fault", is_list=True, query=FAULT_QUERY, errors=(400, 503),
        kinds=tuple(KINDS.values()),
    )  # fmt: skip
    async def faults(self, request: web.Request) -> web.StreamResponse:
        """List failures, the newest first; a Link field leads to the next page."""
        query = checked(request.query, FAULT_QUERY)
        wanted = filter_of(query, self._context.clock.wall_ns())
        before = int(query.get("cursor", _LATEST))
        kind = query.get("format", "json")
        if kind != "json":
            most = int(query.get("limit", _LATEST))
            return await self._export(request, kind, wanted, before, most)
        page, next_before = await self._page(
            wanted, before, int(query.get("limit", SHOWN))
        )
        response = await listed([record for _, record in page])
        if next_before:
            url = request.rel_url.update_query(cursor=str(next_before))
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response

    @told(returns="Fault", errors=(503,))
    async def fault(self, request: web.Request) -> web.Response:
        """Show one failure, with the events before it and what the program is."""
        wanted = request.match_info["id"]
        failure = self._book.find(wanted)
        record = None if failure is None else full_record_of(failure)
        if record is None and self._book.store is not None:
            record = await self._book.store.find(wanted)
        if record is None:
            return refusal(404, f"no fault {wanted!r} is kept")
        return _json({**record, "repeat": self._repeated(record)})

    @told(query=STREAM_QUERY, kinds=("text/event-stream",), errors=(400, 503))
    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Tell failures and events as they happen, as server-sent events."""
        query = checked(request.query, STREAM_QUERY)
        wanted = filter_of(query, self._context.clock.wall_ns())
        hub = self._book.hub
        if hub.is_closed:
            return refusal(503, "the sidecar drains")
        listener = hub.join(wants_traffic=query.get("traffic") == "true")
        if listener is None:
            error = f"{len(hub.listeners)} listen already: there is no room for more"
            return refusal(503, error)
        return await FaultStream(self._book, listener, wanted, request).run()

    @told(returns="FaultGroup", is_list=True, query=GROUP_QUERY, errors=(400,))
    async def groups(self, request: web.Request) -> web.Response:
        """List failures that are alike as one, the latest seen first."""
        query = checked(request.query, GROUP_QUERY)
        wanted = filter_of(query, self._context.clock.wall_ns())
        now_s, state = self._context.clock.now_s(), query.get("state")
        found: list[dict[str, Any]] = []
        limit = int(query.get("limit", SHOWN))
        traffic = self._book.groups.traffic()
        for number, group in enumerate(list(self._book.groups)):
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            if len(found) == limit:
                break
            is_so = state in (None, group.state_at(now_s).value)
            if is_so and _is_wanted(group, wanted):
                shown = self._group(group, now_s, traffic)
                found += [shown] if wanted.has_text(shown) else []
        return await listed(found)

    @told(returns="FaultGroup")
    async def group(self, request: web.Request) -> web.Response:
        """Show one group, with the records of its examples."""
        wanted = request.match_info["id"]
        group = self._book.groups.find(wanted)
        if group is None:
            return refusal(404, f"no group {wanted!r} is kept")
        now_s, traffic = self._context.clock.now_s(), self._book.groups.traffic()
        shown = self._group(group, now_s, traffic)
        records = [record_of(failure) for failure in group.examples]
        return _json({**shown, "records": records})

    @told(returns="Event", is_list=True, query=EVENT_QUERY, errors=(400,))
    async def events(self, request: web.Request) -> web.Response:
        """List what happened beside failures: breakers, reloads, drains."""
        query = checked(request.query, EVENT_QUERY)
        limit = int(query.get("limit", SHOWN))
        found = self._book.events.newest(
            kind=query.get("kind", ""),
            upstream=query.get("upstream"),
            since_ns=since_of(query, self._context.clock.wall_ns()),
            before=int(query.get("cursor", 0)),
        )
        events = list(islice(found, limit + 1))
        response = await listed([event.as_record() for event in events[:limit]])
        if limit and len(events) > limit:
            url = request.rel_url.update_query(cursor=str(events[limit - 1].seq))
            response.headers["Link"] = f'<{url}>; rel="next"'
        return response

    @told()
    async def openapi(self, request: web.Request) -> web.Response:
        """Show this API as an OpenAPI document."""
        return _json(document(request.app))

    def _repeated(self, record: dict[str, Any]) -> str | None:
        states = self._context.runtime.routes
        name = record["route"]
        found = next((s.route for s in states if s.route.name == name), None)
        return repeated(record, self._context.addresses, found)

    async def _page(
        self, wanted: FaultFilter, before: int, limit: int
    ) -> tuple[list[Numbered], int]:
        """Return records with their numbers, and the number to go on from; 0: none."""
        if not limit:
            return [], 0
        oldest, found = before, []
        for number, failure in enumerate(list(self._book.feed)):
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            if failure.seq >= before:
                continue
            oldest = failure.seq
            if wanted.may_hold(failure):
                record = record_of(failure)
                if wanted.has_text(record):
                    found.append((failure.seq, record))
            if len(found) == limit:
                return found, oldest if self._has_older(oldest) else 0
        if self._book.store is None:
            return found, 0
        more, next_before = await self._book.store.page(
            wanted, oldest, limit - len(found)
        )
        return found + more, next_before

    def _has_older(self, seq: int) -> bool:
        if self._book.store is not None:
            return seq > 1
        return any(failure.seq < seq for failure in self._book.feed)

    async def _export(
        self,
        request: web.Request,
        kind: str,
        wanted: FaultFilter,
        before: int,
        most: int,
    ) -> web.StreamResponse:
        """Write page after page, as the reader takes them."""
        response = web.StreamResponse(headers={
            "Content-Type": KINDS[kind],
            "Content-Disposition": f'attachment; filename="faults.{kind}"',
        })  # fmt: skip
        line_of = csv_line if kind == "csv" else json_line
        page, before = await self._page(wanted, before, min(_PAGE, most))
        await response.prepare(request)
        if kind == "csv":
            await response.write(csv_head().encode())
        while page:
            most -= len(page)
            await response.write("".join(line_of(r) for _, r in page).encode())
            request.app[DOOR].asked(request.protocol)
            if not before or most <= 0:
                break
            page, before = await self._page(wanted, before, min(_PAGE, most))
        await response.write_eof()
        return response

    def _group(
        self, group: Group, now_s: float, traffic: dict[str, int]
    ) -> dict[str, Any]:
        key, spec, recovery_s = group.key, group.spec, group.recovery_s
        share_ratio = self._book.groups.share_of_traffic(group, now_s, traffic)
        return {
            "id": group.id,
            "code": key.code,
            "title": spec.title,
            "fix": spec.fix,
            "severity": group.severity.name,
            "layer": spec.layer.value,
            "route": key.route,
            "upstream": key.upstream,
            "endpoint": key.endpoint,
            "phase": key.phase,
            "cause": key.cause,
            "state": group.state_at(now_s).value,
            "first_seen": iso_time(group.first_ns),
            "last_seen": iso_time(group.last_ns),
            "count": group.count,
            "last_minute": group.last_minute(now_s),
            "rate_per_s": round(group.rate_per_s(now_s), 3),
            "trend": group.trend_at(now_s).value,
            "share_of_traffic": round(share_ratio, 4),
            "recovery_s": None if recovery_s is None else round(recovery_s, 3),
            "earlier_recoveries_s": [round(s, 3) for s in group.recoveries_s],
            "regressions": group.regressions,
            "examples": [failure.id for failure in group.examples],
        }


@web.middleware
async def explained(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer what a query asks wrongly, and what a store cannot tell."""
    try:
        response: web.StreamResponse = await handler(request)
    except QueryError as error:
        return refusal(400, str(error))
    except StoreError as error:
        return refusal(503, str(error))
    return response


def _is_wanted(group: Group, wanted: FaultFilter) -> bool:
    return (
        wanted.is_of(group.key.code, group.spec.layer.value)
        and wanted.severity in ("", group.severity.name)
        and wanted.route in (None, group.key.route)
        and wanted.upstream in (None, group.key.upstream)
        and group.last_ns >= wanted.since_ns
    )


async def listed(values: list[dict[str, Any]]) -> web.Response:
    """Return a JSON array, encoded a few at a time for the traffic to pass."""
    pieces = []
    for start in range(0, len(values), _BATCH):
        text = json.dumps(
            values[start : start + _BATCH], indent=2, ensure_ascii=False, default=str
        )
        pieces.append(text[1:-2])  # Without the brackets of the batch.
        await asyncio.sleep(0)
    return web.json_response(text=f"[{','.join(pieces)}\n]\n" if pieces else "[]\n")


def _json(value: Any) -> web.Response:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
    return web.json_response(text=text)
