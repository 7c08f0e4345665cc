"""An application that fails, hangs, is slow, dies and comes again: over sockets."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sidecar.policy.health import HealthState
from tests.support.admin import Client, client_of
from tests.support.proxy import Proxy, Talk, header_of, proxied, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOOK_S = 0.01
FAST: dict[str, Any] = {
    "interval": "20ms",
    "timeout": "5s",
    "start_period": "0s",
    "unhealthy_after": 2,
    "healthy_after": 2,
    "liveness_after": "0s",
    "when_unhealthy": "refuse",
}
HTTP = {"http": {"path": "/healthz"}}


class Application:
    """Answers its check, and all else, as it is told to."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"fine"
        self.helped: list[bytes] = []
        self.is_hanging = False
        self.delay_s = 0.0
        self.checks = 0

    async def __call__(self, talk: Talk) -> None:
        while request := await talk.request():
            if b" /help " in request:
                self.helped.append(request)
                await self.answer(talk, 200)
                continue
            self.checks += b" /healthz " in request
            while self.is_hanging:
                await asyncio.sleep(LOOK_S)
            await asyncio.sleep(self.delay_s)
            is_check = b" /healthz " in request
            await self.answer(talk, self.status if is_check else 200)

    async def answer(self, talk: Talk, status: int) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(self.body)}\r\n\r\n"
        await talk.send(head.encode() + self.body)


@asynccontextmanager
async def checked(
    script: Application, way: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[Proxy, Client]]:
    """Run a sidecar that checks `script`; yield it and a client of its health."""
    settings = {**FAST, **(way or HTTP), **more}
    health = {"listen": "127.0.0.1:0", "application": settings}
    async with (
        proxied(script, top={"health": health}) as proxy,
        client_of(proxy, "health") as client,
    ):
        yield proxy, client


async def until(proxy: Proxy, state: HealthState) -> None:
    """Wait until the application is known to be so; the test's time bounds it."""
    while (tracker := proxy.app.recorder.application.tracker) is not None:
        if tracker.state is state:
            return
        await asyncio.sleep(LOOK_S)
    raise AssertionError


def faults_of(proxy: Proxy, code: str) -> list[str]:
    """Return the details of those that are of no request."""
    feed = proxy.app.recorder.feed.newest()
    return [f["detail"] for f in feed if f["code"] == code and not f["listener"]]


async def test_it_fails_is_refused_and_told_and_comes_back() -> None:
    application = Application()
    async with checked(application) as (proxy, health), client_of(proxy) as admin:
        await until(proxy, HealthState.HEALTHY)
        assert await health.ask("/healthz/ready") == (200, "ready\n")
        assert status_of(await proxy.get()) == 200
        application.status = 500
        await until(proxy, HealthState.UNHEALTHY)
        status, text = await health.ask("/healthz/ready")
        assert status == 503
        assert text.startswith("not ready: the application fails its check: GET http:")
        assert "/healthz: 500, " in text
        assert (await health.ask("/healthz/application"))[0] == 503
        assert (await health.ask("/healthz/live"))[0] == 200
        answer = await proxy.get(method="POST")
        assert status_of(answer) == 503
        assert header_of(answer, "x-316-code") == "316-LOCAL-UNHEALTHY"
        assert header_of(answer, "x-316-processed") == "no"
        told = await admin.get("/application")
        assert (told["state"], told["checks"][0]["reason"]) == ("unhealthy", "500")
        application.status = 200
        await until(proxy, HealthState.HEALTHY)
        assert await health.ask("/healthz/ready") == (200, "ready\n")
        assert (await health.ask("/healthz/application"))[0] == 200
        assert status_of(await proxy.get()) == 200
        [detail] = faults_of(proxy, "316-LOCAL-UNHEALTHY")
        assert detail.endswith("/healthz: 500, 2 times")
        events = await admin.get("/events?kind=application")
        assert [e["to"] for e in events] == ["healthy", "unhealthy", "healthy"]


async def test_it_is_not_ready_before_it_has_passed_once() -> None:
    """Failures of the start period do not make it unhealthy: requests pass."""
    application = Application()
    application.status = 503
    async with checked(application, start_period="1h") as (proxy, health):
        while application.checks < 4:
            await asyncio.sleep(LOOK_S)
        status, text = await health.ask("/healthz/ready")
        assert (status, "has not passed its check yet" in text) == (503, True)
        assert (await health.ask("/healthz/application"))[0] == 200
        assert status_of(await proxy.get()) == 200
        application.status = 200
        await until(proxy, HealthState.HEALTHY)
        assert (await health.ask("/healthz/ready"))[0] == 200


async def test_requests_pass_unless_something_else_is_wanted() -> None:
    """What fails its check may answer some of them: slow is not to become down."""
    application = Application()
    application.status = 500
    settings = {key: FAST[key] for key in FAST if key != "when_unhealthy"} | HTTP
    top = {"health": {"listen": "127.0.0.1:0", "application": settings}}
    async with (
        proxied(application, top=top) as proxy,
        client_of(proxy, "health") as health,
    ):
        await until(proxy, HealthState.UNHEALTHY)
        assert (await health.ask("/healthz/ready"))[0] == 503
        assert status_of(await proxy.get()) == 200


async def test_a_route_that_is_never_shed_reaches_it_still() -> None:
    application = Application()
    application.status = 500
    top = {"health": {"listen": "127.0.0.1:0", "application": {**FAST, **HTTP}}}
    async with proxied(application, top=top, shed=False) as proxy:
        await until(proxy, HealthState.UNHEALTHY)
        assert status_of(await proxy.get("/healthz")) == 500


async def test_a_hang_is_suspected_to_be_a_lock_once_an_episode() -> None:
    """Beside what readiness says; and again when it hangs again."""
    application = Application()
    async with checked(application, timeout="300ms") as (proxy, _):
        for episode in (1, 2):
            await until(proxy, HealthState.HEALTHY)
            application.is_hanging = True
            await until(proxy, HealthState.UNHEALTHY)
            seen = application.checks
            while application.checks < seen + 2:  # It goes on, and is told no more.
                await asyncio.sleep(LOOK_S)
            suspected = faults_of(proxy, "316-LOCK-SUSPECT")
            assert len(suspected) == episode
            assert "took the connection and answered nothing" in suspected[0]
            assert "stack dump" in suspected[0]
            assert len(faults_of(proxy, "316-LOCAL-UNHEALTHY")) == episode
            application.is_hanging = False


async def test_slow_is_unhealthy_by_its_response_time() -> None:
    application = Application()
    async with checked(application, response_time="100ms") as (proxy, health):
        await until(proxy, HealthState.HEALTHY)
        application.delay_s = 0.15
        await until(proxy, HealthState.UNHEALTHY)
        assert "over response_time (0.1 s)" in (await health.ask("/healthz/ready"))[1]
        assert faults_of(proxy, "316-LOCK-SUSPECT") == []
        application.delay_s = 0.0
        await until(proxy, HealthState.HEALTHY)


async def test_a_body_without_the_word_is_a_failure() -> None:
    application = Application()
    way = {"http": {"path": "/healthz", "body_contains": "fine", "status": [200]}}
    async with checked(application, way) as (proxy, health):
        await until(proxy, HealthState.HEALTHY)
        application.body = b"sick"
        await until(proxy, HealthState.UNHEALTHY)
        text = (await health.ask("/healthz/ready"))[1]
        assert "200, without 'fine' in its body" in text


async def test_the_hook_is_a_request_that_is_sent_as_often_as_it_may() -> None:
    application = Application()
    application.status = 500
    async with proxied(application) as helper:  # Any server will do.
        hook = {
            "http": {
                "url": f"http://127.0.0.1:{helper.origin.port}/help",
                "headers": {"X-Key": "k"},
            },
            "min_interval": "1h",
        }
        async with (
            checked(application, recovery=hook) as (proxy, _),
            client_of(proxy) as admin,
        ):
            while len((await admin.get("/application"))["hooks"]) < 2:
                await asyncio.sleep(LOOK_S)
            skipped, ran = (await admin.get("/application"))["hooks"]
            assert (ran["result"], ran["detail"]) == ("succeeded", "answered 200")
            assert skipped["result"] == "skipped"
            assert "(min_interval)" in skipped["detail"]
            [request] = application.helped
            assert request.startswith(b"POST /help HTTP/1.1\r\n")
            assert b"X-Key: k" in request
            events = await admin.get("/events?kind=application")
            assert any("recovery hook succeeded" in e["detail"] for e in events)


async def test_the_hook_is_a_command_that_heals(tmp_path: Path) -> None:
    """The check is a command, too: it looks for what the hook makes."""
    healed = tmp_path / "healed"
    look = f"import pathlib, sys; sys.exit(not pathlib.Path({str(healed)!r}).exists())"
    heal = (
        f"import os, pathlib; pathlib.Path({str(healed)!r})"
        ".write_text(os.environ['SIDECAR_CHECK_REASON'])"
    )
    way = {"command": [sys.executable, "-c", look]}
    hook = {"command": [sys.executable, "-c", heal], "after": 2}
    async with checked(Application(), way, recovery=hook) as (proxy, health):
        await until(proxy, HealthState.UNHEALTHY)
        await until(proxy, HealthState.HEALTHY)
        assert (await health.ask("/healthz/ready"))[0] == 200
    assert healed.read_text(encoding="utf-8") == "ended with 1"


async def test_what_a_command_says_is_not_for_the_network() -> None:
    """It may hold secrets, as of a database: the log and the admin API have it."""
    way = {"command": ["sh", "-c", "echo postgres://u:secret@db; exit 1"]}
    async with (
        checked(Application(), way) as (proxy, health),
        client_of(proxy) as admin,
    ):
        await until(proxy, HealthState.UNHEALTHY)
        for path in ("/healthz/ready", "/healthz/application"):
            status, text = await health.ask(path)
            assert (status, "secret" in text) == (503, False)
        assert b"secret" not in await proxy.get()
        told = (await admin.get("/application"))["checks"][0]["reason"]
        assert told == "ended with 1: postgres://u:secret@db"
        assert "secret" in faults_of(proxy, "316-LOCAL-UNHEALTHY")[0]


async def test_the_end_does_not_wait_for_a_command(tmp_path: Path) -> None:
    """A check and a hook under way are killed, with what they have started."""
    began = tmp_path / "began"
    script = f"touch {began}; sleep 1000 & wait"
    hook = {"command": ["sh", "-c", script], "timeout": "10m"}
    way = {"command": ["sh", "-c", "exit 1"]}
    async with checked(Application(), way, recovery=hook):
        while not began.exists():
            await asyncio.sleep(LOOK_S)


async def test_too_much_memory_is_unhealthy() -> None:
    """Of a process of its own, and what that has started; here: a share of nothing."""
    program = (
        "import http.server as h; s = h.HTTPServer(('127.0.0.1', 0),"
        " h.SimpleHTTPRequestHandler); print(s.server_port, flush=True);"
        " s.serve_forever()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        way = {"tcp": {"port": port}}
        async with checked(Application(), way, memory="1MiB") as (proxy, health):
            await until(proxy, HealthState.UNHEALTHY)
            text = (await health.ask("/healthz/ready"))[1]
            assert "memory: " in text
            assert "bytes resident, over 1048576" in text
            metrics = (await health.ask("/metrics"))[1]
            assert "sidecar_application_memory_bytes " in metrics
    finally:
        process.kill()
        await process.communicate()


async def test_memory_that_is_not_seen_fails_nothing() -> None:
    """The application is in this very process: nobody else listens on its port."""
    async with (
        checked(Application(), memory="1MiB") as (proxy, _),
        client_of(proxy) as admin,
    ):
        await until(proxy, HealthState.HEALTHY)
        while not (told := await admin.get("/application"))["memory_problem"]:
            await asyncio.sleep(LOOK_S)
        assert "shareProcessNamespace" in told["memory_problem"]
        assert told["state"] == "healthy"


async def test_one_that_dies_and_comes_again_is_ready_again() -> None:
    application = Application()
    async with checked(application) as (proxy, health):
        await until(proxy, HealthState.HEALTHY)
        server = await asyncio.start_server(proxy.origin.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        way = {"http": {"path": "/healthz", "port": port}}
        async with checked(application, way) as (other, other_health):
            await until(other, HealthState.UNHEALTHY)
            assert "Connection refused" in (await other_health.ask("/healthz/ready"))[1]
            server = await asyncio.start_server(
                other.origin.serve, "127.0.0.1", port, reuse_address=True
            )
            await until(other, HealthState.HEALTHY)
            assert (await other_health.ask("/healthz/ready"))[0] == 200
            server.close()
        assert (await health.ask("/healthz/ready"))[0] == 200


async def test_metrics_tell_of_it_only_where_it_is_checked() -> None:
    async with checked(Application()) as (proxy, health):
        await until(proxy, HealthState.HEALTHY)
        text = (await health.ask("/metrics"))[1]
        assert "sidecar_application_healthy 1.0" in text
        assert 'sidecar_application_checks_total{result="passed"}' in text
        assert "sidecar_application_check_duration_seconds_count" in text
    async with proxied() as proxy, client_of(proxy, "health") as health:
        text = (await health.ask("/metrics"))[1]
        assert "\nsidecar_application_healthy " not in text
        assert await health.ask("/healthz/application") == (
            200,
            "not checked: see health.application\n",
        )
        assert proxy.app.recorder.application.tracker is None


async def test_a_peer_goes_elsewhere_with_what_is_refused() -> None:
    """Whatever the method: no request is lost to a pod that is not well."""
    sick, well = Application(), Application()
    sick.status = 500
    async with checked(sick) as (sick_pod, _), checked(well) as (well_pod, _):
        await until(sick_pod, HealthState.UNHEALTHY)
        await until(well_pod, HealthState.HEALTHY)
        endpoints = [f"127.0.0.1:{pod.port}" for pod in (sick_pod, well_pod)]
        async with proxied(endpoints=endpoints, upstream={"is_peer": True}) as caller:
            answers = [await caller.post() for _ in range(6)]
            assert {status_of(answer) for answer in answers} == {200}
        assert len(well_pod.origin.requests) >= 6


async def test_what_the_application_sends_to_others_is_not_refused() -> None:
    """Only what comes in for it is."""
    sick = Application()
    sick.status = 500
    top = {
        "health": {"listen": "127.0.0.1:0", "application": {**FAST, **HTTP}},
        "outbound": {"listen": "127.0.0.1:0"},
        "routes": [
            {"name": "in", "upstream": "app"},
            {"name": "out", "upstream": "app", "listener": "outbound"},
        ],
    }
    async with proxied(sick, top=top) as proxy:
        await until(proxy, HealthState.UNHEALTHY)
        assert status_of(await proxy.get()) == 503
        port = proxy.app.addresses["outbound"][1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert status_of(await reader.read()) == 200
        writer.close()
