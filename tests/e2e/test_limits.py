"""Many that are slow, too many, and too few descriptors: on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest

from sidecar import descriptors
from tests.support.observe import fault_of, until
from tests.support.process import Sidecar, sidecar
from tests.support.proxy import OK, Origin, Talk, header_of, proxied, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE_BYTES = 512 * 1024
OF_A_KIND = 1000
BUFFER_BYTES = 64 * 1024


@pytest.fixture
def many_files() -> Iterator[int]:
    """Let this process, too, have as many sockets as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield descriptors.raise_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def answer(talk: Talk) -> None:
    """Answer with as much as the path says."""
    while request := await talk.request():
        if request.startswith(b"GET /large "):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES
            await talk.send(head + bytes(LARGE_BYTES))
        else:
            await talk.send(OK)


@contextlib.asynccontextmanager
async def behind(
    folder: Path, *, files: int = 0, **top: Any
) -> AsyncIterator[tuple[Sidecar, Origin]]:
    """Run a sidecar of its own before an origin here."""
    origin = Origin(answer)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = {"endpoints": [f"127.0.0.1:{port}"], **top.pop("upstream", {})}
    try:
        async with sidecar(
            folder, files=files, upstreams={"app": upstream}, **top
        ) as it:
            yield it, origin
    finally:
        server.close()
        await origin.end()


def attack(port: int, data: bytes) -> socket.socket:
    """Connect, send this, and do nothing from then on."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", port))
    sock.sendall(data)
    return sock


async def ask(port: int, *, raw: bytes = GET) -> bytes:
    """Ask on a new connection; return the head of the answer, empty if none came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        return await reader.readuntil(b"\r\n\r\n")
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()


@pytest.mark.xdist_group("bulk")  # The kernel's buffers are for one of these.
@pytest.mark.timeout(120)
async def test_thousands_of_slow_clients_hold_nothing_but_their_own_connection(
    tmp_path: Path, many_files: int
) -> None:
    """Slow heads, slow bodies, slow readers; and others are served beside them."""
    if many_files < 4 * OF_A_KIND:
        pytest.skip(f"only {many_files} files may be open")
    slow = (
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1",
        b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
    )
    async with behind(tmp_path) as (proxy, _):
        assert status_of(await ask(proxy.inbound)) == 200
        base_bytes = proxy.resident_bytes
        attackers = []
        for _ in range(OF_A_KIND // 50):
            for data in slow:
                attackers += [attack(proxy.inbound, data) for _ in range(50)]

        async def is_served() -> bool:  # At first the slow readers may have all places.
            return status_of(await ask(proxy.inbound)) == 200

        await until(is_served)
        for _ in range(100):
            assert status_of(await ask(proxy.inbound)) == 200
        grown_bytes = proxy.resident_bytes - base_bytes
        assert grown_bytes < len(attackers) * BUFFER_BYTES
        for sock in attackers:
            sock.close()
        assert status_of(await ask(proxy.inbound)) == 200


@pytest.mark.timeout(120)
async def test_a_flood_of_connections_does_not_starve_those_that_are_there(
    tmp_path: Path, many_files: int
) -> None:
    """Each one too many is told so."""
    if many_files < 8000:
        pytest.skip(f"only {many_files} files may be open")
    async with behind(tmp_path, limits={"connections": 100}) as (proxy, _):
        theirs = [
            await asyncio.open_connection("127.0.0.1", proxy.inbound)
            for _ in range(100)
        ]
        refused = []

        async def flood() -> None:
            for _ in range(250):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", proxy.inbound
                )
                refused.append(status_of(await reader.read()))
                writer.close()

        async def be_served() -> None:
            while not all(task.done() for task in floods):
                for reader, writer in theirs:
                    writer.write(GET)
                    head = await reader.readuntil(b"\r\n\r\nok")
                    assert status_of(head) == 200

        floods = [asyncio.create_task(flood()) for _ in range(20)]
        await asyncio.gather(be_served(), *floods)
        for _, writer in theirs:
            writer.close()
        assert refused == [503] * 5000


async def test_one_too_many_reads_why_although_it_has_sent_a_request(
    tmp_path: Path,
) -> None:
    async with behind(tmp_path, limits={"connections": 1}) as (proxy, origin):
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.inbound)
        for _ in range(50):
            head = await ask(proxy.inbound, raw=GET * 100)
            assert status_of(head) == 503
            assert header_of(head, "x-316-code") == "316-OVERLOAD"
        writer.close()
        assert origin.requests == []


def cpu_s(proxy: Sidecar) -> float:
    times = psutil.Process(proxy.process.pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="there is no prlimit")
async def test_without_descriptors_it_neither_spins_nor_stops_to_listen(
    tmp_path: Path,
) -> None:
    async with behind(tmp_path, files=64) as (proxy, _):
        assert "serving 8 clients at most; raise the limit" in proxy.warnings
        clients = [attack(proxy.inbound, b"GET /") for _ in range(200)]
        await asyncio.sleep(0.5)  # For all of them to be accepted, or dropped.
        before_s = cpu_s(proxy)
        await asyncio.sleep(1)  # What is measured is this very time.
        assert cpu_s(proxy) - before_s < 0.5
        for sock in clients:
            sock.close()

        async def is_served() -> bool:
            head = await ask(proxy.inbound)
            return bool(head) and status_of(head) == 200

        await until(is_served)
        hits = await metric(proxy, "sidecar_limit_hits_total", "connections")
        assert hits > 0


async def metric(proxy: Sidecar, name: str, label: str) -> float:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{proxy.health}/metrics") as answer_,
    ):
        lines = (await answer_.text()).splitlines()
    found = [line for line in lines if line.startswith(name) and f'"{label}"' in line]
    return float(found[0].split()[-1])


async def test_an_upstream_is_not_blamed_for_our_want_of_descriptors() -> None:
    """No connection could be made: 503, nothing was sent, no strike for anybody."""
    breaker = {"min_requests": 1, "consecutive_failures": 1}
    async with proxied(circuit_breaker=breaker, retry={"preset": "off"}) as proxy:
        reader, writer = await proxy.connect()
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            writer.write(GET)
            head = await reader.readuntil(b"\r\n\r\n")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        writer.close()
        assert status_of(head) == 503
        assert header_of(head, "x-316-code") == "316-OVERLOAD"
        assert header_of(head, "x-316-processed") == "no"
        assert "limits.connections" in (await fault_of(proxy))["detail"]
        assert status_of(await proxy.get()) == 200


async def test_short_descriptors_are_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with proxied() as proxy:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = descriptors.used() + 2
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
        try:
            proxy.app.recorder._look()
            proxy.app.recorder._look()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        told = [r for r in caplog.messages if "files are open" in r]
        assert len(told) == 1
        assert "raise the limit" in told[0]
        newest = proxy.app.recorder.feed.newest()
        assert [r["code"] for r in newest].count("316-OVERLOAD") == 1


async def test_a_steady_reader_at_a_trickle_is_not_cut() -> None:
    """Its socket's own buffer hides from the transport that it reads."""
    async with proxied(answer, timeouts={"downstream_write": "600ms"}) as proxy:
        sock = attack(proxy.port, b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        count = 0
        for _ in range(40):  # Twice the limit.
            await asyncio.sleep(0.03)
            count += len(await loop.sock_recv(sock, 2048))
        while count < LARGE_BYTES:
            data = await loop.sock_recv(sock, 65_536)
            assert data, f"cut after {count} bytes"
            count += len(data)
        sock.close()
        assert proxy.faults == []
