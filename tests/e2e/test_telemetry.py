"""Real peers: Prometheus scrapes, an OTLP receiver receives."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from concurrent import futures
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp
import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.proxy import Proxy, Talk, always_ok, header_of, proxied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = (
    "app_316_fault_total",
    "app_memory_usage_bytes",
    "app_cpu_usage_percent",
    "app_request_success_rate",
    "app_response_time_seconds_bucket",
    "http_server_request_duration_seconds_bucket",
    "http_server_active_requests",
    "sidecar_retry_budget_left",
    "sidecar_breaker_state",
    "sidecar_pool_connections",
    "sidecar_loop_lag_seconds",
    "sidecar_build_info",
    "sidecar_config_info",
)


async def fetch(url: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers) as got,
    ):
        return got.status, await got.text()


def url(proxy: Proxy, server: str, path: str) -> str:
    host, port = proxy.app.addresses[server]
    return f"http://{host}:{port}{path}"


async def test_every_metric_is_there_with_trace_ids_as_exemplars() -> None:
    top = {
        "telemetry": {
            "access_log": {"mode": "off"},
            "tracing": {"sample_ratio": "100%"},
        }
    }
    async with proxied(top=top, hosts=["test"]) as proxy:
        await proxy.get()
        await proxy.ask(b"GET / HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n")
        kind = "application/openmetrics-text; version=1.0.0"
        _, text = await fetch(url(proxy, "health", "/metrics"), Accept=kind)
        families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]  # Its.
        samples = [sample for family in families for sample in family.samples]
        assert set(NAMES) <= {sample.name for sample in samples}
        marked = {sample.name for sample in samples if sample.exemplar}
        assert "http_server_request_duration_seconds_bucket" in marked
        assert "app_316_fault_total" in marked


async def test_health_and_admin() -> None:
    async with proxied() as proxy:
        assert await fetch(url(proxy, "health", "/healthz/ready")) == (200, "ready\n")
        assert (await fetch(url(proxy, "health", "/healthz/live")))[0] == 200
        await proxy.get("/", "x-316-deadline-ms: x")
        for path in (
            "/",
            "/config",
            "/routes",
            "/upstreams",
            "/breakers",
            "/log-level",
        ):
            status, text = await fetch(url(proxy, "admin", path))
            assert status == 200
            assert json.loads(text)
        _, text = await fetch(url(proxy, "admin", "/faults?limit=1"))
        record = json.loads(text)[0]
        assert record["code"] == "316-PROTO-CONTROL-HEADER"
        found = await fetch(url(proxy, "admin", f"/faults/{record['fault_id']}"))
        assert found[0] == 200
        foreign = await fetch(url(proxy, "admin", "/config"), Host="evil.test")
        assert foreign[0] == 403


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="Debian's prometheus")
async def test_a_real_prometheus_understands_it(tmp_path: Path) -> None:
    async with proxied() as proxy:
        await proxy.get("/", "x-316-deadline-ms: x")
        host, health = proxy.app.addresses["health"]
        config = tmp_path / "prometheus.yml"
        job = {"job_name": "s", "static_configs": [{"targets": [f"{host}:{health}"]}]}
        config.write_text(
            json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})
        )
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            query = quote('app_316_fault_total{error_code="316-PROTO-CONTROL-HEADER"}')
            answer = await eventually(
                f"http://127.0.0.1:{port}/api/v1/query?query={query}"
            )
            assert answer[0]["value"][1] == "1"
            assert answer[0]["metric"]["severity"] == "P3"
        finally:
            process.terminate()
            await process.wait()


async def eventually(address: str) -> list[Any]:
    """Ask until there is a result; the test's own time limit bounds it."""
    while True:
        try:
            _, text = await fetch(address)
            result: list[Any] = json.loads(text)["data"]["result"]
        except (aiohttp.ClientError, KeyError, json.JSONDecodeError):
            result = []
        if result:
            return result
        await asyncio.sleep(0.1)


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """The collector's trace service."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - its protocol
        del context
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    service = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(service, server)  # type: ignore[no-untyped-call]  # Generated code.
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield service, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


async def test_spans_arrive_with_the_ids_that_went_upstream(
    receiver: tuple[Receiver, str],
) -> None:
    service, endpoint = receiver

    async def fail_first(talk: Talk) -> None:
        if talk.number == 1:
            await talk.request()
            talk.reset()
        else:
            await always_ok(talk)

    tracing = {"enabled": True, "endpoint": endpoint, "sample_ratio": "100%"}
    top = {"telemetry": {"access_log": {"mode": "off"}, "tracing": tracing}}
    async with proxied(fail_first, top=top) as proxy:
        await proxy.get("/x")
        sent = [str(header_of(r, "traceparent")) for r in proxy.origin.requests]
    ids = {span.span_id.hex(): span for span in service.spans}
    assert len(ids) == 3
    for number, parent in enumerate(sent):
        _, trace_id, span_id, _ = parent.split("-")
        span = ids[span_id]
        assert span.trace_id.hex() == trace_id
        attributes = {a.key: a.value for a in span.attributes}
        if number:
            assert attributes["http.request.resend_count"].int_value == 1
        else:
            assert attributes["error.type"].string_value == "316-CONN-RESET"


async def test_a_failure_is_exported_though_it_was_not_sampled(
    receiver: tuple[Receiver, str],
) -> None:
    service, endpoint = receiver
    tracing = {"enabled": True, "endpoint": endpoint, "sample_ratio": "0%"}
    top = {"telemetry": {"access_log": {"mode": "off"}, "tracing": tracing}}
    async with proxied(top=top) as proxy:
        await proxy.get()
        await proxy.get("/", "x-316-deadline-ms: x")
    assert [span.events[0].name for span in service.spans] == ["316_FAULT"]
