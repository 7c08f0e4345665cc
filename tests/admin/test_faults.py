"""The fault feed over HTTP: filters, pages, exports, groups, events, streams."""

from __future__ import annotations

import asyncio
import csv
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from sidecar.admin.door import DOOR
from sidecar.admin.fault_export import COLUMNS, csv_line
from sidecar.faults.catalogue import FaultCode
from sidecar.record.feed.fault_hub import MAX_LISTENERS, MAX_WAITING
from tests.docs.serving import serving
from tests.support.admin import Client, client_of
from tests.support.outcomes import failed, fault
from tests.support.proxy import OK, Proxy, Talk, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import aiohttp

FAULTY = "x-316-deadline-ms: x"


@asynccontextmanager
async def both(**more: Any) -> AsyncIterator[tuple[Proxy, Client]]:
    async with proxied(**more) as proxy, client_of(proxy) as admin:
        yield proxy, admin


def fail(proxy: Proxy, number: int = 0, **fields: Any) -> None:
    """Record a failure as the data path does."""
    recorder, code = proxy.app.recorder, fields.pop("code", FaultCode.CONN_RESET)
    now_s, now_ns = recorder._clock.now_s(), recorder._clock.wall_ns()
    detail = fields.pop("detail", f"number {number}")
    told = fault(code, fault_id=f"{number:020x}", detail=detail)
    times = {"start_s": now_s, "start_wall_ns": now_ns, "duration_s": 0.0}
    recorder.record(failed(code, **({"fault": told} | times | fields)))


async def details(admin: Client, query: str) -> list[str]:
    """Without those of the process: on a busy machine its loop may stand still."""
    records = await admin.get(f"/faults?{query}")
    return [record["detail"] for record in records if record["listener"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("code=316-conn-reset", [0]),
        ("family=dns", [1]),
        ("family=316-DNS", [1]),
        ("severity=P3", [2]),
        ("layer=application", [2]),
        ("route=else", [3]),
        ("route=", [4]),
        ("upstream=second", [3]),
        ("text=NUMBER+3", [3]),
        ("text=/orders/*&code=316-DNS-ERR", [1]),
        ("since=1h&family=CONN", [4, 3, 0]),
        ("since=2200-01-01T00:00:00Z", []),
    ],
)
async def test_each_filter_finds_what_it_says(query: str, found: list[int]) -> None:
    async with both() as (proxy, admin):
        fail(proxy, 0)
        fail(proxy, 1, code=FaultCode.DNS_ERR)
        fail(proxy, 2, code=FaultCode.VALIDATION_ERR)
        fail(proxy, 3, code=FaultCode.CONN_STALE, route="else", upstream="second")
        fail(proxy, 4, code=FaultCode.CONN_STALE, route="", upstream="")
        assert await details(admin, query) == [f"number {n}" for n in found]


@pytest.mark.parametrize(
    "query",
    ["sevrity=P1", "severity=P9", "layer=N", "limit=-1", "limit=1001", "limit=x",
     "cursor=0", "cursor=99999999999999999999", "since=yesterday",
     "since=2026-01-01", "format=xml", "since=99999999999999999999h"],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_with_a_reason(query: str) -> None:
    async with both() as (_, admin):
        status, told = await admin.ask(f"/faults?{query}")
        assert status == 400
        assert query.partition("=")[0] in told["error"]


async def test_pages_follow_each_other_whatever_comes_between() -> None:
    """No record twice, none left out, though new ones come all the while."""
    async with both() as (proxy, admin):
        for number in range(10):
            fail(proxy, number)
        seen: list[str] = []
        url = "/faults?limit=3&code=316-CONN-RESET"
        while url:
            async with admin.session.get(url) as got:
                seen += [record["detail"] for record in await got.json()]
                url = str(got.links["next"]["url"]) if "next" in got.links else ""
            fail(proxy, 100 + len(seen))
        assert seen == [f"number {n}" for n in range(9, -1, -1)]


async def test_a_record_alone_tells_of_its_upstream_and_the_program() -> None:
    async with both(endpoints=["127.0.0.1:1"], retry={"preset": "off"}) as (p, admin):
        for _ in range(6):
            await p.get()
        [newest] = await admin.get("/faults?limit=1&route=all")
        assert newest["code"] == "316-CIRCUIT-OPEN"
        whole = await admin.get(f"/faults/{newest['fault_id']}")
        [moved] = whole["events"]
        assert (moved["kind"], moved["from"], moved["to"]) == (
            "breaker", "closed", "open",
        )  # fmt: skip
        assert {"aiohttp", "httptools"} <= whole["build"]["dependencies"].keys()
        assert whole["process"]["threads"] >= 1
        assert whole["process"]["disk_free_bytes"] > 0
        group = await admin.get(f"/fault-groups/{whole['group']}")
        assert whole["fault_id"] in group["examples"]


async def test_a_connection_that_broke_tells_its_age_and_use() -> None:
    async def once_only(talk: Talk) -> None:
        await talk.request()
        await talk.send(OK)
        await talk.request()

    async with both(script=once_only, retry={"preset": "off"}) as (proxy, admin):
        await proxy.get()
        await proxy.get()
        [record] = await admin.get("/faults?route=all")
        [attempt] = record["attempts"]
        assert attempt["connection_served"] == 2
        assert attempt["connection_age_ms"] > 0
        assert attempt["at_ms"] >= 0


async def test_an_unexpected_exception_tells_its_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with both() as (proxy, admin):
        table = proxy.app.runtime.tables["inbound"]
        monkeypatch.setattr(type(table), "find", lambda *_: 1 / 0)
        await proxy.get()
        [record] = await admin.get("/faults?code=316-OP-FAIL")
        assert any("exchange.py" in place for place in record["stack"])
        [group] = await admin.get("/fault-groups?code=316-OP-FAIL")
        assert "ZeroDivisionError" in group["cause"]


async def test_groups_are_listed_filtered_and_shown() -> None:
    async with both() as (proxy, admin):
        for number in range(3):
            fail(proxy, number)
        fail(proxy, 3, code=FaultCode.DNS_ERR)
        groups = await admin.get("/fault-groups")
        assert [(g["code"], g["count"]) for g in groups if g["route"]] == [
            ("316-DNS-ERR", 1), ("316-CONN-RESET", 3),
        ]  # fmt: skip
        [group] = await admin.get("/fault-groups?family=CONN&state=new&severity=P1")
        assert group["trend"] == "rising"
        assert group["share_of_traffic"] == 0.75  # Of the four requests of the route.
        shown = await admin.get(f"/fault-groups/{group['id']}")
        assert [r["detail"] for r in shown["records"]] == [
            f"number {n}" for n in range(3)
        ]
        assert await admin.get("/fault-groups?state=recovered") == []
        assert (await admin.ask("/fault-groups?state=gone"))[0] == 400
        assert (await admin.ask("/fault-groups/none"))[0] == 404
        records = await details(admin, f"group={group['id']}&limit=1")
        assert records == ["number 2"]


async def test_events_tell_what_was_done_to_the_proxy() -> None:
    async with both() as (proxy, admin):
        await proxy.app.reloader.reload("a test")
        proxy.app.recorder.event("ejection", "10.0.0.1:80", "5xx", upstream="app")
        events = await admin.get("/events")
        assert [event["kind"] for event in events] == ["ejection", "reload", "start"]
        assert events[1]["detail"] == "rejected"
        [ejection] = await admin.get("/events?upstream=app&kind=ejection&since=1m")
        assert ejection["subject"] == "10.0.0.1:80"
        async with admin.session.get("/events?limit=1") as got:
            link = got.links["next"]["url"]
        assert (await admin.get(str(link)))[0]["kind"] == "reload"
        assert (await admin.ask("/events?code=x"))[0] == 400


async def test_exports_are_whole_and_one_record_a_line() -> None:
    async with both() as (proxy, admin):
        for number in range(110):  # More than a page; of a group each, so all are kept.
            fail(proxy, number, status=400 + number)
        async with admin.session.get("/faults?format=jsonl&code=316-CONN-RESET") as got:
            assert got.content_type == "application/jsonl"
            lines = (await got.text()).splitlines()
        assert [json.loads(line)["detail"] for line in lines] == [
            f"number {n}" for n in range(109, -1, -1)
        ]
        async with admin.session.get("/faults?format=csv&limit=101&route=all") as got:
            assert "attachment" in got.headers["Content-Disposition"]
            rows = list(csv.reader((await got.text()).splitlines()))
        assert rows[0] == list(COLUMNS)
        assert len(rows) == 102


def test_no_cell_is_a_formula() -> None:
    """A client's method or target is shown, and not run."""
    for evil in ('=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1"):
        cells = next(csv.reader([csv_line({"detail": evil, "status": 502})]))
        assert cells[COLUMNS.index("detail")] == f"'{evil}"
        assert cells[COLUMNS.index("status")] == "502"


class Events:
    """Reads server-sent events."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

    async def next(self) -> dict[str, str]:
        """Return the next event's fields; comments and `retry` are passed over."""
        while True:
            block = (await self._content.readuntil(b"\n\n")).decode().strip()
            if not block:
                return {}
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "event" in fields:
                return fields


async def joined(proxy: Proxy, count: int = 1) -> None:
    while len(proxy.app.recorder.book.hub.listeners) < count:
        await asyncio.sleep(0)


async def test_a_stream_tells_failures_and_events_as_they_happen() -> None:
    async with (
        both() as (proxy, admin),
        admin.session.get("/faults/stream?code=316-CONN-RESET") as got,
    ):
        assert got.content_type == "text/event-stream"
        assert got.headers["Cache-Control"] == "no-store"
        events = Events(got)
        await joined(proxy)
        fail(proxy, 1, code=FaultCode.DNS_ERR)
        fail(proxy, 2, detail="two\r\nlines\u2028event: forged")
        first = await events.next()
        assert first["event"] == "fault"
        assert json.loads(first["data"])["detail"] == "two\r\nlines\u2028event: forged"
        proxy.app.recorder.event("ejection", "10.0.0.1:80", "5xx", upstream="app")
        second = await events.next()
        assert second["event"] == "event"
        assert json.loads(second["data"])["kind"] == "ejection"


async def test_a_stream_that_tells_nothing_says_that_it_is_there() -> None:
    """Though something happens all the while: who reads takes silence for an end."""
    async with (
        both() as (proxy, admin),
        admin.session.get("/faults/stream?code=316-DNS-ERR") as got,
    ):
        await joined(proxy)
        assert await got.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        fail(proxy, 1)
        assert await got.content.readuntil(b"\n\n") == b": still here\n\n"


async def test_a_reader_that_comes_back_goes_on_where_it_was() -> None:
    async with both() as (proxy, admin):
        for number in range(3):
            fail(proxy, number)
        first = proxy.app.recorder.feed.last_seq - 2
        headers = {"Last-Event-ID": str(first)}
        async with admin.session.get("/faults/stream", headers=headers) as got:
            events = Events(got)
            assert [(await events.next())["id"] for _ in range(2)] == [
                str(first + 1), str(first + 2),
            ]  # fmt: skip


async def test_streams_are_bounded_in_number_and_let_go_of() -> None:
    async with both() as (proxy, admin):
        open_ones = [
            await admin.session.get("/faults/stream") for _ in range(MAX_LISTENERS)
        ]
        status, told = await admin.ask("/faults/stream")
        assert (status, "no room" in told["error"]) == (503, True)
        for response in open_ones:
            response.close()
        while proxy.app.recorder.book.hub.listeners:
            await asyncio.sleep(0)
        async with admin.session.get("/faults/stream") as got:
            assert got.status == 200


async def test_a_slow_reader_is_told_how_much_it_missed() -> None:
    async with both() as (proxy, admin), admin.session.get("/faults/stream") as got:
        await joined(proxy)
        recorder = proxy.app.recorder
        for _ in range(MAX_WAITING + 7):  # In one turn of the loop.
            recorder.event("ejection", "10.0.0.1:80", "again")
        events = Events(got)
        for _ in range(MAX_WAITING):
            assert (await events.next())["event"] == "event"
        assert await events.next() == {"event": "skipped", "data": "7"}
        assert recorder.book.hub.skipped == 7


async def test_who_takes_what_is_streamed_is_not_cut_as_silent() -> None:
    """And only for that does the time of a connection begin anew."""
    async with both() as (proxy, admin), admin.session.get("/faults/stream") as got:
        await joined(proxy)
        assert proxy.app.servers is not None
        _, runner = proxy.app.servers._running[-1]
        [guest] = runner.app[DOOR]._guests.values()
        before_s = guest._asked_s
        proxy.app.recorder.event("ejection", "10.0.0.1:80", "5xx")
        await Events(got).next()
        assert guest._asked_s > before_s


def test_a_stream_does_not_hold_the_end_of_the_process_up(tmp_path: Path) -> None:
    """SIGTERM: it is told, and the process is gone."""
    with serving(tmp_path) as addresses:
        stream = urlopen(f"http://{addresses['127.0.0.1:15000']}/faults/stream")
        assert stream.readline() == b"retry: 2000\n"
    with stream:
        text = stream.read().decode()
    assert '"kind": "drain"' in text
    assert text.endswith("event: end\ndata: draining\n\n")


async def test_streams_end_when_the_drain_begins() -> None:
    async with both() as (proxy, admin), admin.session.get("/faults/stream") as got:
        await joined(proxy)
        proxy.app.recorder.book.hub.close()
        events = Events(got)
        assert (await events.next())["event"] == "end"
        assert await got.content.read() == b""
        assert (await admin.ask("/faults/stream"))[0] == 503
