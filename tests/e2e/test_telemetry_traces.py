"""Traces, as a real OTLP collector receives them."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.otlp import Collector, by_grpc, values_of
from tests.support.proxy import (
    Proxy,
    Talk,
    always_ok,
    body_of,
    header_of,
    proxied,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER, CLIENT = 2, 3  # SpanKind.
ERROR = 2  # StatusCode.
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FAULTY = "x-316-deadline-ms: x"  # 400, by the proxy itself.


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Send soon, whatever the machine of the test says."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    return monkeypatch


@pytest.fixture
def of_grpc() -> Iterator[Collector]:
    with by_grpc() as one:
        yield one


def traced(endpoint: str, protocol: str = "grpc", ratio: str = "100%") -> Any:
    return telemetry(
        enabled=True, endpoint=endpoint, protocol=protocol, sample_ratio=ratio
    )


def telemetry(**tracing: Any) -> Any:
    return {"telemetry": {"access_log": {"mode": "off"}, "tracing": tracing}}


async def fail_first(talk: Talk) -> None:
    if talk.number == 1:
        await talk.request()
        talk.reset()
    else:
        await always_ok(talk)


async def test_a_span_a_request_and_one_an_attempt(
    collector: Collector, protocol: str
) -> None:
    """With the ids that went upstream, by both protocols."""
    top = traced(collector.endpoint, protocol)
    async with proxied(fail_first, top={"service": "orders", **top}) as proxy:
        await proxy.get("/x?secret=1")
        sent = [str(header_of(r, "traceparent")) for r in proxy.origin.requests]
        spans = await collector.until(3)
    [server] = [span for span in spans if span.kind == SERVER]
    clients = [span for span in spans if span.kind == CLIENT]
    trace_id, span_id = server.trace_id.hex(), server.span_id.hex()
    assert server.parent_span_id == b""
    assert [one.parent_span_id.hex() for one in clients] == [span_id] * 2
    ids = [f"00-{trace_id}-{one.span_id.hex()}-01" for one in clients]
    assert sent == ids
    assert collector.resources[0]["service.name"] == "orders"
    for one in clients:
        assert server.start_time_unix_nano <= one.start_time_unix_nano
        assert one.end_time_unix_nano <= server.end_time_unix_nano


async def test_names_are_those_of_the_http_conventions(of_grpc: Collector) -> None:
    async with proxied(fail_first, top=traced(of_grpc.endpoint)) as proxy:
        await proxy.get("/x?secret=1")
        spans = await of_grpc.until(3)
        origin, port = "127.0.0.1", proxy.origin.port
    server, first, second = spans
    values = values_of(server)
    assert server.name == "GET /*"
    assert values["http.request.method"] == "GET"
    assert values["http.response.status_code"] == 200
    assert values["http.route"] == "/*"
    assert values["url.path"] == "/x"
    assert values["url.scheme"] == "http"
    assert values["server.address"] == "test"
    assert values["client.address"] == "127.0.0.1"
    assert first.name == "GET"
    assert values_of(first)["error.type"] == "316-CONN-RESET"
    assert first.status.code == ERROR
    values = values_of(second)
    assert values["http.request.resend_count"] == 1
    assert values["http.response.status_code"] == 200
    assert (values["server.address"], values["server.port"]) == (origin, port)
    assert "error.type" not in values
    assert "secret" not in str(spans)


async def test_a_fault_is_an_event_with_its_record(of_grpc: Collector) -> None:
    async def refuse(talk: Talk) -> None:
        await talk.request()
        talk.reset()

    top = traced(of_grpc.endpoint)
    async with proxied(refuse, retry={"preset": "off"}, top=top) as proxy:
        answer = await proxy.get()
        server = (await of_grpc.until(2))[0]
        [shown] = proxy.faults
    code = str(header_of(answer, "x-316-code"))
    assert server.status.code == ERROR
    assert values_of(server)["error.type"] == code == "316-CONN-RESET"
    [event] = server.events
    assert event.name == "316_FAULT"
    told = values_of(event)
    for key, value in shown.items():
        if key != "event":
            plain = isinstance(value, str | int | float | bool)
            assert told[f"fault.{key}"] == (value if plain else json.dumps(value))


async def test_the_callers_trace_goes_on(of_grpc: Collector) -> None:
    top = traced(of_grpc.endpoint, ratio="0%")
    given = f"traceparent: 00-{TRACE}-{PARENT}-01"
    async with proxied(top=top) as proxy:
        await proxy.get("/", given, "tracestate: vendor=1")
        server = (await of_grpc.until(2))[0]
        [request] = proxy.origin.requests
    assert server.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == PARENT
    assert server.trace_state == "vendor=1"
    assert header_of(request, "tracestate") == "vendor=1"


@pytest.mark.parametrize(
    "bad",
    [
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        "nonsense",
    ],
)
async def test_an_invalid_one_starts_a_new_trace(of_grpc: Collector, bad: str) -> None:
    async with proxied(top=traced(of_grpc.endpoint)) as proxy:
        await proxy.get("/", f"traceparent: {bad}", "tracestate: vendor=1")
        server = (await of_grpc.until(2))[0]
    assert server.trace_id.hex() != TRACE
    assert server.trace_id != bytes(16)
    assert server.parent_span_id == b""
    assert server.trace_state == ""


@pytest.mark.parametrize(
    "lines",
    [
        (f"b3: {TRACE}-{PARENT}-1",),
        (f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {PARENT}", "X-B3-Sampled: 1"),
    ],
    ids=["one line", "many"],
)
async def test_b3_is_understood(of_grpc: Collector, lines: tuple[str, ...]) -> None:
    async with proxied(top=traced(of_grpc.endpoint, ratio="0%")) as proxy:
        await proxy.get("/", *lines)
        server = (await of_grpc.until(2))[0]
        [request] = proxy.origin.requests
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert f"00-{TRACE}-" in str(header_of(request, "traceparent"))


async def test_a_failure_goes_out_though_nobody_sampled_it(of_grpc: Collector) -> None:
    """And a success does not, whose trace the caller did not sample either."""
    unsampled = f"traceparent: 00-{TRACE}-{PARENT}-00"
    async with proxied(top=traced(of_grpc.endpoint)) as proxy:
        await proxy.get("/", unsampled)
        await proxy.get("/", unsampled, FAULTY)
    assert [span.events[0].name for span in of_grpc.spans] == ["316_FAULT"]


async def test_the_ratio_decides_by_the_trace_id(of_grpc: Collector) -> None:
    """What goes on is marked as what is told: `sampled` upstream, and a span."""
    async with proxied(top=traced(of_grpc.endpoint, ratio="50%")) as proxy:
        for _ in range(40):
            await proxy.get()
        parents = [str(header_of(r, "traceparent")) for r in proxy.origin.requests]
    marked = {p.split("-")[1] for p in parents if p.endswith("-01")}
    assert 0 < len(marked) < 40
    assert {span.trace_id.hex() for span in of_grpc.spans} == marked


async def test_variables_alone_are_enough(
    collector: Collector, protocol: str, no_environment: pytest.MonkeyPatch
) -> None:
    """Endpoint, protocol, headers, sampler, names: all by OTEL_*."""
    for name, value in (
        ("EXPORTER_OTLP_ENDPOINT", collector.endpoint),
        ("EXPORTER_OTLP_PROTOCOL", protocol),
        ("EXPORTER_OTLP_HEADERS", "x-team=checkout"),
        ("TRACES_SAMPLER", "always_on"),
        ("SERVICE_NAME", "from-env"),
        ("RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
    ):
        no_environment.setenv(f"OTEL_{name}", value)
    top = {"telemetry": {"access_log": {"mode": "off"}}}
    async with proxied(top=top) as proxy:
        await proxy.get()
        await collector.until(2)
    assert collector.headers[0]["x-team"] == "checkout"
    assert collector.resources[0]["service.name"] == "from-env"
    assert collector.resources[0]["deployment.environment.name"] == "test"


async def test_disabled_by_variable_nothing_is_sent(
    of_grpc: Collector, no_environment: pytest.MonkeyPatch
) -> None:
    no_environment.setenv("OTEL_SDK_DISABLED", "true")
    async with proxied(top=traced(of_grpc.endpoint)) as proxy:
        assert status_of(await proxy.get()) == 200
        assert proxy.app.recorder.tracer is None
    assert of_grpc.spans == []


@contextmanager
def nobody() -> Iterator[str]:
    """Return an address that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        yield f"http://127.0.0.1:{there.getsockname()[1]}"


async def test_a_collector_that_is_down_costs_spans_alone(protocol: str) -> None:
    """Requests are answered, drops are counted, the end does not wait for it."""
    async with proxied(top=traced("http://127.0.0.1:1", protocol)) as proxy:
        for _ in range(20):
            answer = await proxy.get()
            assert (status_of(answer), body_of(answer)) == (200, b"ok")
        tracer = proxy.app.recorder.tracer
        assert tracer is not None
        async with asyncio.timeout(10):
            await proxy.app.close()
    assert tracer.counts.exported == 0
    assert sum(tracer.counts.dropped().values()) == 40


async def test_a_collector_that_never_answers_costs_spans_alone(protocol: str) -> None:
    with nobody() as endpoint:
        async with proxied(top=traced(endpoint, protocol)) as proxy:
            for _ in range(20):
                assert status_of(await proxy.get()) == 200
            tracer = proxy.app.recorder.tracer
            assert tracer is not None
            async with asyncio.timeout(10):
                await proxy.app.close()
        assert sum(tracer.counts.dropped().values()) == 40


async def test_a_full_queue_drops_and_counts(of_grpc: Collector) -> None:
    """While the collector is slow: what has room goes later, the rest is counted."""
    of_grpc.may_answer.clear()
    top = traced(of_grpc.endpoint)
    top["telemetry"]["tracing"]["queue_spans"] = 10
    async with proxied(top=top) as proxy:
        for _ in range(20):
            assert status_of(await proxy.get()) == 200
        dropped = await metric(proxy, "sidecar_spans_dropped_total", "queue_full")
        assert dropped == 30
        of_grpc.may_answer.set()
        assert len(await of_grpc.until(10)) == 10


async def metric(proxy: Proxy, name: str, label: str) -> float:
    """Return a value as it would be scraped."""
    host, port = proxy.app.addresses["health"]
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    [line] = [x for x in text.splitlines() if x.startswith(name) and label in x]
    return float(line.rsplit(" ", 1)[1])
