"""Endpoints of upstreams: how they stand, and ejected by hand."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sidecar.admin.guard import refusal
from sidecar.admin.holds import AUTO, read_hold
from sidecar.admin.openapi import told
from sidecar.admin.schemas import ref

if TYPE_CHECKING:
    from sidecar.admin.context import AdminContext
    from sidecar.policy.outlier import Health, OutlierDetector

_log = logging.getLogger(__name__)

_HOLDS = ("ejected", AUTO)


class EndpointRoutes:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    @told(body=ref("EndpointHold"), errors=(400, 409))
    async def hold_endpoint(self, request: web.Request) -> web.Response:
        """Ask an endpoint for nothing for a while, or let it go."""
        found = self._ejectable(request)
        if isinstance(found, web.Response):
            return found
        hold = await read_hold(request, _HOLDS)
        if isinstance(hold, str):
            return refusal(400, hold)
        outlier, health = found
        now_s = self._context.clock.now_s()
        if hold[0] == AUTO:
            outlier.release(health)
        else:
            outlier.hold(health, now_s, now_s + hold[1])
        return self._shown(health)

    @told(errors=(409,))
    async def release_endpoint(self, request: web.Request) -> web.Response:
        """Let an endpoint go."""
        found = self._ejectable(request)
        if isinstance(found, web.Response):
            return found
        outlier, health = found
        outlier.release(health)
        return self._shown(health)

    def _shown(self, health: Health) -> web.Response:
        _log.info("admin: endpoint %s: %s", health.name, health.cause)
        now_s = self._context.clock.now_s()
        shown = {"address": health.name, **standing(health, now_s)}
        text = json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
        return web.json_response(text=text)

    def _ejectable(
        self, request: web.Request
    ) -> tuple[OutlierDetector, Health] | web.Response:
        """Return an endpoint that can be ejected, or why there is none."""
        name, address = request.match_info["name"], request.match_info["address"]
        upstream = self._context.runtime.upstreams.get(name)
        healths = [] if upstream is None else upstream.healths
        health = next((each for each in healths if each.name == address), None)
        if upstream is None or health is None:
            return refusal(404, f"no endpoint {address!r} of an upstream {name!r}")
        if upstream.outlier is None:
            return refusal(409, f"upstream {name!r} has outlier: off")
        if len(healths) == 1:
            return refusal(409, f"{address} is the only endpoint: it is never ejected")
        return upstream.outlier, health


def standing(health: Health, now_s: float) -> dict[str, Any]:
    """Return how an endpoint stands."""
    return {
        "state": health.standing_at(now_s).value,
        "cause": health.cause,
        "left_s": round(health.left_s(now_s), 3),
        "failures_in_a_row": health.strikes,
        "times_ejected": health.times_ejected,
    }
