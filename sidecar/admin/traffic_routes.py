"""Traffic over HTTP: rates of the last minute, and the intervals before it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from sidecar.admin.fault_query import TRAFFIC_QUERY
from sidecar.admin.fault_routes import listed
from sidecar.admin.openapi import checked, told
from sidecar.record.moments import iso_time
from sidecar.record.traffic import INTERVAL_S, KEPT, columns, rates, standing

if TYPE_CHECKING:
    from sidecar.admin.context import AdminContext
    from sidecar.record.sources import RouteState
    from sidecar.record.traffic import Traffic

_BATCH: Final = 25  # Routes between two turns of the loop, below a millisecond.


class TrafficRoutes:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    @property
    def _traffic(self) -> Traffic:
        return self._context.recorder.traffic

    @told(returns="Traffic", is_list=True)
    async def traffic(self, _: web.Request) -> web.Response:
        """List the routes with their traffic of the last minute, as configured."""
        found = []
        for number, state in enumerate(list(self._context.runtime.routes)):
            if number % _BATCH == _BATCH - 1:
                await asyncio.sleep(0)
            found.append(self._row(state))
        return await listed(found)

    @told(returns="TrafficHistory", query=TRAFFIC_QUERY, errors=(400,))
    async def history(self, request: web.Request) -> web.Response:
        """Show the last five minutes: all traffic, and that of the routes asked for."""
        checked(request.query, TRAFFIC_QUERY)
        traffic = self._traffic
        last = traffic.interval
        first = max(1, last - KEPT + 1)
        end_ns = traffic.end_ns or self._context.clock.wall_ns()
        told_ = {
            "interval_s": INTERVAL_S,
            "end": iso_time(end_ns),
            "total": columns(traffic.total, first, last),
        }
        pieces = []
        for route in self._known(request.query.getall("route", [])):
            of_route = columns(traffic.trails.get(route), first, last)
            pieces.append(json.dumps({"route": route, **of_route}))
            await asyncio.sleep(0)  # One may take a millisecond.
        text = f'{json.dumps(told_)[:-1]}, "routes": [{", ".join(pieces)}]}}\n'
        return web.json_response(text=text)

    def _row(self, state: RouteState) -> dict[str, Any]:
        route, traffic = state.route, self._traffic
        counts = traffic.of_minute(traffic.trails.get(route.name))
        return {
            "route": route.name,
            "listener": route.listener,
            "upstream": route.upstream,
            **standing(state, self._context.clock.now_s()),
            **rates(counts, traffic.minute_s),
        }

    def _known(self, wanted: list[str]) -> list[str]:
        """Return those that are configured, or had traffic, each once."""
        configured = {state.route.name for state in self._context.runtime.routes}
        known = configured | self._traffic.trails.keys()
        return [route for route in dict.fromkeys(wanted) if route in known]
