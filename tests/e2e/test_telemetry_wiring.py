"""What a running sidecar notices of itself and of its application."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from tests.support.proxy import Proxy, Talk, header_of, proxied, status_of

LOOK_S = 0.02


async def fault_of(proxy: Proxy, code: str) -> dict[str, Any]:
    """Wait for a fault of this code; the test's own time bounds it."""
    while True:
        found = proxy.app.recorder.feed.newest(1, code=code)
        if found:
            return found[0]
        await asyncio.sleep(LOOK_S)


def hold_the_loop() -> None:
    """Be what must never be in an event loop."""
    time.sleep(0.4)


async def test_a_stall_of_the_loop_names_who_held_it() -> None:
    async with proxied() as proxy:
        hold_the_loop()
        fault = await fault_of(proxy, "316-LOCK-STALL")
        assert any("hold_the_loop" in line for line in fault["stack"])
        assert proxy.app.recorder.worst_loop_lag_s > 0.1


async def test_memory_that_runs_short_is_told_and_idle_connections_go() -> None:
    async with proxied() as proxy:
        assert status_of(await proxy.get()) == 200
        [endpoint] = proxy.app.runtime.upstreams["app"].pool.endpoints
        assert len(endpoint.idle) == 1
        proxy.app.recorder._context.memory_limit_bytes = 1
        fault = await fault_of(proxy, "316-MEM-PRESSURE")
        assert fault["severity"] == "P1"
        while endpoint.idle:
            await asyncio.sleep(LOOK_S)
        assert proxy.app.recorder.is_memory_short


async def test_a_pool_that_is_nearly_used_up_is_told() -> None:
    may_end = asyncio.Event()

    async def hold(talk: Talk) -> None:
        await talk.request()
        await may_end.wait()

    async with proxied(hold, upstream={"pool": {"max_connections": 1}}) as proxy:
        request = asyncio.create_task(proxy.get())
        fault = await fault_of(proxy, "316-POOL-PRESSURE")
        assert fault["upstream"] == "app"
        assert fault["pool"]["busy"] == fault["pool"]["max"] == 1
        may_end.set()
        await request


async def test_an_application_that_answers_nothing_is_suspected_of_a_deadlock() -> None:
    """It takes connections and requests, and lets every one of them time out."""

    async def deadlock(talk: Talk) -> None:
        await talk.request()
        await asyncio.Event().wait()

    route: Any = {
        "timeouts": {"request": "100ms"},
        "retry": {"preset": "off"},
        "circuit_breaker": "off",
    }
    async with proxied(deadlock, **route) as proxy:
        for _ in range(3):
            assert header_of(await proxy.get(), "x-316-code") == "316-TIMEOUT-ERR"
        fault = await fault_of(proxy, "316-LOCK-SUSPECT")
        assert (fault["route"], fault["upstream"]) == ("all", "app")
        assert "3 attempts" in fault["detail"]


async def test_at_the_end_no_thread_is_left() -> None:
    names = ("watchdog", "access-log", "traces")
    before = set(threading.enumerate())  # Those of other tests are not our business.
    async with proxied() as proxy:
        await proxy.get("/", "x-316-deadline-ms: x")
    while any(t.name in names for t in set(threading.enumerate()) - before):
        await asyncio.sleep(LOOK_S)


@pytest.mark.parametrize("code", ["316-ORDER-SUBMIT-ERR", "316-CONN-RESET"])
async def test_a_code_of_the_application_is_a_label(code: str) -> None:
    async def answer(talk: Talk) -> None:
        await talk.request()
        await talk.send(
            b"HTTP/1.1 409 Conflict\r\nx-316-code: %b\r\nContent-Length: 0\r\n\r\n"
            % code.encode()
        )

    async with proxied(answer) as proxy:
        await proxy.get()
        [(key, count)] = proxy.app.recorder.store.faults.items()
        assert (key, count) == ((code, "P1", "app", "all"), 1)
