"""What an operator sees of a running sidecar: /faults and /metrics, over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.proxy import Proxy

_POLL_S = 0.005


async def faults_of(proxy: Proxy) -> list[dict[str, Any]]:
    """Return the records of requests in /faults, the newest first."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(_url(proxy, "admin", "/faults")) as answer,
    ):
        records: list[dict[str, Any]] = await answer.json()
        # Without those of the process: on a busy machine its loop may stand still.
        return [record for record in records if record["listener"]]


async def fault_of(proxy: Proxy) -> dict[str, Any]:
    """Return the newest record, once there is one."""
    while not (records := await faults_of(proxy)):
        await asyncio.sleep(_POLL_S)
    return records[0]


async def codes_of(proxy: Proxy) -> list[str]:
    """Return the code of each attempt that the newest record tells of."""
    attempts = (await fault_of(proxy))["attempts"]
    return [attempt["code"] or str(attempt["status"]) for attempt in attempts]


async def metric_of(proxy: Proxy, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(_url(proxy, "health", "/metrics")) as answer,
    ):
        text = await answer.text()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


async def idle_connections(proxy: Proxy) -> float:
    """Return how many connections to the upstream wait to be used again."""
    return await metric_of(proxy, "sidecar_pool_connections", state="idle")


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the other side is about to do; the test's limit bounds it."""
    while not await holds():
        await asyncio.sleep(_POLL_S)


def _url(proxy: Proxy, server: str, path: str) -> str:
    host, port = proxy.app.addresses[server]
    return f"http://{host}:{port}{path}"
