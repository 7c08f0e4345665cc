"""Watches begin and end with the configuration, and with the sidecar."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.certificates import Authority
from tests.support.discovered import discovered
from tests.support.name_server import NameServer, name_server
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from sidecar.settings.snapshot import Snapshot
    from tests.support.discovered import Discovered

PAGES = "pages.test."


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as found:
        found.records[PAGES, "A"] = ["10.0.0.1"]
        yield found


def asking(server: NameServer) -> AbstractAsyncContextManager[Discovered]:
    return discovered({"dns": {"name": PAGES, "port": 80}}, shared(server))


def shared(server: NameServer) -> dict[str, Any]:
    return {"nameservers": [f"127.0.0.1:{server.port}"], "first_answer": "20s"}


def asking_for_another(found: Discovered) -> Snapshot:
    """Return a configuration with a source that nobody asks yet."""
    app = found.snapshot.upstreams["app"]
    assert app.discovery is not None
    other = replace(app, discovery=replace(app.discovery, port=81))
    return replace(found.snapshot, upstreams={"app": other})


async def test_nothing_runs_on_once_all_is_closed(server: NameServer) -> None:
    """Nor what a reload has ended just before."""
    before = asyncio.all_tasks()
    async with asking(server) as found:
        found.watches.follow(replace(found.snapshot, upstreams={}))
        await found.watches.close()
        assert asyncio.all_tasks() == before


async def test_who_waits_for_first_answers_is_sent_away_by_the_end(
    server: NameServer,
) -> None:
    before = asyncio.all_tasks()
    async with asking(server) as found:
        server.is_silent = True
        waiting = asyncio.ensure_future(
            found.watches.prepare(asking_for_another(found))
        )
        await server.until_asked("A")
        await found.watches.close()
        assert await waiting is False
        assert asyncio.all_tasks() == before


async def test_after_the_end_nothing_begins(server: NameServer) -> None:
    before = asyncio.all_tasks()
    async with asking(server) as found:
        await found.watches.close()
        assert await found.watches.prepare(asking_for_another(found)) is False
        assert asyncio.all_tasks() == before


async def test_a_reload_that_comes_to_nothing_leaves_no_watch(
    server: NameServer, tmp_path: Path
) -> None:
    """Such as one whose certificates go while the first answers are waited for."""
    authority = Authority(tmp_path / "authority")
    app = {
        "discovery": {"dns": {"name": PAGES, "port": 443}},
        "tls": {"ca_file": authority.ca_file},
    }
    settings = {
        "upstreams": {"app": app},
        "routes": [{"name": "all", "upstream": "app"}],
        "discovery": shared(server) | {"first_answer": "100ms"},
    }
    file = tmp_path / "sidecar.yaml"
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    server.is_silent = True
    async with proxied(endpoints=["127.0.0.1:1"], config=file) as proxy:
        reload = asyncio.ensure_future(proxy.app.reloader.reload("a test"))
        await server.until_asked("A")
        (tmp_path / "authority" / "ca.pem").unlink()
        assert (await reload).result == "rejected"
        assert proxy.app.runtime.findings == {}
