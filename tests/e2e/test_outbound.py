"""What the application sends to others: by host, to several upstreams."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.observe import fault_of, metric_of
from tests.support.proxy import (
    ANYWHERE,
    Origin,
    Proxy,
    Talk,
    body_of,
    header_of,
    proxied,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


def answering(word: str) -> Callable[[Talk], Awaitable[None]]:
    async def script(talk: Talk) -> None:
        while await talk.request():
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(word)}\r\n\r\n"
            await talk.send(f"{head}{word}".encode())

    return script


class Mesh:
    """A sidecar with both listeners, before three services."""

    def __init__(self, proxy: Proxy, origins: dict[str, Origin]) -> None:
        self.proxy = proxy
        self.origins = origins
        self.outbound = Proxy(proxy.app, proxy.origin)
        self.outbound.port = proxy.app.addresses["outbound"][1]

    async def get(self, host: str, path: str = "/", *lines: str) -> bytes:
        head = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *lines]
        return await self.outbound.ask(("\r\n".join(head) + "\r\n\r\n").encode())


@asynccontextmanager
async def mesh(**top: Any) -> AsyncIterator[Mesh]:
    async with (
        proxied(answering("orders")) as orders,
        proxied(answering("billing")) as billing,
        proxied(answering("other")) as other,
    ):
        services = {
            "orders": orders.origin,
            "billing": billing.origin,
            "other": other.origin,
        }
        upstreams = {
            name: {"endpoints": [f"127.0.0.1:{origin.port}"]}
            for name, origin in services.items()
        }
        upstreams["app"] = {"endpoints": ["127.0.0.1:1"]}
        hosts = {
            "orders": ["orders.test"],
            "billing": ["billing.test", "*.billing.test"],
            "other": [],
        }
        routes: list[dict[str, Any]] = [
            {"name": name, "upstream": name, "listener": "outbound", "hosts": found}
            for name, found in hosts.items()
        ]
        routes.append({"name": "in", "upstream": "app", "retry": {"preset": "off"}})
        async with proxied(
            top={
                "outbound": {"listen": ANYWHERE},
                "upstreams": upstreams,
                "routes": routes,
                **top,
            }
        ) as proxy:
            yield Mesh(proxy, services)


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("orders.test", "orders"),
        ("ORDERS.test", "orders"),
        ("orders.test:8080", "orders"),
        ("billing.test", "billing"),
        ("eu.billing.test", "billing"),
        ("a.b.billing.test", "billing"),
        ("notbilling.test", "other"),
        ("127.0.0.1:9", "other"),
    ],
)
async def test_the_host_decides_where_to(host: str, service: str) -> None:
    async with mesh() as net:
        assert body_of(await net.get(host)) == service.encode()
        assert header_of(net.origins[service].requests[0], "host") == host


async def test_the_absolute_form_of_a_target_decides_over_the_field() -> None:
    """RFC 9112, 3.2.2: and the origin is told the same host."""
    async with mesh() as net:
        answer = await net.get("other.test", "http://orders.test/a?b=c")
        assert body_of(answer) == b"orders"
        seen = net.origins["orders"].requests[0]
        assert header_of(seen, "host") == "orders.test"


async def test_each_listener_has_routes_of_its_own() -> None:
    async with mesh() as net:
        assert status_of(await net.get("orders.test")) == 200
        answer = await net.proxy.get("/", "X-Y: z")
        assert header_of(answer, "x-316-code") == "316-CONN-REFUSED"
        record = await fault_of(net.proxy)
        assert (record["listener"], record["route"]) == ("inbound", "in")
        requests = "http_server_request_duration_seconds_count"
        assert await metric_of(net.proxy, requests, http_route="orders") == 1
        assert await metric_of(net.proxy, requests, http_route="in") == 1


async def test_no_outbound_route_is_a_failure_of_the_caller() -> None:
    routes = [
        {"name": "o", "upstream": "orders", "listener": "outbound", "hosts": ["o.test"]}
    ]
    async with mesh(routes=routes) as net:
        answer = await net.get("nobody.test")
        assert status_of(answer) == 404
        assert header_of(answer, "x-316-code") == "316-ROUTE-NOT-FOUND"


async def test_the_next_one_is_told_who_asked() -> None:
    async with mesh() as net:
        await net.get("orders.test", "/", "X-Forwarded-For: 192.0.2.1")
        seen = net.origins["orders"].requests[0]
        assert header_of(seen, "x-forwarded-for") == "192.0.2.1, 127.0.0.1"
        assert header_of(seen, "x-forwarded-proto") == "http"
        assert header_of(seen, "x-forwarded-host") == "orders.test"
        assert header_of(seen, "x-request-id")
        assert str(header_of(seen, "via")).startswith("1.1 sidecar")


async def test_who_is_not_trusted_cannot_say_who_asked() -> None:
    async with mesh(trusted_peers=["192.0.2.0/24"]) as net:
        lines = (
            "X-Forwarded-For: 192.0.2.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.test",
            "x-316-deadline-ms: 1",
        )
        assert status_of(await net.get("orders.test", "/", *lines)) == 200
        seen = net.origins["orders"].requests[0]
        assert header_of(seen, "x-forwarded-for") == "127.0.0.1"
        assert header_of(seen, "x-forwarded-proto") == "http"
        assert header_of(seen, "x-forwarded-host") == "orders.test"
        assert int(str(header_of(seen, "x-316-deadline-ms"))) > 1000


async def test_through_two_sidecars_the_caller_and_the_trace_stay() -> None:
    """Outbound of one, inbound of the next, as between two pods."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with proxied(answering("far")) as inner:
        upstreams = {"far": {"endpoints": [f"127.0.0.1:{inner.port}"]}}
        routes = [{"name": "far", "upstream": "far", "listener": "outbound"}]
        top = {
            "outbound": {"listen": ANYWHERE},
            "upstreams": upstreams,
            "routes": routes,
        }
        async with proxied(top=top) as outer:
            net = Mesh(outer, {})
            lines = (f"traceparent: {trace}", "x-request-id: one")
            assert body_of(await net.get("far.test", "/", *lines)) == b"far"
            seen = inner.origin.requests[0]
            assert header_of(seen, "x-request-id") == "one"
            assert str(header_of(seen, "traceparent")).split("-")[1] == trace[3:35]
            assert header_of(seen, "x-forwarded-for") == "127.0.0.1, 127.0.0.1"
            vias = [part for part in seen.split(b"\r\n") if part.startswith(b"Via: ")]
            assert b",".join(vias).count(b"sidecar") == 2
