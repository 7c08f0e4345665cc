"""A real nginx as the origin: nothing changes by the proxy being there."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from typing import TYPE_CHECKING

import h11
import pytest

from tests.support.nginx import Nginx, needs_nginx, nginx_origin
from tests.support.observe import (
    fault_of,
    faults_of,
    idle_connections,
    metric_of,
    until,
)
from tests.support.proxy import Proxy, body_of, header_of, proxied, status_of
from tests.support.scripts import AMPLE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = needs_nginx

MIB = 2**20
TEXT = b"a line of text that repeats and so can be made shorter\n" * 200

# What the moment decides, what is between two neighbours only, and what it adds.
_NOT_COMPARED = {"date", "connection", "keep-alive", "transfer-encoding", "via"}
SMALL = 'location = /small { return 200 "hello"; }'

SERVER = """
    location = /small { return 200 "hello\\n"; }
    location = /empty { return 204; }
    location = /moved { return 301 https://elsewhere.test/; }
    location = /teapot { return 418 "short and stout"; }
    location = /busy { return 503 "mine"; }
    location = /accel {
      add_header X-Accel-Buffering no;
      add_header Set-Cookie a=1;
      add_header Set-Cookie b=2;
      return 200 "x";
    }
    location /zipped/ {
      alias {www}/;
      gzip on; gzip_types text/plain; gzip_min_length 1; gzip_http_version 1.0;
      gzip_proxied any;
    }
    location /dav/ { dav_methods PUT DELETE; client_max_body_size 0; }
    location = /limited { client_max_body_size 1k; dav_methods PUT; }
"""


@pytest.fixture
async def nginx(tmp_path: Path) -> AsyncIterator[Nginx]:
    server = SERVER.replace("{www}", str(tmp_path / "www"))
    async with nginx_origin(tmp_path, server) as origin:
        (origin.www / "text").write_bytes(TEXT)
        (origin.www / "dav").mkdir()
        yield origin


@pytest.fixture
async def proxy(nginx: Nginx) -> AsyncIterator[Proxy]:
    async with proxied(endpoints=[nginx.endpoint]) as proxy:
        yield proxy


class Read:
    """A response as a strict client reads it: h11."""

    def __init__(self, raw: bytes, method: str) -> None:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        client.receive_data(raw)
        client.receive_data(b"")
        head = client.next_event()
        assert isinstance(head, h11.Response)
        self.status = head.status_code
        self.fields = [
            (name.decode(), value.decode())
            for name, value in head.headers.raw_items()
            if name.lower().decode() not in _NOT_COMPARED
        ]
        self.body = b""
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data)
            self.body += event.data


async def ask(port: int, raw: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("method", "path", "lines"),
    [
        ("GET", "/small", []),
        ("HEAD", "/small", []),
        ("GET", "/text", []),
        ("HEAD", "/text", []),
        ("GET", "/text", ["Range: bytes=10-19"]),
        ("GET", "/text", ["Range: bytes=-5"]),
        ("GET", "/text", ["Range: bytes=999999-"]),
        ("GET", "/zipped/text", ["Accept-Encoding: gzip"]),
        ("HEAD", "/zipped/text", ["Accept-Encoding: gzip"]),
        ("GET", "/zipped/text", []),
        ("GET", "/empty", []),
        ("GET", "/moved", []),
        ("GET", "/teapot", []),
        ("GET", "/accel", []),
        ("GET", "/none/%2e%2e/a%20b?c=%26&&d", []),
        ("OPTIONS", "/text", []),
        ("PROPFIND", "/text", []),
    ],
)
async def test_a_client_reads_what_nginx_said(
    nginx: Nginx, proxy: Proxy, method: str, path: str, lines: list[str]
) -> None:
    """Status, every field in its order and case, and the body."""
    head = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""]
    raw = "\r\n".join(head).encode()
    direct = Read(await ask(nginx.port, raw), method)
    through = Read(await proxy.ask(raw), method)
    assert through.status == direct.status
    assert through.body == direct.body
    assert through.fields == direct.fields


async def test_a_zipped_body_stays_zipped(proxy: Proxy) -> None:
    raw = await proxy.get("/zipped/text", "Accept-Encoding: gzip")
    answer = Read(raw, "GET")
    assert header_of(raw, "content-encoding") == "gzip"
    assert header_of(raw, "transfer-encoding") == "chunked"
    assert gzip.decompress(answer.body) == TEXT


async def test_a_client_that_has_it_gets_304(proxy: Proxy) -> None:
    tag = str(header_of(await proxy.get("/text"), "etag"))
    reader, writer = await proxy.connect()
    for _ in range(2):  # Without a body, so the connection goes on.
        writer.write(
            f"GET /text HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert status_of(head) == 304
        assert header_of(head, "etag") == tag
    writer.close()


async def test_a_mebibyte_up_and_down(nginx: Nginx, proxy: Proxy) -> None:
    content = bytes(range(256)) * (MIB // 256)
    for framing in ("length", "chunked"):
        path = f"/dav/{framing}"
        head = f"PUT {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        if framing == "length":
            raw = f"{head}Content-Length: {MIB}\r\n\r\n".encode() + content
        else:
            half = b"%x\r\n%b\r\n" % (MIB // 2, content[: MIB // 2])
            raw = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
            raw += half + half + b"0\r\n\r\n"
        assert status_of(await proxy.ask(raw)) == 201
        stored = (nginx.www / "dav" / framing).read_bytes()
        assert hashlib.sha256(stored).digest() == hashlib.sha256(content).digest()
        assert body_of(await proxy.get(path)) == content


async def test_its_413_arrives_while_the_body_is_still_being_sent(
    proxy: Proxy,
) -> None:
    """It answers at the head, and reads on only to be polite."""
    reader, writer = await proxy.connect()
    writer.write(
        b"PUT /limited HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n"
    )
    answered = asyncio.ensure_future(reader.read())
    sent = 0
    try:
        while sent < 64 * MIB and not answered.done():
            writer.write(bytes(MIB))
            await writer.drain()
            sent += MIB
    except ConnectionError:
        pass  # It need not hear us out.
    answer = await answered
    assert status_of(answer) == 413
    assert header_of(answer, "server") is not None
    assert header_of(answer, "x-316-code") is None
    assert answer.endswith(b"</html>\r\n")
    assert await faults_of(proxy) == []
    writer.close()


async def test_its_own_5xx_is_tagged_and_nothing_else(proxy: Proxy) -> None:
    answer = await proxy.get("/busy")
    assert status_of(answer) == 503
    assert body_of(answer) == b"mine"
    assert header_of(answer, "x-316-code") == "316-UPSTREAM-5XX"
    assert (await fault_of(proxy))["origin"] == "upstream"


async def test_connections_to_it_are_used_again(proxy: Proxy) -> None:
    for _ in range(20):
        assert status_of(await proxy.get("/small")) == 200
    assert await idle_connections(proxy) == 1


@pytest.mark.parametrize(
    "rule", ["keepalive_requests 3;", "keepalive_timeout 1ms;", "keepalive_timeout 0;"]
)
async def test_its_end_of_a_connection_costs_nobody_a_request(
    tmp_path: Path, rule: str
) -> None:
    async with (
        nginx_origin(tmp_path, f"{rule} {SMALL}") as nginx,
        proxied(endpoints=[nginx.endpoint]) as proxy,
    ):

        async def has_none_left() -> bool:
            return await idle_connections(proxy) == 0

        for _ in range(5):
            assert status_of(await proxy.get("/small")) == 200
            if rule.startswith("keepalive_timeout"):
                await until(has_none_left)
            assert status_of(await proxy.post(b"", "/small")) == 200
            if rule.startswith("keepalive_timeout"):
                await until(has_none_left)
        assert await faults_of(proxy) == []
        assert await metric_of(proxy, "sidecar_retries_total") == 0


async def test_get_does_not_notice_the_race_with_its_keepalive_timeout(
    tmp_path: Path,
) -> None:
    """Each request comes just as nginx closes the connection that it would use."""
    async with (
        nginx_origin(tmp_path, f"keepalive_timeout 5ms; {SMALL}") as nginx,
        proxied(endpoints=[nginx.endpoint], upstream={"retry_budget": AMPLE}) as proxy,
    ):
        for step in range(60):
            assert status_of(await proxy.get("/small")) == 200
            await asyncio.sleep(0.0035 + step * 0.00005)
        assert await faults_of(proxy) == []
