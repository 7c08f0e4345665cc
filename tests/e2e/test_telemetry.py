"""A real Prometheus scrapes a real sidecar, and knows every promised name."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest

from sidecar.admin.token import VARIABLE
from tests.support.admin import KNOWING, TOKEN
from tests.support.proxy import Proxy, Talk, always_ok, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Debian's prometheus"
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"traceparent: 00-{TRACE}-00f067aa0ba902b7-01"
FAULTY = "x-316-deadline-ms: x"  # 400, by the proxy itself.
LOOK_S = 0.05
QUICK = {"recovered_after": "100ms"}
NAMES = (
    "app_316_fault_total",
    "app_fault_recovery_seconds_bucket",
    "app_memory_usage_bytes",
    "app_cpu_usage_percent",
    "app_request_success_rate",
    "app_response_time_seconds_bucket",
    "http_server_request_duration_seconds_bucket",
    "http_server_active_requests",
    "sidecar_request_bytes_total",
    "sidecar_response_bytes_total",
    "sidecar_retries_total",
    "sidecar_retries_skipped_total",
    "sidecar_retry_budget_left",
    "sidecar_breaker_state",
    "sidecar_breaker_transitions_total",
    "sidecar_pool_connections",
    "sidecar_pool_requests",
    "sidecar_pool_limit",
    "sidecar_timeouts_total",
    "sidecar_malformed_codes_total",
    "sidecar_admin_refused_total",
    "sidecar_loop_lag_seconds",
    "sidecar_uptime_seconds",
    "sidecar_build_info",
    "sidecar_config_info",
    "sidecar_log_lines_total",
    "sidecar_log_lines_dropped_total",
)


class Prometheus:
    """Asks it; every wait is bounded by the time of the test."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1/"

    async def ask(self, path: str, **query: str) -> Any:
        """Return the data, once it is up and has some."""
        url = f"{self._base}{path}?{urlencode(query)}"
        while True:
            try:
                async with aiohttp.ClientSession() as session, session.get(url) as got:
                    data = (await got.json()).get("data")
            except aiohttp.ClientError:
                data = None
            found = data.get("result", data) if isinstance(data, dict) else data
            if found:
                return found
            await asyncio.sleep(LOOK_S)

    async def value(self, query: str) -> float:
        """Return the one value of an expression."""
        [found] = await self.ask("query", query=query)
        return float(found["value"][1])


@asynccontextmanager
async def prometheus_of(
    proxy: Proxy, folder: Path, *, rules: tuple[str, ...] = ()
) -> AsyncIterator[Prometheus]:
    host, health = proxy.app.addresses["health"]
    job = {"job_name": "s", "static_configs": [{"targets": [f"{host}:{health}"]}]}
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [job],
        "rule_files": rules,
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Prometheus(port)
    finally:
        process.terminate()
        await process.wait()


async def moody(talk: Talk) -> None:
    """Reset what comes on the first connection, serve on the others."""
    if talk.number == 1:
        await talk.request()
        talk.reset()
    else:
        await always_ok(talk)


async def test_every_name_can_be_queried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    async with proxied(moody, top={"faults": QUICK}) as proxy:
        await proxy.get("/", FAULTY)
        await proxy.get()  # Reset, made again, and so a recovery.
        host, port = proxy.app.addresses["admin"]
        async with aiohttp.ClientSession(
            f"http://{host}:{port}", headers=KNOWING
        ) as admin:
            await admin.post("/breakers/all", json={"state": "open", "for_s": 60})
            await admin.post("/breakers/none", headers={"Authorization": "none"})
        await proxy.get()
        proxy.app.recorder.store.timeouts["request"] += 1
        async with prometheus_of(proxy, tmp_path) as prometheus:
            for name in NAMES:
                assert await prometheus.ask("query", query=name), name
            labels = ["error_code", "severity", "component", "route"]
            [found] = await prometheus.ask(
                "query",
                query='app_316_fault_total{error_code="316-PROTO-CONTROL-HEADER"}',
            )
            assert found["value"][1] == "1"
            assert set(labels) <= found["metric"].keys()
            assert found["metric"]["severity"] == "P3"
            assert await prometheus.value("sidecar_breaker_state") == 2


async def test_it_finds_the_trace_of_a_slow_bucket_and_of_a_fault(
    tmp_path: Path,
) -> None:
    """Exemplars come over, and their ids are those of the requests."""
    async with proxied() as proxy:
        await proxy.get("/", SAMPLED)
        await proxy.get("/", SAMPLED, FAULTY)
        async with prometheus_of(proxy, tmp_path) as prometheus:
            for name in (
                "http_server_request_duration_seconds_bucket",
                "app_316_fault_total",
            ):
                [series, *_] = await prometheus.ask(
                    "query_exemplars", query=name, start="0", end="9999999999"
                )
                ids = {one["labels"]["trace_id"] for one in series["exemplars"]}
                assert ids == {TRACE}


async def test_the_quantile_rule_works(tmp_path: Path) -> None:
    async with proxied() as proxy:
        for _ in range(5):
            await proxy.get()
        async with prometheus_of(proxy, tmp_path) as prometheus:
            p99 = "histogram_quantile(0.99, app_response_time_seconds_bucket)"
            assert 0.0 < await prometheus.value(p99) < 10.0
