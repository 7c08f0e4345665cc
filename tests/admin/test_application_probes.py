"""The application's probes, asked by the sidecar for the kubelet."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from sidecar.admin.application import ApplicationProbes, url_of
from sidecar.application_probes import VARIABLE, ApplicationProbe, HttpGet, probes_of
from tests.support.certificates import Authority
from tests.support.proxy import OK, Origin, Talk, always_ok, proxied

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.typedefs import Handler

    from tests.support.proxy import Proxy


async def answered(
    proxy: Proxy, name: str, agent: str = "kube-probe/1.33"
) -> tuple[int, str]:
    """Return what the kubelet gets."""
    port = proxy.app.addresses["health"][1]
    url = f"http://127.0.0.1:{port}/application/{name}"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"User-Agent": agent}) as answer,
    ):
        return answer.status, await answer.text()


def ask(monkeypatch: pytest.MonkeyPatch, port: int, **probe: Any) -> None:
    probes = {"app/livenessProbe": {"number": port, **probe}}
    monkeypatch.setenv(VARIABLE, json.dumps(probes))


@pytest.mark.parametrize(
    ("status", "expected"), [(200, 200), (204, 200), (302, 200), (404, 503), (500, 503)]
)
async def test_http_is_a_success_from_200_to_399(
    monkeypatch: pytest.MonkeyPatch, status: int, expected: int
) -> None:
    async def script(talk: Talk) -> None:
        while await talk.request():
            line = f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n"
            await talk.send(line.encode())

    async with proxied(script) as origin:
        fields = [{"name": "Host", "value": "app.example"}]
        get = {"path": "/healthz?deep=1", "httpHeaders": fields, "port": "web"}
        ask(monkeypatch, origin.origin.port, httpGet=get)
        async with proxied() as proxy:
            found, text = await answered(proxy, "app/livenessProbe")
        assert found == expected
        assert f"answered {status}" in text
        (asked,) = origin.origin.requests
        assert asked.startswith(b"GET /healthz?deep=1 HTTP/1.1\r\n")
        assert b"Host: app.example\r\n" in asked
        assert b"User-Agent: kube-probe/1.33\r\n" in asked


async def test_who_asks_meanwhile_gets_the_same_answer() -> None:
    """Or anybody could keep the kubelet from its answer."""
    asked, come = asyncio.Event(), asyncio.Queue[str]()

    async def script(talk: Talk) -> None:
        while await talk.request():
            await asked.wait()
            await talk.send(OK)

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        come.put_nowait(request.path)
        return await handler(request)

    async with proxied(script) as origin:
        probe = ApplicationProbe(
            httpGet=HttpGet(), number=origin.origin.port, timeoutSeconds=30
        )
        probes = ApplicationProbes({"app/livenessProbe": probe})
        application = web.Application(middlewares=[note])
        application.router.add_get("/{name:.+}", probes.ask)
        application.on_cleanup.append(probes.close)
        async with TestClient(TestServer(application)) as client:
            stranger, kubelet, gone = (
                asyncio.create_task(client.get("/app/livenessProbe")) for _ in range(3)
            )
            for _ in range(3):
                await come.get()
            gone.cancel()
            asked.set()
            assert {(await stranger).status, (await kubelet).status} == {200}
            assert len(origin.origin.requests) == 1
            asked.clear()
            left = asyncio.create_task(client.get("/app/livenessProbe"))
            await come.get()
        with pytest.raises(ClientError):
            await left


async def test_a_stranger_has_no_say_in_what_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxied() as origin:
        ask(monkeypatch, origin.origin.port, httpGet={})
        async with proxied() as proxy:
            await answered(proxy, "app/livenessProbe", "evil")
        (asked,) = origin.origin.requests
    assert b"User-Agent: kube-probe/sidecar\r\n" in asked


async def test_what_is_sent_is_what_the_kubelet_sends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fields = [{"name": "X-Of", "value": "a"}, {"name": "X-Of", "value": "b"}]
    async with proxied() as origin:
        get = {"path": "//health z?a=b c", "httpHeaders": fields, "scheme": None}
        ask(monkeypatch, origin.origin.port, httpGet=get)
        async with proxied() as proxy:
            assert (await answered(proxy, "app/livenessProbe"))[0] == 200
        (asked,) = origin.origin.requests
    assert asked.startswith(b"GET //health%20z?a=b%20c HTTP/1.1\r\n")
    assert b"X-Of: a\r\nX-Of: b\r\n" in asked
    assert b"accept-encoding" not in asked.lower()


@given(st.text())
def test_no_path_leads_elsewhere(path: str) -> None:
    url = url_of(HttpGet(path=path), "10.0.0.1", 8080)
    assert (url.scheme, url.host, url.port) == ("http", "10.0.0.1", 8080)
    assert url.raw_path_qs.isascii()
    assert " " not in url.raw_path_qs


async def test_a_certificate_is_not_verified(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    origin = Origin(always_ok)
    context = Authority(tmp_path / "ca").server_context("other.test")
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    ask(monkeypatch, port, httpGet={"scheme": "HTTPS"})
    async with proxied() as proxy:
        assert (await answered(proxy, "app/livenessProbe"))[0] == 200
    assert len(origin.requests) == 1
    await origin.end()
    server.close()
    await server.wait_closed()


async def test_tcp_is_a_success_where_somebody_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxied() as origin:
        ask(monkeypatch, origin.origin.port, tcpSocket={"port": origin.origin.port})
        async with proxied() as proxy:
            assert (await answered(proxy, "app/livenessProbe"))[0] == 200
    async with proxied() as proxy:  # The origin is gone.
        status, text = await answered(proxy, "app/livenessProbe")
        assert status == 503
        assert "Connect call failed" in text


async def test_silence_is_a_failure_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.reader.read()

    async with proxied(script) as origin:
        ask(monkeypatch, origin.origin.port, httpGet={}, timeoutSeconds=0.2)
        async with proxied() as proxy:
            status, text = await answered(proxy, "app/livenessProbe")
    assert status == 503
    assert "not answered in time" in text


async def test_nothing_else_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxied() as origin:
        ask(monkeypatch, origin.origin.port, httpGet={})
        async with proxied() as proxy:
            assert (await answered(proxy, "app/readinessProbe"))[0] == 404
        assert origin.origin.connections == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"a": {"number": 0}}', '{"a": 1}'])
def test_what_cannot_be_read_is_logged(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert probes_of({VARIABLE: text}) == {}
    assert "inject the pod again" in caplog.text


def test_no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    fields = [{"name": "Authorization", "value": ["Bearer s3cret"]}]
    probe = {"number": 80, "httpGet": {"httpHeaders": fields}}
    assert probes_of({VARIABLE: json.dumps({"app/livenessProbe": probe})}) == {}
    assert "app/livenessProbe.httpGet.httpHeaders.0.value" in caplog.text
    assert "s3cret" not in caplog.text


def test_nothing_given_is_nothing() -> None:
    assert probes_of({}) == {}
