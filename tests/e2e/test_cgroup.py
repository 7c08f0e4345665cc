"""In a real cgroup: short of memory it sheds and lives, short of CPU it says so.

Skipped, with the reason, where no cgroup can be made: that takes root, or a delegated
tree, and the controllers.
"""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.cgroups import NoCgroupError, own_cgroup
from tests.support.process import LOOK_S, Sidecar, sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from benchmarks.cgroups import Own

MIB = 1 << 20
MEMORY_BYTES = 128 * MIB
CPUS = 0.3
SLOW_CLIENTS = 1500
PIECE = bytes(256 * 1024)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30)
OPTIONS = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def own(request: pytest.FixtureRequest) -> Iterator[Own]:
    limits: dict[str, Any] = request.param
    try:
        with own_cgroup(**limits) as made:
            yield made
    except NoCgroupError as error:
        pytest.skip(str(error))


@asynccontextmanager
async def flood() -> AsyncIterator[int]:
    """Answer every request with as much as is taken."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
            while True:
                writer.write(PIECE)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def metrics(of: Sidecar) -> str:
    """Return what it tells Prometheus."""
    reader, writer = await asyncio.open_connection("127.0.0.1", of.health)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text


def value_of(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def shed_by(text: str, reason: str) -> float:
    """Return how many requests were refused for want of this."""
    return value_of(text, f'sidecar_shed_total{{kind="first",reason="{reason}"}}')


def killed(own: Own) -> int:
    """Return how many processes the kernel has killed for want of memory."""
    text = own.read("memory.events") or own.read("memory.oom_control")
    return int(value_of(text, "oom_kill"))


@pytest.mark.timeout(120)  # Twice as much: many connections, on a busy machine.
@pytest.mark.parametrize("own", [{"memory_bytes": MEMORY_BYTES}], indirect=True)
async def test_with_little_memory_slow_clients_are_shed_and_nothing_is_killed(
    tmp_path: Path, own: Own
) -> None:
    async with flood() as port:
        pool = {"max_connections": 4000, "max_requests": 4000, "max_stalled": 4000}
        upstreams = {"app": {"endpoints": [f"127.0.0.1:{port}"], "pool": pool}}
        running = sidecar(tmp_path, inside=own.prefix, upstreams=upstreams)
        async with running as proxy:
            assert "the memory limit is 128 MiB" in proxy.warnings
            with ExitStack() as stack:
                for _ in range(SLOW_CLIENTS):
                    client = stack.enter_context(socket.socket())
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    client.connect(("127.0.0.1", proxy.inbound))
                    client.sendall(GET)
                    await asyncio.sleep(0)
                text = ""
                while not (shed_by(text, "memory") + shed_by(text, "in_flight")):
                    text = await metrics(proxy)
                    await asyncio.sleep(LOOK_S)
                limit = value_of(text, "sidecar_cgroup_memory_limit_bytes")
                assert limit == MEMORY_BYTES
                assert await proxy.status("/healthz/ready") == 200
            assert killed(own) == 0


@pytest.mark.parametrize("own", [{"cpus": CPUS}], indirect=True)
async def test_a_quota_of_cpu_that_is_used_up_is_told_as_the_cause(
    tmp_path: Path, own: Own
) -> None:
    upstreams = {"app": {"endpoints": ["127.0.0.1:1"]}}
    running = sidecar(tmp_path, inside=own.prefix, upstreams=upstreams)
    async with running as proxy:
        assert proxy.process.stderr is not None
        client = asyncio.create_task(ask_without_end(proxy.inbound))
        told = b""
        while b"CPU limit" not in told:
            told = await proxy.process.stderr.readline()
            assert told, "it ended"
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)
        assert f"the CPU limit of {CPUS:g} cores was used up".encode() in told
        text = await metrics(proxy)
        assert value_of(text, "sidecar_cgroup_cpu_limit_cores") == CPUS
        assert value_of(text, "sidecar_cgroup_cpu_throttled_seconds_total") > 1.0


async def ask_without_end(port: int) -> None:
    """Ask what the proxy answers by itself, many at once, on and on."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                writer.write(OPTIONS * 100)
                if not await reader.read(len(PIECE)):
                    break
        except OSError:
            pass
        finally:
            writer.close()
