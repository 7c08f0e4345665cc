"""The admin API: what the sidecar is, does and met, as JSON.

    GET  /                      what there is; for browsers the page
    GET  /page                  the page, whoever asks
    GET  /config                the settings in force, secrets masked
    GET  /routes /upstreams /breakers
    POST /breakers/NAME         {"state": "open", "for_s": 60}: hold it by hand
                                {"state": "auto"}: let it go
    POST /upstreams/NAME/endpoints/HOST:PORT
                                {"state": "ejected", "for_s": 60}: ask it for nothing
                                {"state": "auto"}: let it go
    GET  /application           its check: state, last checks, recovery hook
    GET  /faults                the last failures: see `fault_query.py`
    GET  /faults/ID             one of them
    GET  /faults/stream         failures and events as they happen
    GET  /fault-groups          failures that are alike, as one; /fault-groups/ID
    GET  /events                breakers, reloads, drains
    GET  /traffic               rates of the last minute; /traffic/history
    GET  /alerts                what fires, who was told, what is silenced
    POST /alerts/silences       {"codes": ["316-CONN-REFUSED"], "for_s": 3600}
    GET  /openapi.json          this API, for machines
    GET  /log-level             and POST: debug, info, warning or error
    POST /reload                read the file again; 422 if it is rejected
    POST /quit                  drain, and end: what a Job does when it is done

PUT does what POST does, and DELETE what "auto" does. What GET and
HEAD ask for changes nothing; `guard.py` and `access.py` say who may do the rest.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

import sidecar
from sidecar.admin import page
from sidecar.admin.alert_routes import AlertRoutes
from sidecar.admin.endpoints import EndpointRoutes, standing
from sidecar.admin.fault_routes import FaultRoutes, explained
from sidecar.admin.guard import guarded, harden, refusal
from sidecar.admin.holds import AUTO, read_hold, text_of
from sidecar.admin.masking import masked
from sidecar.admin.openapi import told
from sidecar.admin.schemas import ref
from sidecar.admin.traffic_routes import TrafficRoutes
from sidecar.descriptors import most_clients
from sidecar.policy.breaker import State
from sidecar.record.sources import (
    breaker_word,
    breakers_of,
    in_flight_of,
    total_of,
    worst_breaker,
)
from sidecar.reloading import REJECTED

if TYPE_CHECKING:
    from sidecar.admin.access import Access
    from sidecar.admin.context import AdminContext
    from sidecar.record.feed.fault_book import FaultBook
    from sidecar.record.sources import RouteState, UpstreamState

_log = logging.getLogger(__name__)

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_HOLDS = {"open": State.OPEN, "closed": State.CLOSED, AUTO: None}


def admin_application(
    context: AdminContext, access: Access, max_body_bytes: int
) -> web.Application:
    """Return the admin server."""
    api, faults = _Api(context), FaultRoutes(context)
    endpoints, traffic = EndpointRoutes(context), TrafficRoutes(context)
    alerts = AlertRoutes(context)
    application = web.Application(
        middlewares=[guarded(access), explained], client_max_size=max_body_bytes
    )
    application.on_response_prepare.append(harden)
    router = application.router
    router.add_get("/", api.index)
    router.add_get("/page", page.page)
    router.add_get("/page/licences.txt", page.licences)
    router.add_get("/config", api.config)
    router.add_get("/routes", api.routes)
    router.add_get("/upstreams", api.upstreams)
    endpoint = "/upstreams/{name}/endpoints/{address}"
    router.add_post(endpoint, endpoints.hold_endpoint)
    router.add_put(endpoint, endpoints.hold_endpoint)
    router.add_delete(endpoint, endpoints.release_endpoint)
    router.add_get("/breakers", api.breakers)
    router.add_post("/breakers/{name}", api.hold_breaker)
    router.add_put("/breakers/{name}", api.hold_breaker)
    router.add_delete("/breakers/{name}", api.release_breaker)
    router.add_get("/application", api.application)
    router.add_get("/faults", faults.faults)
    router.add_get("/faults/stream", faults.stream, allow_head=False)
    router.add_get("/faults/{id}", faults.fault)
    router.add_get("/fault-groups", faults.groups)
    router.add_get("/fault-groups/{id}", faults.group)
    router.add_get("/events", faults.events)
    router.add_get("/traffic", traffic.traffic)
    router.add_get("/traffic/history", traffic.history)
    router.add_get("/alerts", alerts.alerts)
    router.add_post("/alerts/silences", alerts.silence)
    router.add_delete("/alerts/silences/{id}", alerts.unsilence)
    router.add_get("/openapi.json", faults.openapi)
    router.add_get("/log-level", api.log_level)
    router.add_post("/log-level", api.set_log_level)
    router.add_put("/log-level", api.set_log_level)
    router.add_post("/reload", api.reload)
    router.add_post("/quit", api.quit)
    return application


class _Api:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context

    @told(kinds=("application/json", "text/html"), errors=(503,))
    async def index(self, request: web.Request) -> web.Response:
        """Show what there is."""
        if page.prefers_html(request):
            return page.shown(request)
        snapshot = self._context.snapshot
        return _json(
            {
                "service": snapshot.service,
                "host": socket.gethostname(),
                "version": sidecar.__version__,
                "config_version": snapshot.version,
                "ready": not self._context.not_ready_reason,
                "not_ready_reason": self._context.not_ready_reason,
                "trace_url": snapshot.trace_url,
                "fault_store": _store(self._context.recorder.book),
                "paths": sorted({r.canonical for r in request.app.router.resources()}),
            }
        )

    @told()
    async def config(self, _: web.Request) -> web.Response:
        """Show the settings in force, secrets masked."""
        snapshot = self._context.snapshot
        settings = self._context.settings.model_dump(mode="json")
        return _json(
            {
                "version": snapshot.version,
                "source": snapshot.source,
                "settings": masked(settings),
                "in_force": {  # What memory and open files leave of it.
                    "connections": most_clients(snapshot),
                    "in_flight": snapshot.overload.in_flight,
                },
            }
        )

    @told()
    async def routes(self, _: web.Request) -> web.Response:
        """List the routes."""
        now_s = self._context.clock.now_s()
        return _json([_route(state, now_s) for state in self._context.runtime.routes])

    @told()
    async def upstreams(self, _: web.Request) -> web.Response:
        """List the upstreams: endpoints, pools, budgets."""
        now_s = self._context.clock.now_s()
        upstreams = self._context.runtime.upstreams
        return _json([_upstream(n, u, now_s) for n, u in upstreams.items()])

    @told()
    async def breakers(self, _: web.Request) -> web.Response:
        """List the breakers."""
        now_s = self._context.clock.now_s()
        states = self._context.runtime.routes
        return _json([_breaker(s, now_s) for s in states if s.breaker is not None])

    @told(returns="Application")
    async def application(self, _: web.Request) -> web.Response:
        """Show how the application is, by its check."""
        now_s = self._context.clock.now_s()
        return _json(self._context.recorder.application.as_record(now_s))

    @told(body=ref("Hold"), errors=(400,))
    async def hold_breaker(self, request: web.Request) -> web.Response:
        """Hold a breaker open or closed by hand, or let it go."""
        state = self._route_with_breaker(request.match_info["name"])
        if state is None or state.breaker is None:
            return _no_breaker(request)
        hold = await read_hold(request, _HOLDS)
        if isinstance(hold, str):
            return refusal(400, hold)
        now_s = self._context.clock.now_s()
        for breaker in breakers_of(state):
            breaker.force(_HOLDS[hold[0]], now_s + hold[1])
        _log.info("admin: breaker of %s: %s", state.route.name, state.breaker.cause)
        return _json(_breaker(state, now_s))

    @told()
    async def release_breaker(self, request: web.Request) -> web.Response:
        """Let a breaker go."""
        state = self._route_with_breaker(request.match_info["name"])
        if state is None or state.breaker is None:
            return _no_breaker(request)
        for breaker in breakers_of(state):
            breaker.force(None)
        _log.info("admin: breaker of %s is let go", state.route.name)
        return _json(_breaker(state, self._context.clock.now_s()))

    @told(returns="LogLevel")
    async def log_level(self, _: web.Request) -> web.Response:
        """Show the level of the log."""
        return _json({"level": _level_name()})

    @told(returns="LogLevel", body=ref("LogLevel"), errors=(400,))
    async def set_log_level(self, request: web.Request) -> web.Response:
        """Log from this level on."""
        level = _wanted_level(await text_of(request))
        if level not in _LEVELS:
            return refusal(400, f"{level!r} is none of {', '.join(_LEVELS)}")
        logging.getLogger("sidecar").setLevel(_LEVELS[level])
        _log.warning("admin: the level of the log is %s now", level)
        return _json({"level": level})

    @told(errors=(422,))
    async def reload(self, _: web.Request) -> web.Response:
        """Read the configuration again; what is wrong with it is told with 422."""
        done = await self._context.reloader.reload("POST /reload")
        return _json(asdict(done), 422 if done.result == REJECTED else 200)

    @told(status=202)
    async def quit(self, _: web.Request) -> web.Response:
        """Drain, and end."""
        self._context.ask_to_drain("POST /quit")
        return _json({"draining": True}, 202)

    def _route_with_breaker(self, name: str) -> RouteState | None:
        for state in self._context.runtime.routes:
            if state.route.name == name and state.breaker is not None:
                return state
        return None


def _store(book: FaultBook) -> dict[str, str]:
    """Return how it is with the store: "off", "on", or what keeps it from being."""
    if book.store is None and not book.store_problem:
        return {"state": "off"}
    if book.store is None:
        return {"state": "failed", "problem": book.store_problem}
    return {"state": "on", "problem": book.store.problem}


def _no_breaker(request: web.Request) -> web.Response:
    return refusal(404, f"no route {request.match_info['name']!r} with a breaker")


def _wanted_level(text: str) -> str:
    """Return the level in a body: the bare word, or JSON with the key `level`."""
    word = text.strip()
    try:
        value = json.loads(word)
    except ValueError:
        return word.lower()
    if isinstance(value, dict):
        value = value.get("level", "")
    return str(value).lower()


def _level_name() -> str:
    level = logging.getLogger("sidecar").getEffectiveLevel()
    return logging.getLevelName(level).lower()


def _route(state: RouteState, now_s: float) -> dict[str, Any]:
    route = state.route
    return {
        "name": route.name,
        "listener": route.listener,
        "hosts": route.hosts,
        "matches": [f"{m.path.kind} {m.path.value}" for m in route.matches],
        "upstream": route.upstream,
        "in_flight": in_flight_of(state),
        "breaker": breaker_word(state, now_s),
    }


def _upstream(name: str, upstream: UpstreamState, now_s: float) -> dict[str, Any]:
    settings = upstream.settings
    return {
        "name": name,
        "in_flight": total_of(upstream, lambda each: each.requests.count),
        "max_requests": settings.max_requests,
        "pending": total_of(upstream, lambda each: each.pool.pending),
        "max_pending": settings.max_pending,
        "max_connections": settings.max_connections,
        "retry_budget_left": round(upstream.budget.balance(now_s), 2),
        "retries_in_flight": upstream.budget.retries_in_flight,
        "requests_in_budget": upstream.budget.requests_in_flight,
        "endpoints": [
            {
                "address": e.name,
                "idle": len(e.idle),
                "busy": e.busy,
                **standing(e.health, now_s),
            }
            for each in (upstream, *upstream.parts)
            for e in each.pool.endpoints
        ],
        "leaving": upstream.pool.leaving,
        "discovery": _discovery(upstream, now_s),
    }


def _discovery(upstream: UpstreamState, now_s: float) -> dict[str, Any] | None:
    """Return how endpoints are found that are not written down."""
    finding = upstream.finding
    if finding is None:
        return None
    answered_s = finding.answered_s
    return {
        "source": str(upstream.settings.discovery),
        "unused": finding.unused,
        "age_s": None if answered_s is None else round(now_s - answered_s, 3),
        "failure": finding.failure,
        "updates": finding.counts,
    }


def _breaker(state: RouteState, now_s: float) -> dict[str, Any]:
    breaker = worst_breaker(state, now_s)
    assert breaker is not None  # noqa: S101 - for the type checker
    return {
        "route": state.route.name,
        "upstream": state.route.upstream,
        "state": breaker.state_at(now_s).value,
        "cause": breaker.cause,
        "retry_after_s": round(breaker.retry_after_s(now_s), 3),
        "probes": breaker.probes_in_flight,
        "detail": repr(breaker),
    }


def _json(value: Any, status: int = 200) -> web.Response:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n"
    return web.json_response(text=text, status=status)
