"""The day of a promotion at work: the sidecar before the shop, and who is told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.story.promotion import Clients, Shop, shop
from tests.support.alerted import Hook, Post, hook, post
from tests.support.otlp import Collector, by_http, values_of
from tests.support.process import Sidecar, sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIG: Final = Path(__file__).parents[2] / "config" / "examples" / "promotion.yaml"
CALM_PER_S: Final = 6.0
PROMOTION_PER_S: Final = 140.0
_LOOK_S: Final = 0.05


@dataclass
class Day:
    """All who take part."""

    shop: Shop
    clients: Clients
    oncall: Hook
    team: Post
    traces: Collector
    sidecar: Sidecar

    @property
    def admin(self) -> str:
        """Return the admin address."""
        return f"http://127.0.0.1:{self.sidecar.admin}"

    def promote(self) -> None:
        """Let the promotion begin."""
        self.clients.orders_per_s = PROMOTION_PER_S

    def mend(self) -> None:
        """Do what the fix says, when the first rush is over."""
        self.shop.mend()
        self.clients.orders_per_s = 10 * CALM_PER_S

    async def calm(self) -> None:
        """Wait until some orders were taken."""
        while sum(status == 201 for status, _ in self.clients.statuses) < 3:
            await asyncio.sleep(_LOOK_S)

    async def span_of(self, fault_id: str) -> Any:
        """Wait for the span that has the id of a fault."""
        while True:
            for span in self.traces.spans:
                if values_of(span).get("sidecar.fault.id") == fault_id:
                    return span
            await asyncio.sleep(_LOOK_S)

    async def told(self, code: str, kind: str) -> dict[str, Any]:
        """Wait until the webhook has an alert of a code; the test's time bounds it."""
        while True:
            for body in self.oncall.bodies:
                for alert in body["alerts"]:
                    if (alert["code"], alert["kind"]) == (code, kind):
                        return dict(alert)
            await asyncio.sleep(_LOOK_S)


@asynccontextmanager
async def day(folder: Path) -> AsyncIterator[Day]:
    """Begin one, with the calm before."""
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(shop())
        oncall = await stack.enter_async_context(hook())
        team = await stack.enter_async_context(post())
        traces = stack.enter_context(by_http())
        settings = _settings(here, oncall, team, traces)
        running = await stack.enter_async_context(sidecar(folder, **settings))
        over = asyncio.Event()
        clients = Clients(f"http://127.0.0.1:{running.inbound}", CALM_PER_S)
        buying = asyncio.create_task(clients.run(over))
        try:
            yield Day(here, clients, oncall, team, traces, running)
        finally:
            over.set()
            await buying


def _settings(
    here: Shop, oncall: Hook, team: Post, traces: Collector
) -> dict[str, Any]:
    """Return the example's settings, with the addresses that there are."""
    settings: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    del settings["inbound"]
    settings["admin"]["listen"] = "127.0.0.1:0"
    settings["upstreams"]["shop"]["endpoints"] = [f"127.0.0.1:{here.port}"]
    settings["telemetry"]["tracing"]["endpoint"] = traces.endpoint
    receivers = settings["alerts"]["receivers"]
    receivers["oncall"]["webhook"]["url"] = oncall.url
    receivers["team"]["mail"]["port"] = team.port
    return settings
