"""The mutating admission webhook, as two servers.

    TLS    POST /mutate                                  for the API server
    plain  /healthz/live /healthz/ready /metrics         for kubelet and Prometheus

At the first SIGTERM or SIGINT readiness fails, and pods are still answered for
`lead_s`, until the API server has heard of it; then what is under way is finished. A
second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from sidecar.accept.binding import bind
from sidecar.accept.listener import ListenError
from sidecar.admin.guard import harden
from sidecar.admin.servers import behind_door
from sidecar.kube.admission import ReviewError, answer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from sidecar.clock import Clock
    from sidecar.kube.certificates import Certificates
    from sidecar.kube.options import Options
    from sidecar.settings.snapshot import Address

_log = logging.getLogger(__name__)

# An object is 1.5 MiB at most in etcd; a review is one, with some words around it.
MAX_BODY_BYTES = 3 * 1024 * 1024
_FINISH_S = 10.0
_LOOK_S = 1.0  # How often the certificate's files are looked at.
_BAD = "bad_request"


@dataclass(frozen=True, slots=True)
class Places:
    """Where to listen."""

    mutate: Address
    health: Address


class Webhook:
    """Answers the API server about pods."""

    def __init__(
        self,
        options: Options,
        certificates: Certificates,
        clock: Clock,
        body_s: float = 10.0,  # As long as the API server waits, unless told otherwise.
    ) -> None:
        self._options = options
        self._body_s = body_s
        self._certificates = certificates
        self._clock = clock
        self._registry = CollectorRegistry()
        self._reviews = Counter(
            "sidecar_webhook_reviews",
            "Admission reviews, by what became of them.",
            ["outcome"],
            registry=self._registry,
        )
        self._durations = Histogram(
            "sidecar_webhook_review_duration_seconds",
            "From a review's last byte to its answer.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
            registry=self._registry,
        )
        self._registry.register(_Loads(certificates))
        self._running: list[tuple[asyncio.Server, web.AppRunner]] = []
        self._looking: asyncio.Task[None] | None = None
        self._signals = asyncio.Queue[None]()
        self.not_ready_reason = "starting"
        self.addresses: dict[str, tuple[str, int]] = {}

    async def start(self, places: Places) -> None:
        """Listen.

        Raises:
            ListenError: An address is taken, or not ours. Nothing is left behind.
        """
        mutate = web.Application(client_max_size=MAX_BODY_BYTES)
        mutate.router.add_post("/mutate", self._mutate)
        health = web.Application()
        health.router.add_get("/healthz/live", self._live)
        health.router.add_get("/healthz/ready", self._ready)
        health.router.add_get("/metrics", self._metrics)
        context = self._certificates.context
        try:
            await self._listen("webhook", places.mutate, mutate, context)
            await self._listen("health", places.health, health)
        except ListenError:
            await self.close()
            raise
        self._looking = asyncio.create_task(self._look())
        self.not_ready_reason = ""

    async def run(self, lead_s: float) -> None:
        """Serve until a signal, and end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.ask_to_end)
        await self._signals.get()
        self.not_ready_reason = "ending"
        _log.info("ending; a second signal skips the waiting")
        try:
            async with asyncio.timeout(lead_s):
                await self._signals.get()
        except TimeoutError:
            pass
        await self.close()

    def ask_to_end(self) -> None:
        """Begin to end; asked again, wait no longer."""
        self._signals.put_nowait(None)

    async def close(self) -> None:
        """Take no more, finish what is under way, and end."""
        self.not_ready_reason = "ended"
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None
        while self._running:
            server, runner = self._running.pop(0)
            server.close()
            await runner.cleanup()
            await server.wait_closed()

    async def _listen(
        self,
        what: str,
        address: Address,
        application: web.Application,
        context: ssl.SSLContext | None = None,
    ) -> None:
        application.on_response_prepare.append(harden)
        runner, door = await behind_door(application, self._clock, _FINISH_S)
        try:
            server = await bind(door, address.host, address.port, tls=context)
        except OSError as error:
            await runner.cleanup()
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(what, str(address), reason) from None
        self._running.append((server, runner))
        host, port = server.sockets[0].getsockname()[:2]
        self.addresses[what] = (str(host), int(port))

    async def _look(self) -> None:
        """Take a new certificate soon after its files were replaced."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._certificates.look()

    async def _mutate(self, request: web.Request) -> web.Response:
        """Answer a review; what is none gets 400 and a sentence."""
        try:
            async with asyncio.timeout(self._body_s):
                data = await request.read()
        except TimeoutError:
            return self._refusal(408, f"the body took longer than {self._body_s:g} s")
        except web.HTTPRequestEntityTooLarge:
            text = f"the body has more than {MAX_BODY_BYTES} bytes"
            return self._refusal(413, text)
        began_s = self._clock.now_s()
        try:
            answered = answer(data, self._options)
        except ReviewError as error:
            return self._refusal(400, str(error))
        self._durations.observe(self._clock.now_s() - began_s)
        outcome = answered.outcome.value
        self._reviews.labels(outcome).inc()
        reason = f": {answered.reason}" if answered.reason else ""
        _log.info("%s %s%s", answered.about, outcome, reason)
        return web.json_response(answered.review)

    def _refusal(self, status: int, sentence: str) -> web.Response:
        self._reviews.labels(_BAD).inc()
        _log.warning("refused with %d: %s", status, sentence)
        return web.Response(status=status, text=f"{sentence}\n")

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _ready(self, _: web.Request) -> web.Response:
        if self.not_ready_reason:
            text = f"not ready: {self.not_ready_reason}\n"
            return web.Response(status=503, text=text)
        return web.Response(text="ready\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ", ".join(request.headers.getall("Accept", ()))
        encode, content_type = choose_encoder(accept)
        headers = {"Content-Type": content_type}
        return web.Response(body=encode(self._registry), headers=headers)


class _Loads(Collector):
    """How often a certificate was loaded, and how often it could not be."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "sidecar_webhook_certificate_loads",
            "Certificates loaded (good), and refused while the old one stayed (bad).",
            labels=["result"],
        )
        for result, count in self._certificates.loads.items():
            family.add_metric([result], count)
        yield family
