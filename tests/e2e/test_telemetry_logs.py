"""Records of failures as OTLP logs, as a real collector receives them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.faults.catalogue import FaultCode
from tests.e2e.test_telemetry_traces import (
    CLIENT,
    FAULTY,
    SERVER,
    metric,
    nobody,
)
from tests.support.admin import client_of
from tests.support.otlp import by_grpc, values_of
from tests.support.proxy import Proxy, Talk, header_of, proxied, status_of

if TYPE_CHECKING:
    from tests.support.otlp import Collector

ERROR, WARN, INFO = 17, 13, 9  # SeverityNumber.


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Send soon, whatever the machine of the test says."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "10")
    return monkeypatch


def telemetry(endpoint: str, protocol: str = "grpc", **logs: Any) -> dict[str, Any]:
    there = {"enabled": True, "endpoint": endpoint, "protocol": protocol}
    return {
        "service": "orders",
        "telemetry": {
            "access_log": {"mode": "faults"},
            "tracing": {**there, "sample_ratio": "0%"},
            "logs": {**there, **logs},
        },
    }


async def refuse(talk: Talk) -> None:
    await talk.request()
    talk.reset()


async def line_of(proxy: Proxy, fault_id: str) -> dict[str, Any]:
    """Return the log line of a fault; the writer has a thread of its own."""
    while True:
        for line in proxy.app.recorder.lines._stream.getvalue().splitlines():  # type: ignore[attr-defined]  # In memory.
            if fault_id in line:
                found: dict[str, Any] = json.loads(line)
                return found
        await asyncio.sleep(0.02)


async def of_requests(collector: Collector, count: int = 1) -> list[Any]:
    """Wait for so many; a busy machine may add a stall of the loop."""
    found: list[Any] = []
    while len(found) < count:
        await asyncio.sleep(0.02)
        found = [log for log in collector.logs if log.trace_id]
    return found


async def test_log_line_span_and_log_record_lead_to_each_other(
    collector: Collector, protocol: str
) -> None:
    """From the line: trace and span ids, the fault's id, and its group."""
    top = telemetry(collector.endpoint, protocol)
    async with proxied(refuse, retry={"preset": "off"}, top=top) as proxy:
        answer = await proxy.get("/x?secret=1")
        line = await line_of(proxy, str(header_of(answer, "x-316-fault-id")))
        spans = await collector.until(2)
        [log] = await of_requests(collector)
        async with client_of(proxy) as admin:
            record = await admin.get(f"/faults/{line['fault_id']}")
            group = await admin.get(f"/fault-groups/{line['group']}")
    names = {
        "sidecar.fault.id": line["fault_id"],
        "sidecar.fault.code": "316-CONN-RESET",
        "sidecar.fault.group": line["group"],
        "sidecar.fault.severity": "P1",
    }
    [server] = [span for span in spans if span.kind == SERVER]
    [client] = [span for span in spans if span.kind == CLIENT]
    ids = (line["trace_id"], line["span_id"])
    assert (server.trace_id.hex(), server.span_id.hex()) == ids
    assert (log.trace_id.hex(), log.span_id.hex()) == ids
    assert (record["trace_id"], record["span_id"]) == ids
    for told in (server, client, log):
        assert names.items() <= values_of(told).items()
    assert line["fault_id"] in group["examples"]
    assert "secret" not in str(log)


async def test_a_log_record_has_what_the_record_has(
    collector: Collector, protocol: str
) -> None:
    top = telemetry(collector.endpoint, protocol)
    async with proxied(refuse, retry={"preset": "off"}, top=top) as proxy:
        await proxy.get()
        [log] = await of_requests(collector)
        [shown] = proxy.faults
    assert log.body.string_value == f"{shown['title']}: {shown['detail']}"
    assert (log.severity_number, log.severity_text) == (ERROR, "P1")
    assert log.event_name == "316_FAULT"
    assert log.flags == 1
    told = values_of(log)
    for key, value in shown.items():
        if key != "event":
            plain = isinstance(value, str | int | float | bool)
            assert told[f"fault.{key}"] == (value if plain else json.dumps(value))
    assert {r["service.name"] for r in collector.resources} == {"orders"}


@pytest.mark.parametrize("code", [FaultCode.CONFIG_REJECTED, FaultCode.LOCK_STALL])
async def test_a_fault_of_no_request_is_told_without_a_span(
    collector: Collector, protocol: str, code: FaultCode
) -> None:
    async with proxied(top=telemetry(collector.endpoint, protocol)) as proxy:
        spec = code.spec
        fault_id = proxy.app.recorder.fault(spec, "line 3")
        while not (found := [x for x in collector.logs if fault_id in str(x)]):
            await asyncio.sleep(0.02)
    [log] = found
    assert (log.trace_id, log.span_id, log.flags) == (b"", b"", 0)
    assert log.body.string_value == f"{spec.title}: line 3"


async def test_the_own_log_goes_the_same_way(
    collector: Collector, protocol: str
) -> None:
    """With nothing that others could plant, as on stderr."""
    log = logging.getLogger("sidecar.app")
    async with proxied(top=telemetry(collector.endpoint, protocol)):
        await asyncio.to_thread(log.warning, "a line\nbreak: %s", "\x1b[2J")
        while not (found := [x for x in collector.logs if "break" in str(x.body)]):
            await asyncio.sleep(0.02)
        assert logging.getLogger("sidecar").handlers
    [line] = found
    assert line.body.string_value == "WARNING sidecar.app: a line\\nbreak: \\x1b[2J"
    assert (line.severity_number, line.severity_text) == (WARN, "WARNING")
    assert line.trace_id == b""
    assert logging.getLogger("sidecar").handlers == []


async def test_what_is_queued_at_the_end_is_sent(
    collector: Collector, protocol: str, soon: pytest.MonkeyPatch
) -> None:
    soon.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    async with proxied(top=telemetry(collector.endpoint, protocol)) as proxy:
        await proxy.get("/", FAULTY)
    [log] = [log for log in collector.logs if log.trace_id]
    assert log.severity_number == INFO


async def test_a_collector_that_never_answers_costs_log_records_alone(
    protocol: str,
) -> None:
    """Requests are answered, drops are counted, the end does not wait for it."""
    with nobody() as endpoint:
        async with proxied(top=telemetry(endpoint, protocol)) as proxy:
            for _ in range(20):
                assert status_of(await proxy.get("/", FAULTY)) == 400
            logs = proxy.app.recorder.book.logs
            assert logs is not None
            async with asyncio.timeout(10):
                await proxy.app.close()
    assert logs.counts.exported == 0
    kept = proxy.app.recorder.feed.last_seq
    own = 3  # Lines at most that such a collector is told of.
    assert 20 <= kept <= sum(logs.counts.dropped().values()) <= kept + own


async def test_a_full_queue_drops_and_counts() -> None:
    with by_grpc() as collector:
        collector.may_answer.clear()
        async with proxied(top=telemetry(collector.endpoint, queue=5)) as proxy:
            for _ in range(12):
                await proxy.get("/", FAULTY)
            kept = proxy.app.recorder.feed.last_seq
            name = "sidecar_log_records_dropped_total"
            assert await metric(proxy, name, "queue_full") >= kept - 5
            collector.may_answer.set()


async def test_nothing_is_sent_unless_it_is_asked_for() -> None:
    async with proxied() as proxy:
        await proxy.get("/", FAULTY)
        assert proxy.app.recorder.book.logs is None
