"""A sidecar that is given HTTPRoutes, as a process: it routes by them, and reloads."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.support.httproutes import documents, http_route, rule, service
from tests.support.process import LOOK_S, Sidecar, sidecar
from tests.support.proxy import ANYWHERE, Origin, Talk, body_of, header_of, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# No Service resolves here: upstreams of the same names say where these are.
ORDERS = http_route(
    rule(
        name="submit",
        matches=[{"path": {"value": "/orders"}}],
        filters=[
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {
                    "set": [{"name": "x-from", "value": "route"}]
                },
            }
        ],
    )
)
STOCK = http_route(
    {"backendRefs": [service("stock", port=80)]},
    name="stock",
    parents=(service("stock"),),
)


async def answer(talk: Talk) -> None:
    """Say where the request arrived, and what the route wrote."""
    while request := await talk.request():
        word = (header_of(request, "x-from") or "-").encode()
        path = request.split(b" ")[1]
        body = word + b" " + path
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        await talk.send(body)


async def ask(port: int, path: str, host: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def meshed(folder: Path, *objects: dict[str, Any]) -> AsyncIterator[Sidecar]:
    origin = Origin(answer)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    there = {"endpoints": [f"127.0.0.1:{server.sockets[0].getsockname()[1]}"]}
    upstreams = {"app-8080": there, "shop.stock.80": there}
    try:
        async with sidecar(
            folder,
            objects=documents(*objects),
            service="orders",
            outbound={"listen": ANYWHERE},
            upstreams=upstreams,
        ) as proxy:
            yield proxy
    finally:
        server.close()
        await origin.end()


async def test_requests_go_where_the_objects_say(tmp_path: Path) -> None:
    async with meshed(tmp_path, ORDERS, STOCK) as proxy:
        got = await ask(proxy.inbound, "/orders/7", "whatever")
        assert (status_of(got), body_of(got)) == (200, b"route /orders/7")
        got = await ask(proxy.inbound, "/other", "orders.shop")
        assert (status_of(got), header_of(got, "x-316-code")) == (
            404,
            "316-ROUTE-NOT-FOUND",
        )
        for host in ("stock", "stock.shop", "stock.shop.svc.cluster.local"):
            got = await ask(proxy.outbound, "/s", host)
            assert (status_of(got), body_of(got)) == (200, b"- /s")
        assert status_of(await ask(proxy.outbound, "/s", "other.shop")) == 404
        assert proxy.warnings == ""


async def test_another_object_is_put_in_force_by_a_reload(tmp_path: Path) -> None:
    async with meshed(tmp_path, ORDERS, STOCK) as proxy:
        file = tmp_path / "sidecar.yaml"
        text = file.read_text()
        assert status_of(await ask(proxy.inbound, "/bills", "a")) == 404
        file.write_text(text.replace("value: /orders", "value: /bills"))
        proxy.process.send_signal(signal.SIGHUP)
        while status_of(await ask(proxy.inbound, "/bills", "a")) != 200:
            await asyncio.sleep(LOOK_S)  # The test's own time bounds it.
        assert status_of(await ask(proxy.inbound, "/orders", "a")) == 404
