"""Endpoints come and go while requests are under way: a real proxy, DNS and API."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import dns.rcode as dns_rcode
import pytest
import yaml
from aiohttp import ClientSession

from tests.discovery.slice_samples import endpoint, endpoint_slice
from tests.support.kube_api import KubeApi, kube_cluster
from tests.support.name_server import NameServer, name_server
from tests.support.process import sidecar
from tests.support.proxy import (
    Origin,
    always_ok,
    body_of,
    header_of,
    proxied,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from sidecar.upstream.pool import Pool
    from tests.support.proxy import Proxy

PAGES = "pages.test."
_TRIES = 50
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")


def held_port(hosts: Iterable[str]) -> tuple[ExitStack, int]:
    """Return a port that is free at all of these, bound until the stack is closed."""
    for _ in range(_TRIES):
        with suppress(OSError), ExitStack() as stack:
            port = 0
            for host in hosts:
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind((host, port))
                port = sock.getsockname()[1]
            return stack.pop_all(), port
    pytest.fail("no port is free at all addresses")


class Pods:
    """Origins on one port of several addresses, ours while they come and go."""

    def __init__(self) -> None:
        self._stops: dict[str, AsyncExitStack] = {}
        self.origins: dict[str, Origin] = {}
        self._held, self.port = held_port(HOSTS)

    async def start(self, host: str) -> None:
        origin = self.origins[host] = Origin(always_ok)
        server = await asyncio.start_server(
            origin.serve, host, self.port, reuse_port=True
        )
        stack = self._stops[host] = AsyncExitStack()
        stack.push_async_callback(server.wait_closed)
        stack.push_async_callback(origin.end)
        stack.callback(server.close)

    async def stop(self, host: str) -> None:
        await self._stops.pop(host).aclose()

    async def stop_all(self) -> None:
        for host in list(self._stops):
            await self.stop(host)
        self._held.close()


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    found = Pods()
    await found.start(HOSTS[0])
    try:
        yield found
    finally:
        await found.stop_all()


@pytest.fixture
async def server() -> AsyncIterator[NameServer]:
    async with name_server() as found:
        yield found


@pytest.fixture
async def cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[KubeApi, dict[str, Any]]]:
    async with kube_cluster(tmp_path, monkeypatch) as found:
        yield found


def by_dns(server: NameServer, pods: Pods, **dns: Any) -> dict[str, Any]:
    """Return keys of `proxied`."""
    settings = {"name": PAGES, "port": pods.port, "min_ttl": "20ms"} | dns
    return {
        "upstream": {"discovery": {"dns": settings}},
        "top": {"discovery": {"nameservers": [f"127.0.0.1:{server.port}"]}},
    }


def pool_of(proxy: Proxy) -> Pool:
    return proxy.app.runtime.upstreams["app"].pool


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


async def until_hosts(proxy: Proxy, hosts: Iterable[str]) -> None:
    """Wait until these are in use, and nothing is under way to others."""
    wanted = sorted(hosts)
    pool = pool_of(proxy)
    await until(lambda: sorted(e.address.host for e in pool.endpoints) == wanted)
    await until(lambda: pool.leaving == 0)


@asynccontextmanager
async def traffic(proxy: Proxy, clients: int = 4) -> AsyncIterator[list[int]]:
    """Send requests all the while; yield the statuses, which grow."""
    statuses: list[int] = []
    is_over = False

    async def ask(session: ClientSession) -> None:
        while not is_over:
            url = f"http://127.0.0.1:{proxy.port}/"
            async with session.post(url, data=b"order") as answer:
                await answer.read()
                statuses.append(answer.status)

    async with ClientSession() as session:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(ask(session)) for _ in range(clients)]
        try:
            yield statuses
        finally:
            is_over = True
            await asyncio.gather(*tasks)


async def some_more(statuses: list[int], count: int = 50) -> None:
    wanted = len(statuses) + count
    await until(lambda: len(statuses) >= wanted)


# Each step is a rollout's: the next pod is there, then the one before is gone.
STEPS = [HOSTS[:1], HOSTS[:2], HOSTS[1:2], HOSTS[1:4], HOSTS[2:4], HOSTS[:1]]


async def roll(
    proxy: Proxy, pods: Pods, publish: Callable[[Iterable[str]], None]
) -> list[int]:
    """Let pods come and go under traffic that is never retried; return statuses."""
    running = set(HOSTS[:1])
    async with traffic(proxy) as statuses:
        for step in STEPS:
            for host in set(step) - running:
                await pods.start(host)
            publish(step)
            await until_hosts(proxy, step)
            for host in running - set(step):
                await pods.stop(host)
            running = set(step)
            await some_more(statuses)
    return statuses


async def test_by_dns_no_request_fails_while_pods_are_replaced(
    server: NameServer, pods: Pods
) -> None:
    server.records[PAGES, "A"] = list(HOSTS[:1])

    def publish(hosts: Iterable[str]) -> None:
        server.records[PAGES, "A"] = list(hosts)

    keys = by_dns(server, pods)
    async with proxied(retry={"preset": "off"}, **keys) as proxy:
        statuses = await roll(proxy, pods, publish)
        assert set(statuses) == {200}
        assert proxy.faults == []


async def test_by_kubernetes_no_request_fails_while_pods_are_replaced(
    cluster: tuple[KubeApi, dict[str, Any]], pods: Pods
) -> None:
    """Also while the API cuts, forgets and refuses."""
    api, top = cluster
    port = {"name": "http", "port": pods.port, "protocol": "TCP"}

    def publish(hosts: Iterable[str]) -> None:
        ready = [endpoint(host) for host in hosts]
        api.put(endpoint_slice("one", *ready[:2], ports=(port,)))
        api.put(endpoint_slice("two", *ready[2:], ports=(port,)))

    publish(HOSTS[:1])
    upstream = {"discovery": {"kubernetes": {"service": "stock", "port": "http"}}}
    async with proxied(upstream=upstream, retry={"preset": "off"}, top=top) as proxy:
        statuses = await roll(proxy, pods, publish)
        await api.cut_watches()
        api.compact()
        api.refusals = [503, 500]
        statuses += await roll(proxy, pods, publish)
        assert set(statuses) == {200}
        assert proxy.faults == []
    namespaces = {query["labelSelector"] for _, query in api.asked}
    assert namespaces == {"kubernetes.io/service-name=stock"}


async def test_a_pod_that_is_not_ready_gets_no_request(
    cluster: tuple[KubeApi, dict[str, Any]], pods: Pods
) -> None:
    api, top = cluster
    await pods.start(HOSTS[1])
    port = {"name": "", "port": pods.port, "protocol": "TCP"}

    def publish(*, ready: bool) -> None:
        pair = (endpoint(HOSTS[0]), endpoint(HOSTS[1], ready=ready, serving=ready))
        api.put(endpoint_slice("one", *pair, ports=(port,)))

    publish(ready=False)
    upstream = {"discovery": {"kubernetes": {"service": "stock"}}}
    async with proxied(upstream=upstream, top=top) as proxy:
        for _ in range(4):
            assert status_of(await proxy.get()) == 200
        assert not pods.origins[HOSTS[1]].requests
        publish(ready=True)
        await until_hosts(proxy, HOSTS[:2])
        for _ in range(4):
            assert status_of(await proxy.get()) == 200
        assert len(pods.origins[HOSTS[1]].requests) == 2


async def test_a_zone_of_the_environment_is_heeded(
    cluster: tuple[KubeApi, dict[str, Any]],
    pods: Pods,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, top = cluster
    monkeypatch.setenv("SIDECAR_ZONE", "b")
    port = {"name": "", "port": pods.port, "protocol": "TCP"}
    near, far = endpoint(HOSTS[0], "b"), endpoint(HOSTS[1], "a")
    api.put(endpoint_slice("one", far, near, ports=(port,)))
    upstream = {"discovery": {"kubernetes": {"service": "stock"}}}
    async with proxied(upstream=upstream, top=top) as proxy:
        for _ in range(3):
            assert status_of(await proxy.get()) == 200
        (used,) = pool_of(proxy).endpoints
        assert used.address.host == HOSTS[0]


async def test_a_missing_role_is_in_the_answer_of_the_admin_api_and_the_fault(
    cluster: tuple[KubeApi, dict[str, Any]],
) -> None:
    api, top = cluster
    api.refusals = [403] * 1000
    top["discovery"]["first_answer"] = "50ms"
    upstream = {"discovery": {"kubernetes": {"service": "stock"}}}
    async with proxied(upstream=upstream, top=top) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 503
        assert header_of(answer, "x-316-code") == "316-UPSTREAM-UNHEALTHY"
        assert "a Role in namespace shop" in proxy.faults[0]["detail"]
        async with ClientSession() as session:
            port = proxy.app.addresses["admin"][1]
            async with session.get(f"http://127.0.0.1:{port}/upstreams") as told:
                (shown,) = json.loads(await told.text())
    assert shown["endpoints"] == []
    assert "a Role in namespace shop" in shown["discovery"]["failure"]
    assert shown["discovery"]["updates"]["failed"] >= 1


async def test_a_name_that_nobody_has_is_an_error_of_dns(
    server: NameServer, pods: Pods
) -> None:
    keys = by_dns(server, pods)
    keys["top"]["discovery"]["first_answer"] = "50ms"
    async with proxied(**keys) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-DNS-ERR"
        server.records[PAGES, "A"] = [HOSTS[0]]
        await until_hosts(proxy, HOSTS[:1])
        assert body_of(await proxy.get()) == b"ok"


async def test_a_reload_finds_new_endpoints_before_it_takes_effect(
    server: NameServer, pods: Pods, tmp_path: Path
) -> None:
    """And one that changes a cap keeps those that are known: no request fails."""
    await pods.start(HOSTS[1])
    server.records[PAGES, "A"] = [HOSTS[1]]
    shared = {"nameservers": [f"127.0.0.1:{server.port}"]}
    file = tmp_path / "sidecar.yaml"
    dns = {"dns": {"name": PAGES, "port": pods.port}}
    written = {"endpoints": [f"{HOSTS[0]}:{pods.port}"]}

    async def reload(proxy: Proxy, app: dict[str, Any]) -> None:
        settings = {
            "upstreams": {"app": app},
            "routes": [{"name": "all", "upstream": "app", "retry": {"preset": "off"}}],
            "discovery": shared,
        }
        file.write_text(yaml.safe_dump(settings))
        assert (await proxy.app.reloader.reload("a test")).result == "applied"

    async with (
        proxied(upstream=written, retry={"preset": "off"}, config=file) as proxy,
        traffic(proxy) as statuses,
    ):
        await some_more(statuses)
        await reload(proxy, {"discovery": dns})
        assert [e.address.host for e in pool_of(proxy).endpoints] == [HOSTS[1]]
        await some_more(statuses)
        server.rcodes["*"] = dns_rcode.SERVFAIL
        await reload(proxy, {"discovery": dns, "pool": {"max_requests": 99}})
        await some_more(statuses)
        await reload(proxy, written)
        await some_more(statuses)
        assert proxy.app.runtime.findings == {}
    assert set(statuses) == {200}


async def test_the_program_itself_finds_endpoints_by_both(
    cluster: tuple[KubeApi, dict[str, Any]],
    server: NameServer,
    pods: Pods,
    tmp_path: Path,
) -> None:
    """On the event loop that serves, with its metrics."""
    api, top = cluster
    port = {"name": "", "port": pods.port, "protocol": "TCP"}
    api.put(endpoint_slice("one", endpoint(HOSTS[0]), ports=(port,)))
    server.records[PAGES, "A"] = [HOSTS[0]]
    server.is_truncating = True
    top["discovery"]["nameservers"] = [f"127.0.0.1:{server.port}"]
    upstreams = {
        "pages": {"discovery": {"dns": {"name": PAGES, "port": pods.port}}},
        "stock": {"discovery": {"kubernetes": {"service": "stock"}}},
    }
    matches = [{"path": {"value": "/stock"}}]
    routes = [
        {"name": "pages", "upstream": "pages"},
        {"name": "stock", "upstream": "stock", "matches": matches},
    ]
    async with (
        sidecar(tmp_path, upstreams=upstreams, routes=routes, **top) as proxy,
        ClientSession() as session,
    ):
        for path in ("/", "/stock"):
            async with session.get(f"http://127.0.0.1:{proxy.inbound}{path}") as got:
                assert got.status == 200
        async with session.get(f"http://127.0.0.1:{proxy.health}/metrics") as got:
            lines = (await got.text()).splitlines()
    for line in (
        'sidecar_discovery_endpoints{state="used",upstream="pages"} 1.0',
        'sidecar_discovery_endpoints{state="unused",upstream="stock"} 0.0',
        'sidecar_discovery_updates_total{result="changed",upstream="stock"} 1.0',
        'sidecar_discovery_updates_total{result="failed",upstream="pages"} 0.0',
    ):
        assert line in lines
    assert any(x.startswith('sidecar_discovery_age_seconds{upstream="p') for x in lines)
