"""A canary wherever a secret comes in; it is looked for in all that goes out.

A real process, before origins that fail in many ways, with a collector that takes its
spans. What it was told to write into heads must be there, and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from sidecar.admin.token import VARIABLE
from tests.support.otlp import by_grpc
from tests.support.proxy import ANYWHERE, OK, Origin, Talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CANARY = "canary-7f3a-0123456789abcdef"
HEADERS = (
    f"Authorization: Bearer {CANARY}",
    f"Proxy-Authorization: Basic {CANARY}",
    f"Cookie: session={CANARY}",
    f"X-Api-Key: {CANARY}",
    f"X-Other: {CANARY}",
    f"Referer: http://a.test/?token={CANARY}",
    f"baggage: user={CANARY}",
)
READS = ("/", "/config", "/routes", "/upstreams", "/breakers", "/faults?limit=1000",
         "/log-level", "/alerts", "/events", f"/faults/{'0' * 20}")  # fmt: skip
PROBES = ("/metrics", "/healthz/ready")
_PLACE = re.compile(r"(\w+) 127\.0\.0\.1:(\d+)")


async def moody(talk: Talk) -> None:
    """Answer by the path: well, badly, not at all; always with a secret in it."""
    fields = f"Set-Cookie: s={CANARY}\r\nX-Out: {CANARY}\r\nWWW-Authenticate: {CANARY}"
    while head := await talk.request():
        path = head.split(b" ")[1].partition(b"?")[0]
        if path == b"/reset":
            talk.reset()
            return
        if path == b"/malformed":
            await talk.send(f"HTTP/1.1 200 OK\r\nBad Name: {CANARY}\r\n\r\n".encode())
        elif path == b"/status-line":
            await talk.send(f"HTTP/9 {CANARY}\r\n\r\n".encode())
        elif path == b"/chunks":
            start = f"HTTP/1.1 200 OK\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n"
            await talk.send(f"{start}{CANARY}\r\n".encode())
        elif path == b"/cut":
            start = f"HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: 900\r\n\r\n"
            await talk.send(f"{start}{CANARY}".encode())
            return
        elif path == b"/slow":
            await asyncio.Event().wait()
        elif path == b"/own":
            start = f"HTTP/1.1 500 {CANARY}\r\n{fields}\r\nx-316-code: 316-{CANARY}\r\n"
            await talk.send(f"{start}Content-Length: 0\r\n\r\n".encode())
        else:
            await talk.send(OK.replace(b"\r\n\r\n", f"\r\n{fields}\r\n\r\n".encode()))


def settings(origin: int, collector: str, folder: Path) -> dict[str, Any]:
    """Return a file with a secret wherever one can be written."""
    edits = {
        "set": {"Authorization": CANARY, "x-plain": CANARY},
        "add": {"x-b": CANARY},
    }
    keys = {"cert_file": f"{folder}/c.pem", "key_file": f"{folder}/{CANARY}.pem"}
    route = {"upstream": "app", "request_headers": edits, "response_headers": edits}
    gate = {"headers": [{"name": "x-api-secret", "value": CANARY}]}
    short = {"request": "400ms"}
    return {
        "inbound": {"listen": ANYWHERE},
        "health": {"listen": ANYWHERE},
        "admin": {"listen": ANYWHERE, "token_file": f"{folder}/token"},
        "upstreams": {
            "app": {"endpoints": [f"127.0.0.1:{origin}"]},
            "gone": {"endpoints": ["127.0.0.1:1"]},
            "tls": {"endpoints": [f"127.0.0.1:{origin}"],
                    "tls": {"verify": False, "server_name": "a.test"}},
            "unused": {"endpoints": ["127.0.0.1:1"], "tls": keys},
        },
        "routes": [
            {"name": "gate", "matches": [gate], **route},
            {"name": "gone", "matches": [{"path": {"value": "/gone"}}],
             **route, "upstream": "gone"},
            {"name": "tls", "matches": [{"path": {"value": "/tls"}}],
             **route, "upstream": "tls"},
            {"name": "all", "hosts": ["test"], **route, "timeouts": short},
        ],
        "alerts": {
            "receivers": {
                "hook": {"webhook": {"url": f"http://127.0.0.1:1/{CANARY}"}},
                "sign": {"webhook": {
                    "url": f"http://u:{CANARY}@127.0.0.1:{origin}/own?{CANARY}",
                    "format": "dingtalk", "secret_file": f"{folder}/token",
                }},
                "post": {"mail": {
                    "host": "127.0.0.1", "port": origin, "from": "a@b.test",
                    "to": ["c@d.test"], "starttls": False, "username": "u",
                    "password_file": f"{folder}/token",
                }},
            },
            "group_wait": "0s",
        },
        "telemetry": {
            "tracing": {"enabled": True, "sample_ratio": 1.0, "endpoint": collector},
            "access_log": {"mode": "all"},
        },
        "log": {"level": "debug"},
        "drain": {"lead": "0s"},
    }  # fmt: skip


class Running:
    """A process, and all that it has written."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out = b""
        self.err = b""
        self.ports: dict[str, int] = {}

    async def started(self) -> None:
        assert self.process.stderr is not None
        while b"serving: " not in self.err:
            line = await self.process.stderr.readline()
            assert line, self.err
            self.err += line
        found = _PLACE.findall(self.err.decode())
        self.ports = {name: int(port) for name, port in found}

    async def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        out, err = await self.process.communicate()
        self.out += out
        self.err += err

    async def ask(self, raw: bytes) -> bytes:
        """Send bytes; return the answer."""
        port = self.ports["inbound"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(raw)
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def told(self, server: str, path: str, method: str = "GET") -> str:
        """Return status, fields and body of an answer of the other servers."""
        url = f"http://127.0.0.1:{self.ports[server]}{path}"
        headers = {"Authorization": f"Bearer {CANARY}x", "Cookie": CANARY}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, data=CANARY) as got,
        ):
            return f"{got.status} {got.headers} {await got.text()}"


@asynccontextmanager
async def running(file: Path, environ: dict[str, str]) -> AsyncIterator[Running]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", "run", "-c", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=plain | environ,
    )  # fmt: skip
    one = Running(process)
    try:
        await one.started()
        yield one
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def request(path: str, *lines: str, method: str = "GET", host: str = "test") -> bytes:
    head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *HEADERS]
    return "\r\n".join([*head, *lines, "", ""]).encode("latin-1")


QUERY = f"?token={CANARY}"
PATHS = ("/", "/reset", "/malformed", "/status-line", "/chunks", "/cut", "/slow",
         "/own", "/gone", "/tls")  # fmt: skip
ODD = (
    request("/", host="nowhere.test"),
    request("/", f"x-316-deadline-ms: {CANARY}"),
    request("/", f"grpc-timeout: {CANARY}"),
    request("/", f"Content-Length: {CANARY}"),
    request("/", f"Transfer-Encoding: {CANARY}"),
    request("/", f"Bad Name: {CANARY}"),
    request("/", f"x-control: a\x01{CANARY}"),
    request("/", f"traceparent: {CANARY}", f"tracestate: {CANARY}", f"b3: {CANARY}"),
    request(f"http://user:{CANARY}@test/"),
    request(f"/#{CANARY}"),
    request(f"test:{CANARY}", method="CONNECT"),
    request("/", method=CANARY.upper()),
    request("/", f"x-long: {CANARY * 5000}"),
    request("/" + QUERY + CANARY * 1000),
    request("/", f"Upgrade: {CANARY}", "Connection: upgrade"),
    f"{CANARY}\r\n\r\n".encode(),
    request("/", "Content-Length: 90", method="POST") + CANARY.encode(),
)


async def test_no_secret_is_in_anything_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(CANARY, encoding="utf-8")
    (tmp_path / "token").chmod(0o400)
    file = tmp_path / "sidecar.yaml"
    environ = {
        VARIABLE: CANARY,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={CANARY},bad header {CANARY}",
    }
    origin = Origin(moody)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    with by_grpc() as collector:
        port = server.sockets[0].getsockname()[1]
        keys = settings(port, collector.endpoint, tmp_path)
        del keys["upstreams"]["unused"]["tls"]  # Its files would have to be there.
        file.write_text(yaml.safe_dump(keys), encoding="utf-8")
        told: list[str] = []
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(running(file, environ))
            answers = [await one.ask(request(path + QUERY)) for path in PATHS]
            answers += await asyncio.gather(*(one.ask(each) for each in ODD[:-1]))
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", one.ports["inbound"]
            )
            writer.write(ODD[-1])  # The client leaves in the middle of its body.
            await writer.drain()
            writer.close()
            del reader
            told += [await one.told("admin", path) for path in READS]
            told += [await one.told("admin", "/log-level", "POST")]
            told += [
                await one.told("health", p) for p in ("/metrics", "/healthz/ready")
            ]
            await one.end()
        server.close()
        await origin.end()
        await server.wait_closed()
        spans = [str(span) for span in collector.spans]
        assert {h["authorization"] for h in collector.headers} == {CANARY}
    # What it was for, it did: without that the rest would prove nothing.
    assert any(f"Authorization: {CANARY}".encode() in r for r in origin.requests)
    assert any(CANARY.encode() in answer for answer in answers)
    codes = set(re.findall(r'"code":"(316-[A-Z0-9-]+)"', one.out.decode()))
    assert len(codes) >= 10, codes
    assert len(spans) > len(PATHS)
    for what, text in {
        "stdout": one.out.decode(),
        "stderr": one.err.decode(),
        "admin and health": "\n".join(told),
        "spans": "\n".join(spans),
        **{f"answer {i}": t for i, t in enumerate(map(made_here, answers))},
    }.items():
        around = [text[max(0, m.start() - 80) :][:200] for m in finds(text)]
        assert around == [], what
    assert json.loads(one.out.splitlines()[0])


def finds(text: str) -> list[re.Match[str]]:
    return list(re.finditer(CANARY, text, re.IGNORECASE))


def made_here(answer: bytes) -> str:
    """Return an answer that the proxy made itself; what an origin sent is its own."""
    text = answer.decode("latin-1")
    return text if "problem+json" in text.partition("\r\n\r\n")[0] else ""
