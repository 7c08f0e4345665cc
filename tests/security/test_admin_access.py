"""Who may change what over the admin API, reached by TCP."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sidecar.admin.access import Access, Throttle, Way
from sidecar.admin.token import VARIABLE, AdminToken
from tests.support.admin import KNOWING, TOKEN, Client, client_of
from tests.support.clock import FakeClock
from tests.support.proxy import Proxy, proxied

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

OPEN = {"state": "open", "for_s": 60}
CHANGES = [
    ("POST", "/breakers/all", OPEN),
    ("PUT", "/breakers/all", OPEN),
    ("DELETE", "/breakers/all", None),
    ("POST", "/upstreams/app/endpoints/127.0.0.1:1", {"state": "ejected"}),
    ("POST", "/log-level", "debug"),
    ("PUT", "/log-level", "debug"),
]
NOBODY = {"Authorization": ""}


@pytest.fixture(autouse=True)
def level() -> Iterator[int]:
    """Put the level back that a test has changed."""
    logger = logging.getLogger("sidecar")
    before = logger.level
    yield before
    logger.setLevel(before)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Proxy, Client]]:
    async with proxied() as proxy, client_of(proxy) as admin:
        yield proxy, admin


async def state_of(proxy: Proxy, admin: Client) -> Any:
    """Return all that a caller could have changed."""
    breaker = (await admin.get("/breakers"))[0]["state"]
    return breaker, logging.getLogger("sidecar").level, proxy.app.not_ready_reason


def refused(proxy: Proxy) -> dict[str, int]:
    return proxy.app.recorder.store.admin_refused


@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
async def test_without_a_token_of_its_own_nothing_can_be_changed(
    method: str, path: str, body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with a token that nobody configured; the answer says how to allow it."""
    monkeypatch.delenv(VARIABLE, raising=False)
    async with both() as (proxy, admin):
        before = await state_of(proxy, admin)
        for headers in (NOBODY, KNOWING):
            status, told = await admin.ask(path, method, body=body, **headers)
            assert status == 403
            assert "admin.token_file" in told["error"]
            assert "admin.socket" in told["error"]
        assert await state_of(proxy, admin) == before
        assert refused(proxy) == {"not enabled": 2}


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(("method", "path", "body"), CHANGES)
@pytest.mark.parametrize(
    ("given", "is_wrong"),
    [
        ("", False),
        ("Bearer", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        (f"Bearer {TOKEN[:-1]}", True),
        (f"Bearer {TOKEN}x", True),
        (f"Bearer {TOKEN.upper()}", True),
        ("Bearer \xff\xfe", True),
    ],
)
async def test_a_change_without_the_right_token_gets_401(
    method: str, path: str, body: Any, given: str, *, is_wrong: bool
) -> None:
    """RFC 6750, 3: the challenge says whether the token was wrong or missing."""
    async with both() as (proxy, admin):
        before = await state_of(proxy, admin)
        async with admin.session.request(
            method, path, json=body, headers={"Authorization": given}
        ) as got:
            assert got.status == 401
            challenge = got.headers["WWW-Authenticate"]
            assert challenge.startswith('Bearer realm="sidecar admin"')
            assert ('error="invalid_token"' in challenge) is is_wrong
            assert TOKEN not in await got.text()
        assert await state_of(proxy, admin) == before
        assert refused(proxy) == {("wrong token" if is_wrong else "no token"): 1}


@pytest.mark.usefixtures("token")
async def test_with_the_token_a_post_changes_what_it_says() -> None:
    async with both() as (_, admin):
        status, told = await admin.ask("/breakers/all", "POST", body=OPEN)
        assert (status, told["state"]) == (200, "open")
        status, told = await admin.ask("/log-level", "POST", body="debug")
        assert (status, told) == (200, {"level": "debug"})


@pytest.mark.usefixtures("token")
async def test_no_get_or_head_changes_anything_whatever_it_carries() -> None:
    """Every path there is, with a body, a query and the headers that ask for more."""
    asking = {
        "X-HTTP-Method-Override": "POST",
        "X-HTTP-Method": "DELETE",
        "X-Method-Override": "PUT",
        **KNOWING,
    }
    async with both() as (proxy, admin):
        before = await state_of(proxy, admin)
        paths = (await admin.get("/"))["paths"]
        assert "/breakers/{name}" in paths
        for path in paths:
            there = path.replace("{name}", "all").replace("{id}", "1")
            there += "?_method=POST&method=POST&state=open&level=debug"
            for method in ("GET", "HEAD", "OPTIONS", "TRACE", "PATCH"):
                for body in (json.dumps(OPEN), "debug"):
                    await admin.ask(there, method, body=body, **asking)
        assert await state_of(proxy, admin) == before


@pytest.mark.usefixtures("token")
async def test_no_handler_that_changes_something_is_reached_by_another_method() -> None:
    """So the rule by method holds for every handler: read off the router itself."""
    async with both() as (proxy, _):
        servers = proxy.app.servers
        assert servers is not None
        methods: dict[Any, set[str]] = {}
        for _, runner in servers._running:
            for route in runner.app.router.routes():
                methods.setdefault(route.handler.__name__, set()).add(route.method)
    safe = {"GET", "HEAD"}
    assert {name for name, of in methods.items() if not of <= safe} == {
        "hold_breaker",
        "release_breaker",
        "hold_endpoint",
        "release_endpoint",
        "silence",
        "unsilence",
        "set_log_level",
        "reload",
        "quit",
    }
    assert all(of <= safe or of.isdisjoint(safe) for of in methods.values())


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.test"},
        {"Host": "127.0.0.1.evil.test:15000"},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
async def test_a_page_that_even_knows_the_token_changes_nothing(
    headers: dict[str, str],
) -> None:
    """It could have read the token nowhere; but one guard more costs nothing."""
    async with both() as (proxy, admin):
        before = await state_of(proxy, admin)
        status, _ = await admin.ask("/breakers/all", "POST", body=OPEN, **headers)
        assert status == 403
        assert await state_of(proxy, admin) == before


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"],
)
async def test_what_a_form_can_send_changes_nothing(kind: str) -> None:
    """A form cannot set Authorization, and nobody is told that a page may."""
    async with both() as (proxy, admin):
        before = await state_of(proxy, admin)
        headers = {**NOBODY, "Content-Type": kind}
        status, _ = await admin.ask("/breakers/all", "POST", body=OPEN, **headers)
        assert status == 401
        asking = {
            "Origin": "http://evil.test",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        async with admin.session.options("/breakers/all", headers=asking) as got:
            assert got.status == 405
            assert not any(
                name.lower().startswith("access-control") for name in got.headers
            )
        assert await state_of(proxy, admin) == before


@pytest.mark.usefixtures("token")
async def test_wrong_tokens_are_heard_ten_times_then_once_a_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, counts = FakeClock(), dict[str, int]()

    def count(reason: str) -> None:
        counts[reason] = counts.get(reason, 0) + 1

    token = AdminToken(None, {VARIABLE: TOKEN})
    access = Access(Way.LOOPBACK, token, Throttle(clock), clock, count)

    def status(given: str) -> int:
        found = access.refusal("POST", "/log-level", f"Bearer {given}")
        return 200 if found is None else found.status

    assert [status("wrong") for _ in range(12)] == [401] * 10 + [429] * 2
    assert status(TOKEN) == 429  # Guessing on would tell nothing.
    clock.advance(1.0)
    assert status(TOKEN) == 200
    assert status(TOKEN) == 200  # A right one uses nothing up.
    assert [status("wrong") for _ in range(2)] == [401, 429]
    assert counts == {"wrong token": 11, "too many": 4}
    assert "wrong token" in caplog.text
    assert len(caplog.records) <= 11  # Lines are bounded like the tries.
    assert TOKEN not in caplog.text


async def test_beyond_loopback_reading_needs_the_token_too(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n", encoding="utf-8")
    file.chmod(0o400)
    admin_keys = {"listen": "0.0.0.0:0", "token_file": str(file)}
    async with proxied(top={"admin": admin_keys}) as proxy:
        port = proxy.app.addresses["admin"][1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            admin = Client(session)
            for path in ("/", "/config", "/faults", "/none"):
                assert (await admin.ask(path))[0] == 401
            assert (await admin.ask("/config", **KNOWING))[0] == 200
            assert (await admin.ask("/log-level", **KNOWING))[0] == 200


async def test_every_answer_tells_browsers_to_keep_out_of_it() -> None:
    async with proxied() as proxy:
        for server, path in (("admin", "/config"), ("admin", "/none"),
                             ("health", "/metrics"), ("health", "/none")):  # fmt: skip
            async with (
                client_of(proxy, server) as client,
                client.session.get(path) as got,
            ):
                assert got.headers["Cache-Control"] == "no-store"
                assert got.headers["X-Content-Type-Options"] == "nosniff"
                assert (
                    "frame-ancestors 'none'" in got.headers["Content-Security-Policy"]
                )
                assert "aiohttp" not in got.headers["Server"]


async def test_the_health_server_answers_reads_alone() -> None:
    async with proxied() as proxy, client_of(proxy, "health") as health:
        before = proxy.app.not_ready_reason
        for path in ("/healthz/ready", "/healthz/live", "/metrics"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
                assert (await health.ask(path, method))[0] == 405
            assert (await health.ask(path, "HEAD"))[0] == 200
        assert proxy.app.not_ready_reason == before


@pytest.mark.usefixtures("token")
async def test_what_is_refused_is_logged_in_words_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No path, no Host and no token of whoever asked."""
    async with both() as (_, admin):
        await admin.ask("/canary-path%0aINFO", "POST", **NOBODY)
        await admin.ask("/breakers/canary", "POST", Authorization="Bearer canary-token")
        await admin.ask("/config", Host="canary.test")
        await admin.ask("/config", "POST", Origin="http://canary.test")
    assert caplog.text.count("refused") == 4
    assert "canary" not in caplog.text
