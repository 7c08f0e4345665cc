"""The monitor beside a reload, a drain, and what the traffic has found itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.health.probes import HttpProbe
from sidecar.policy.health import Answer, HealthState, Sign
from sidecar.readiness import NotReady
from tests.health.test_life_of_an_application import (
    FAST,
    HTTP,
    LOOK_S,
    Application,
    checked,
    faults_of,
    until,
)
from tests.support.admin import client_of
from tests.support.proxy import proxied, status_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.proxy import Proxy, Talk


def write(file: Path, proxy: Proxy, application: dict[str, Any] | None) -> None:
    """Write what a reload reads."""
    health = {"listen": "127.0.0.1:0", "application": application}
    settings = {
        "inbound": {"listen": "127.0.0.1:0"},
        "admin": {"listen": "127.0.0.1:0"},
        "health": health,
        "upstreams": {"app": {"endpoints": [f"127.0.0.1:{proxy.origin.port}"]}},
        "routes": [{"name": "all", "upstream": "app"}],
        "telemetry": {"access_log": {"mode": "off"}},
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")


async def test_a_check_that_a_reload_brings_takes_nothing_out_of_service(
    tmp_path: Path,
) -> None:
    """Before it has failed; one that it takes away leaves nothing behind."""
    application, file = Application(), tmp_path / "sidecar.yaml"
    application.status = 500
    async with proxied(application, config=file) as proxy:
        write(file, proxy, FAST | HTTP | {"interval": "1h"})
        assert (await proxy.app.reloader.reload("a test")).result == "applied"
        assert proxy.app.not_ready_reason == ""
        write(file, proxy, FAST | HTTP)
        assert (await proxy.app.reloader.reload("a test")).result == "applied"
        await until(proxy, HealthState.UNHEALTHY)
        assert status_of(await proxy.get()) == 503
        write(file, proxy, None)
        done = await proxy.app.reloader.reload("a test")
        assert any(text.startswith("application: ") for text in done.changes)
        assert proxy.app.not_ready_reason == ""
        assert status_of(await proxy.get()) == 200


async def test_what_did_not_change_keeps_its_counts_and_what_did_its_state(
    tmp_path: Path,
) -> None:
    application, file = Application(), tmp_path / "sidecar.yaml"
    async with proxied(application, config=file) as proxy:
        write(file, proxy, FAST | HTTP)
        await proxy.app.reloader.reload("a test")
        application.status = 500
        await until(proxy, HealthState.UNHEALTHY)
        record = proxy.app.recorder.application
        tracker = record.tracker
        text = file.read_text(encoding="utf-8")
        file.write_text(text + "drain: {lead: 7s}\n", encoding="utf-8")
        assert (await proxy.app.reloader.reload("a test")).changes == [
            "drain lead: 5s -> 7s"
        ]
        assert record.tracker is tracker
        write(file, proxy, FAST | HTTP | {"when_unhealthy": "pass"})
        await proxy.app.reloader.reload("a test")
        assert record.tracker is not tracker
        assert "500" in proxy.app.not_ready_reason
        assert status_of(await proxy.get()) == 200  # It passes from now on.
        assert len(faults_of(proxy, "316-LOCAL-UNHEALTHY")) == 1


async def test_a_drain_ends_checks_and_is_what_is_told() -> None:
    """One that was unhealthy then may be well by now: no restart is wanted."""
    application = Application()
    application.status = 500
    async with checked(application) as (proxy, health):
        await until(proxy, HealthState.UNHEALTHY)
        assert (await health.ask("/healthz/application"))[0] == 503
        running = asyncio.create_task(proxy.app.run())
        proxy.app.ask_to_end("a test")
        while proxy.app.not_ready_reason != "draining":
            await asyncio.sleep(LOOK_S)
        proxy.app.readiness.release(NotReady.UNHEALTHY)
        assert (await health.ask("/healthz/ready"))[1] == "not ready: draining\n"
        assert not proxy.app._monitor._tasks
        assert (await health.ask("/healthz/application"))[0] == 200
        proxy.app.ask_to_end("at once")
        await running


async def test_what_the_traffic_has_told_is_not_told_again() -> None:
    application = Application()
    async with checked(application, timeout="300ms") as (proxy, _):
        await until(proxy, HealthState.HEALTHY)
        silence = proxy.app.recorder.silence
        assert silence.check_waited(["app"], 0.0, 1)  # As if by traffic.
        silence.silences["app"].unanswered = 3
        application.is_hanging = True
        await until(proxy, HealthState.UNHEALTHY)
        seen = application.checks
        while application.checks < seen + 2:
            await asyncio.sleep(LOOK_S)
        assert faults_of(proxy, "316-LOCK-SUSPECT") == []
        assert len(faults_of(proxy, "316-LOCAL-UNHEALTHY")) == 1


async def test_what_cannot_be_asked_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    application = Application()
    async with checked(application, start_period="0s") as (proxy, _):
        await until(proxy, HealthState.HEALTHY)

        async def ask(_: HttpProbe, __: float) -> Answer:
            return Answer(Sign.UNASKED, "Too many open files")

        monkeypatch.setattr(HttpProbe, "ask", ask)
        record = proxy.app.recorder.application
        while record.results["unasked",] < 5:
            await asyncio.sleep(LOOK_S)
        assert proxy.app.not_ready_reason == ""
        assert faults_of(proxy, "316-LOCAL-UNHEALTHY") == []


async def test_why_no_hook_runs_is_told_in_every_episode() -> None:
    application = Application()
    hook = {"command": ["true"], "min_interval": "1h"}
    async with (
        checked(application, recovery=hook) as (proxy, _),
        client_of(proxy) as admin,
    ):
        for told in (2, 3):  # One has run, one has not; then one has not, again.
            await until(proxy, HealthState.HEALTHY)
            application.status = 500
            while len((await admin.get("/application"))["hooks"]) < told:
                await asyncio.sleep(LOOK_S)
            application.status = 200


async def test_a_check_that_hangs_alone_is_no_lock() -> None:
    """Requests are answered meanwhile: the page of the check is what hangs."""

    class Hanging(Application):
        async def __call__(self, talk: Talk) -> None:
            while request := await talk.request():
                if b" /healthz " in request and self.is_hanging:
                    self.checks += 1
                    await asyncio.sleep(1000)
                await self.answer(talk, 200)

    application = Hanging()
    async with checked(application, timeout="100ms", when_unhealthy="pass") as (
        proxy,
        _,
    ):
        await until(proxy, HealthState.HEALTHY)
        application.is_hanging = True
        while application.checks < 5:
            assert status_of(await proxy.get()) == 200
            await asyncio.sleep(LOOK_S)
        await until(proxy, HealthState.UNHEALTHY)
        assert len(faults_of(proxy, "316-LOCAL-UNHEALTHY")) == 1
        assert faults_of(proxy, "316-LOCK-SUSPECT") == []


async def test_one_hook_runs_at_a_time_and_checks_go_on(tmp_path: Path) -> None:
    application = Application()
    application.status = 500
    began = tmp_path / "began"
    script = f"echo once >>{began}; sleep 1000"
    hook = {"command": ["sh", "-c", script], "timeout": "10m", "min_interval": "0s"}
    async with (
        checked(application, recovery=hook) as (proxy, _),
        client_of(proxy) as admin,
    ):
        while not began.exists():
            await asyncio.sleep(LOOK_S)
        seen = application.checks
        while application.checks < seen + 3:
            await asyncio.sleep(LOOK_S)
        application.status = 200
        await until(proxy, HealthState.HEALTHY)
        assert (await admin.get("/application"))["hooks"] == []  # It still runs.
    assert began.read_text(encoding="utf-8") == "once\n"


async def test_of_two_upstreams_the_record_names_the_one_that_is_asked(
    tmp_path: Path,
) -> None:
    application, file = Application(), tmp_path / "sidecar.yaml"
    async with proxied(application, config=file) as proxy:
        write(file, proxy, FAST | HTTP)
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        settings["upstreams"]["aside"] = {"endpoints": ["127.0.0.1:9"]}
        settings["health"]["application"]["http"]["port"] = proxy.origin.port
        match = {"path": {"type": "PathPrefix", "value": "/aside"}}
        route = {"name": "aside", "upstream": "aside", "matches": [match]}
        settings["routes"].insert(0, route)
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        assert (await proxy.app.reloader.reload("a test")).result == "applied"
        application.status = 500
        await until(proxy, HealthState.UNHEALTHY)
        [told] = proxy.app.recorder.feed.newest(code="316-LOCAL-UNHEALTHY")
        assert told["upstream"] == "app"
