"""The application's probes, asked by the sidecar for the kubelet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from sidecar.application_probes import VARIABLE, probes_of
from tests.support.proxy import Talk, proxied

if TYPE_CHECKING:
    from tests.support.proxy import Proxy


async def answered(proxy: Proxy, name: str) -> tuple[int, str]:
    """Return what the kubelet gets."""
    port = proxy.app.addresses["health"][1]
    url = f"http://127.0.0.1:{port}/application/{name}"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers={"User-Agent": "kube-probe/1.33"}) as answer,
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


def test_nothing_given_is_nothing() -> None:
    assert probes_of({}) == {}
