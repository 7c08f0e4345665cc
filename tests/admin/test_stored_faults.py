"""The fault feed of a sidecar with `faults.store`: pages, restarts, troubles."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sidecar.record.feed.fault_feed import KEPT
from sidecar.record.feed.fault_schema import VERSION
from sidecar.settings.differences import needs_restart
from sidecar.settings.load import load_text
from tests.admin.test_faults import both, details, fail

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def kept_in(path: Path, **more: Any) -> dict[str, Any]:
    return {"top": {"faults": {"store": str(path), **more}}}


async def test_records_outlive_the_process_and_pages_go_on_into_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "faults.db"
    async with both(**kept_in(path)) as (proxy, _):
        for number in range(3):
            fail(proxy, number)
    async with both(**kept_in(path)) as (proxy, admin):
        for number in range(3, 5):
            fail(proxy, number)
        seen, url = [], "/faults?limit=2&route=all"
        while url:
            async with admin.session.get(url) as got:
                seen += [record["detail"] for record in await got.json()]
                url = str(got.links["next"]["url"]) if "next" in got.links else ""
        assert seen == [f"number {n}" for n in range(4, -1, -1)]
        old = await admin.get(f"/faults/{0:020x}")  # Of the process before.
        assert old["detail"] == "number 0"
        assert old["build"]["python"]
        assert await details(admin, "text=number+1") == ["number 1"]
        async with admin.session.get("/faults?format=jsonl&route=all") as got:
            assert len((await got.text()).splitlines()) == 5
        assert (await admin.get("/"))["fault_store"] == {"state": "on", "problem": ""}


async def test_what_memory_has_no_more_is_on_disk(tmp_path: Path) -> None:
    async with both(**kept_in(tmp_path / "faults.db")) as (proxy, admin):
        feed, store = proxy.app.recorder.feed, proxy.app.recorder.book.store
        assert store is not None
        fail(proxy, 1)
        while store.written < 1:
            await admin.get("/")
        for _ in range(KEPT):
            feed.add(feed._ring[0])  # Others have taken its place.
        feed._ring.clear()
        assert await details(admin, "route=all") == ["number 1"]


async def test_a_file_of_a_newer_sidecar_is_told_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "faults.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {VERSION + 1}")
        file.commit()
    async with both(**kept_in(path)) as (proxy, admin):
        assert "kept in memory alone" in caplog.text
        told = (await admin.get("/"))["fault_store"]
        assert told["state"] == "failed"
        assert "newer" in told["problem"]
        fail(proxy, 1)
        assert await details(admin, "route=all") == ["number 1"]


async def test_without_a_file_nothing_is_written() -> None:
    async with both() as (proxy, admin):
        assert proxy.app.recorder.book.store is None
        assert (await admin.get("/"))["fault_store"] == {"state": "off"}


def test_another_file_needs_a_restart() -> None:
    text = "upstreams: {app: {endpoints: ['127.0.0.1:1']}}\n"
    text += "routes: [{name: all, upstream: app}]\n"
    old = load_text(text).snapshot
    new = load_text(text + "faults: {store: /tmp/x.db, store_age: 1h}\n").snapshot
    assert needs_restart(old, new) == ["faults.store", "faults.store_age"]


async def test_no_secret_of_a_request_gets_into_the_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.db"
    async with both(**kept_in(path)) as (proxy, _):
        await proxy.get(
            "/?token=canary-query", "Authorization: Bearer canary-header",
            "x-316-deadline-ms: x",
        )  # fmt: skip
    with closing(sqlite3.connect(path)) as file:
        rows = file.execute("SELECT record FROM faults").fetchall()
    assert any(json.loads(row[0])["route"] == "all" for row in rows)
    assert "canary" not in str(rows)
