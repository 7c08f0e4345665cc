"""Traffic over HTTP: the last minute, five minutes of intervals, and as it happens."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # It ships no types.

from sidecar.admin.schemas import SCHEMAS
from tests.admin.test_faults import Events, both, fail, joined

if TYPE_CHECKING:
    from tests.support.proxy import Proxy


def pass_interval(proxy: Proxy) -> None:
    """Close an interval now, as the recorder would by its timer."""
    recorder = proxy.app.recorder
    recorder.traffic._since_s -= 2.0
    recorder._look_at_traffic(recorder._clock.now_s())


def is_as_told(name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}"}
    jsonschema.validate(value, schema | {"components": {"schemas": SCHEMAS}})


async def test_the_last_minute_of_each_configured_route_is_listed() -> None:
    async with both() as (proxy, admin):
        [idle] = await admin.get("/traffic")
        assert (idle["route"], idle["requests_per_s"]) == ("all", 0)
        assert idle["success_ratio"] is idle["p50_s"] is None
        await proxy.get()
        fail(proxy)
        pass_interval(proxy)
        [row] = await admin.get("/traffic")
        is_as_told("Traffic", row)
        assert row["success_ratio"] == 0.5
        assert row["requests_per_s"] > 0
        assert (row["listener"], row["upstream"]) == ("inbound", "app")
        assert (row["in_flight"], row["breaker"]) == (0, "closed")


async def test_history_has_all_traffic_and_the_routes_that_are_asked_for() -> None:
    async with both() as (proxy, admin):
        await proxy.get()
        fail(proxy, route="")
        pass_interval(proxy)
        told = await admin.get("/traffic/history?route=all&route=&route=none&route=all")
        is_as_told("TrafficHistory", told)
        assert [route["route"] for route in told["routes"]] == ["all", ""]
        assert sum(told["total"]["requests"]) == 2
        assert sum(told["routes"][0]["requests"]) == 1
        assert sum(told["routes"][1]["failures"]) == 1
        lengths = {
            len(column)
            for part in (told["total"], *told["routes"])
            for column in part.values()
            if isinstance(column, list)
        }
        assert lengths == {proxy.app.recorder.traffic.interval}


async def test_before_the_first_interval_history_is_empty() -> None:
    async with both() as (_, admin):
        told = await admin.get("/traffic/history?route=all")
        is_as_told("TrafficHistory", told)
        assert told["routes"][0]["requests"] == told["total"]["p99_s"] == []


async def test_more_routes_than_there_may_be_are_refused() -> None:
    async with both() as (_, admin):
        ok = "&".join(["route=all"] * 50)
        assert (await admin.ask(f"/traffic/history?{ok}"))[0] == 200
        status, told = await admin.ask(f"/traffic/history?{ok}&route=b")
        assert status == 400
        assert told["error"] == "route comes 51 times; it may 50 times"
        assert (await admin.ask("/traffic/history?rout=b"))[0] == 400
        assert (await admin.ask("/faults/stream?traffic=yes"))[0] == 400


async def test_a_stream_tells_traffic_to_those_who_ask_for_it() -> None:
    """One text for all of them; the others are not even woken."""
    async with (
        both() as (proxy, admin),
        admin.session.get("/faults/stream?traffic=true") as first,
        admin.session.get("/faults/stream?traffic=true") as second,
        admin.session.get("/faults/stream") as other,
    ):
        await joined(proxy, 3)
        await proxy.get()
        while not proxy.app.recorder.store.requests:  # It ends after its answer.
            await asyncio.sleep(0)
        pass_interval(proxy)
        told = [await Events(stream).next() for stream in (first, second)]
        assert told[0] == told[1]
        assert told[0]["event"] == "traffic"
        interval = json.loads(told[0]["data"])
        is_as_told("TrafficInterval", interval)
        assert interval["total"]["requests"] == 1
        assert [route["route"] for route in interval["routes"]] == ["all"]
        proxy.app.recorder.event("ejection", "10.0.0.1:80", "5xx")
        assert (await Events(other).next())["event"] == "event"
