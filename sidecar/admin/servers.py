"""Health and metrics for all, the admin API for this host alone (aiohttp)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sidecar.accept.listener import ListenError
from sidecar.record.collector import SidecarCollector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sidecar.app import App

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LOCAL_HOSTS = frozenset(("127.0.0.1", "localhost", "[::1]", "::1"))


class Servers:
    """Both servers of one `App`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._registry = CollectorRegistry()
        self._registry.register(SidecarCollector(app.runtime))
        self._runners: list[web.AppRunner] = []
        self.health_address = ("", 0)
        self.admin_address = ("", 0)

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenError: An address is taken, or not ours.
        """
        snapshot = self._app.snapshot
        self.health_address = await self._listen(
            "health", snapshot.health, self._health()
        )
        self.admin_address = await self._listen("admin", snapshot.admin, self._admin())

    async def close(self) -> None:
        """Stop."""
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(
        self, what: str, address: tuple[str, int], application: web.Application
    ) -> tuple[str, int]:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        host, port = address
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            reason = error.strerror or str(error)
            raise ListenError(what, f"{host}:{port}", reason) from None
        bound = runner.addresses[0]
        return str(bound[0]), int(bound[1])

    def _health(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/healthz/ready", self._ready)
        application.router.add_get("/healthz/live", self._live)
        application.router.add_get("/metrics", self._metrics)
        return application

    def _admin(self) -> web.Application:
        application = web.Application(middlewares=[_only_local_names])
        add = application.router.add_get
        add("/", self._index)
        add("/config", self._config)
        add("/routes", self._routes)
        add("/upstreams", self._upstreams)
        add("/breakers", self._breakers)
        add("/faults", self._faults)
        add("/faults/{id}", self._fault)
        add("/log-level", self._log_level)
        application.router.add_put("/log-level", self._set_log_level)
        return application

    async def _ready(self, _: web.Request) -> web.Response:
        reason = self._app.not_ready_reason
        if reason:
            return web.Response(status=503, text=f"not ready: {reason}\n")
        return web.Response(text="ready\n")

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        body = encoder(self._registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _index(self, request: web.Request) -> web.Response:
        paths = sorted({r.canonical for r in request.app.router.resources()})
        return web.json_response(
            {"service": self._app.snapshot.service, "paths": paths}
        )

    async def _config(self, _: web.Request) -> web.Response:
        settings = self._app.settings.model_dump(mode="json")
        for upstream in settings["upstreams"].values():
            if upstream["tls"] and upstream["tls"]["key_file"]:
                upstream["tls"]["key_file"] = "(hidden)"
        version = self._app.snapshot.version
        return web.json_response(
            {"version": version, "settings": settings}, dumps=_json
        )

    async def _routes(self, _: web.Request) -> web.Response:
        rows = [
            {
                "name": state.route.name,
                "listener": state.route.listener,
                "hosts": state.route.hosts,
                "upstream": state.route.upstream,
                "in_flight": state.in_flight,
                "breaker": state.breaker.state.value if state.breaker else "off",
            }
            for state in self._app.runtime.routes
        ]
        return web.json_response(rows)

    async def _upstreams(self, _: web.Request) -> web.Response:
        now_s = self._app.runtime.clock.now_s()
        rows = [
            {
                "name": name,
                "in_flight": upstream.requests.count,
                "pending": upstream.pool.pending,
                "retry_budget_left": round(upstream.budget.balance(now_s), 2),
                "endpoints": [
                    {"address": e.name, "idle": len(e.idle), "busy": e.busy}
                    for e in upstream.pool.endpoints
                ],
            }
            for name, upstream in self._app.runtime.upstreams.items()
        ]
        return web.json_response(rows)

    async def _breakers(self, _: web.Request) -> web.Response:
        now_s = self._app.runtime.clock.now_s()
        rows = [
            {
                "route": state.route.name,
                "upstream": state.route.upstream,
                "state": state.breaker.state.value,
                "cause": state.breaker.cause,
                "retry_after_s": round(state.breaker.retry_after_s(now_s), 3),
            }
            for state in self._app.runtime.routes
            if state.breaker is not None
        ]
        return web.json_response(rows)

    async def _faults(self, request: web.Request) -> web.Response:
        wanted = {k: v for k, v in request.query.items() if k in ("code", "route")}
        limit = request.query.get("limit", "100")
        if not limit.isdigit():
            return web.json_response({"error": "limit is not a number"}, status=400)
        rows = [
            record
            for record in self._app.runtime.recorder.feed.newest()
            if all(record[name] == value for name, value in wanted.items())
        ]
        return web.json_response(rows[: int(limit)])

    async def _fault(self, request: web.Request) -> web.Response:
        wanted = request.match_info["id"]
        for record in self._app.runtime.recorder.feed.newest():
            if record["fault_id"] == wanted:
                return web.json_response(record)
        error = f"no fault {wanted} among the last 1,000"
        return web.json_response({"error": error}, status=404)

    async def _log_level(self, _: web.Request) -> web.Response:
        level = logging.getLevelName(logging.getLogger("sidecar").level)
        return web.json_response({"level": level.lower()})

    async def _set_log_level(self, request: web.Request) -> web.Response:
        level = (await request.text()).strip().lower()
        if level not in _LEVELS:
            error = f"{level!r} is none of {', '.join(_LEVELS)}"
            return web.json_response({"error": error}, status=400)
        logging.getLogger("sidecar").setLevel(_LEVELS[level])
        return web.json_response({"level": level})


@web.middleware
async def _only_local_names(
    request: web.Request, handler: Handler
) -> web.StreamResponse:
    """Refuse a Host that is not this one: a page elsewhere may have rebound DNS."""
    host = request.host
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in _LOCAL_HOSTS:
        error = f"Host {name!r} is not local; use 127.0.0.1"
        return web.json_response({"error": error}, status=403)
    return await handler(request)


def _json(value: Any) -> str:
    import json  # noqa: PLC0415 - one page needs it

    return json.dumps(value, indent=2, default=str)
