"""Health and metrics: what kubelet and Prometheus ask, open to the network.

/healthz/ready   503 with the reason while starting and draining
/healthz/started 200 as soon as it serves, whether the application does or not
/healthz/live    200 as long as the event loop turns
/healthz/application  503 once the application has been unhealthy for long: for the
                 kubelet to restart it
/application/…   a probe of the application, asked by the sidecar for the kubelet
/metrics         Prometheus text, or OpenMetrics if Accept asks for it
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sidecar.admin.application import ApplicationProbes
from sidecar.admin.guard import harden
from sidecar.application_probes import PREFIX, probes_of
from sidecar.record.metrics.collector import SidecarCollector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from sidecar.admin.context import AdminContext

_OPENMETRICS_END = b"# EOF\n"
_MAX_SAMPLES = 250  # About a millisecond of encoding: no request waits for more.


def health_application(context: AdminContext) -> web.Application:
    """Return the server for probes and scrapers."""
    handlers = _Health(context)
    application = web.Application()
    application.on_response_prepare.append(harden)
    application.router.add_get("/healthz/ready", handlers.ready)
    application.router.add_get("/healthz/started", handlers.started)
    application.router.add_get("/healthz/live", handlers.live)
    application.router.add_get("/healthz/application", handlers.application)
    application.router.add_get("/metrics", handlers.metrics)
    probes = ApplicationProbes(probes_of(os.environ))
    application.router.add_get(f"{PREFIX}{{name:.+}}", probes.ask)
    application.on_cleanup.append(probes.close)
    return application


class _Health:
    """The handlers."""

    def __init__(self, context: AdminContext) -> None:
        self._context = context
        self._collector = SidecarCollector(
            context.recorder, context.clock, lambda: context.runtime
        )

    async def ready(self, _: web.Request) -> web.Response:
        reason = self._context.not_ready_reason
        if reason:
            return web.Response(status=503, text=f"not ready: {reason}\n")
        return web.Response(text="ready\n")

    async def started(self, _: web.Request) -> web.Response:
        if not self._context.has_started:
            return web.Response(status=503, text="not started\n")
        return web.Response(text="started\n")

    async def live(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def application(self, _: web.Request) -> web.Response:
        """Tell whether it should be restarted; without a check, nothing says so."""
        record = self._context.recorder.application
        if record.tracker is None:
            return web.Response(text="not checked: see health.application\n")
        now_s, state = self._context.clock.now_s(), record.tracker.state.value
        if record.wants_restart(now_s):
            down_s = record.tracker.down_s(now_s)
            text = f"unhealthy for {down_s:.0f} s: {record.subject}\n"
            return web.Response(status=503, text=text)
        return web.Response(text=f"{state}\n")

    async def metrics(self, request: web.Request) -> web.Response:
        """Encode, letting the traffic pass between one piece and the next."""
        accept = ", ".join(request.headers.getall("Accept", ()))
        encode, content_type = choose_encoder(accept)
        is_open = content_type.startswith("application/openmetrics-text")
        body = bytearray()
        for metric in self._collector.collect():
            for piece in _pieces(metric):
                text = encode(piece)
                if is_open:
                    text = text.removesuffix(_OPENMETRICS_END)
                body += text if piece.is_first else _without_head(text)
                await asyncio.sleep(0)
        if is_open:
            body += _OPENMETRICS_END
        return web.Response(body=bytes(body), headers={"Content-Type": content_type})


class _Piece(Collector):
    """Some samples of a family, in the shape that the encoders take."""

    def __init__(self, metric: Metric, *, is_first: bool) -> None:
        self._metric = metric
        self.is_first = is_first

    def collect(self) -> Iterator[Metric]:
        yield self._metric


def _pieces(metric: Metric) -> Iterator[_Piece]:
    """Cut a large family into pieces; the first carries its description."""
    samples = metric.samples
    for start in range(0, max(1, len(samples)), _MAX_SAMPLES):
        metric.samples = samples[start : start + _MAX_SAMPLES]
        yield _Piece(metric, is_first=start == 0)


def _without_head(text: bytes) -> bytes:
    """Drop HELP, TYPE and UNIT, which a family has once."""
    while text.startswith(b"# "):
        text = text.partition(b"\n")[2]
    return text
