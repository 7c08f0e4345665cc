"""A hundred at once whose readers stop: memory stays bounded, nothing is lost.

What a sidecar may hold of one connection is in docs/performance.md.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import sys
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from benchmarks.backpressure import get_ms, grown_by, limit_mib
from benchmarks.stalls import STALLS, Pair, Stall, crowd, far_end
from sidecar.accept.client import ClientConnection
from tests.support.certificates import Authority
from tests.support.observe import until
from tests.support.process import sidecar
from tests.support.proxy import Proxy, Talk, proxied

if TYPE_CHECKING:
    import ssl
    from pathlib import Path
    from queue import SimpleQueue

MIB = 2**20
_SIOCOUTQNSD = 0x894B  # Bytes that a socket has not sent yet (linux/sockios.h).
# Bulk: two of these at once starve each other of the kernel's buffers.
pytestmark = [pytest.mark.xdist_group("bulk"), pytest.mark.timeout(240)]
PLAIN = [stall for stall in STALLS if stall.name in ("downloads", "uploads", "tunnels")]
OTHERS = [stall for stall in STALLS if stall not in PLAIN]


def settings_for(origin_port: int, buffer: str = "64KiB") -> dict[str, Any]:
    return {
        "limits": {"buffer": buffer},
        "upstreams": {"app": {"endpoints": [f"127.0.0.1:{origin_port}"]}},
        "defaults": {"timeouts": {"request": "50s"}},
    }


def clients_of(proxy: Proxy) -> list[ClientConnection]:
    """Return the connections of its clients, which all speak HTTP."""
    found = [*proxy.app.acceptors[0].connections]
    return [one for one in found if isinstance(one, ClientConnection)]


def warm_up(stall: Stall, port: int, waiting: SimpleQueue[socket.socket]) -> None:
    """Let it have had as many connections before: what they cost stays its own."""
    with crowd(stall, port, waiting):
        pass


@pytest.mark.parametrize("buffer_kib", [64, 16])
@pytest.mark.parametrize("stall", PLAIN, ids=lambda stall: stall.name)
async def test_a_hundred_that_stall_hold_their_buffers_and_then_go_on(
    tmp_path: Path, stall: Stall, buffer_kib: int
) -> None:
    """And a request beside them is answered meanwhile."""

    def act(pid: int, port: int, waiting: SimpleQueue[socket.socket]) -> None:
        warm_up(stall, port, waiting)
        with crowd(stall, port, waiting) as pairs:
            grown_bytes = grown_by(stall, pairs, pid)
            assert grown_bytes < limit_mib(stall, buffer_kib * 1024) * MIB
            assert get_ms(port) > 0
            for pair in pairs:
                assert_all_arrives(stall, pair)

    with far_end() as (origin_port, waiting):
        settings = settings_for(origin_port, f"{buffer_kib}KiB")
        async with sidecar(tmp_path, **settings) as one:
            await asyncio.to_thread(act, one.process.pid, one.inbound, waiting)


@pytest.mark.parametrize("stall", OTHERS, ids=lambda stall: stall.name)
async def test_a_hundred_that_stall_hold_no_more_however_they_are_framed(
    tmp_path: Path, stall: Stall
) -> None:
    def act(pid: int, port: int, waiting: SimpleQueue[socket.socket]) -> None:
        with crowd(stall, port, waiting) as pairs:
            grown_bytes = grown_by(stall, pairs, pid)
            assert grown_bytes < limit_mib(stall) * MIB

    with far_end() as (origin_port, waiting):
        async with sidecar(tmp_path, **settings_for(origin_port)) as one:
            await asyncio.to_thread(act, one.process.pid, one.inbound, waiting)


def assert_all_arrives(stall: Stall, pair: Pair) -> None:
    """Read what was sent before it stalled, to the last byte, in its order."""
    assert pair.origin is not None
    for reader, block, sent_bytes in (
        (pair.client, stall.by_origin, pair.origin_sent_bytes),
        (pair.origin, stall.by_client, pair.client_sent_bytes),
    ):
        reader.settimeout(60)
        at = 0
        while at < sent_bytes:
            data = reader.recv(min(len(block), sent_bytes - at))
            assert data, f"it ended after {at} of {sent_bytes} bytes"
            start = at % len(block)
            assert data == (block + block)[start : start + len(data)]
            at += len(data)


async def test_the_kernel_holds_little_for_who_does_not_read() -> None:
    """By itself it would take 4 MiB, which count against the pod's memory."""
    buffer_bytes = 64 * 1024

    async def answer(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 30))
        with suppress(ConnectionError):
            while True:
                await talk.send(bytes(buffer_bytes))

    async with proxied(answer) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.setblocking(False)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")

            async def is_full() -> bool:
                return any(one.is_full for one in clients_of(proxy))

            await until(is_full)
            (connection,) = proxy.app.acceptors[0].connections
            sock = connection.transport.get_extra_info("socket")
            unsent = fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4))
            assert int.from_bytes(unsent, sys.byteorder) < 4 * buffer_bytes


async def test_chunks_of_a_byte_that_wait_cost_no_more_than_others() -> None:
    """Each write that waits costs the event loop nearly a kilobyte of its own."""
    count = 20
    talks: list[Talk] = []

    async def answer(talk: Talk) -> None:
        await talk.reader.readuntil(b"\r\n\r\n")
        await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        talks.append(talk)
        await talk.reader.read()

    async with proxied(answer) as proxy:
        with ExitStack() as clients:
            for _ in range(count):
                client = clients.enter_context(socket.socket())
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", proxy.port))
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            while len(talks) < count:
                await asyncio.sleep(0)
            for connection in proxy.app.acceptors[0].connections:
                sock = connection.transport.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            process = psutil.Process()
            before = process.memory_info().rss
            # How many it takes depends on how many come at once: the kernel says.
            while not all(one.is_full for one in clients_of(proxy)):
                for talk in talks:
                    talk.writer.write(b"1\r\nx\r\n")
                await asyncio.sleep(0)
            grown_bytes = process.memory_info().rss - before
        assert grown_bytes < 12 * MIB  # Uncounted, they are some 100.


async def test_a_tls_origin_that_closes_while_its_client_is_full_is_heard_out(
    tmp_path: Path,
) -> None:
    """Its last bytes and the end of its connection come while nobody reads."""
    authority = Authority(tmp_path / "ca")
    is_full, is_over = threading.Event(), threading.Event()
    sent = bytearray()

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as plain:
            tls = context.wrap_socket(plain, server_side=True)
            tls.settimeout(20)
            tls.recv(4096)
            tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not is_full.is_set():
                send_chunk(tls, 8 * 1024)
            send_chunk(tls, 100 * 1024)
            tls.sendall(b"0\r\n\r\n")
            os.close(
                tls.detach()
            )  # No close_notify: many servers spare themselves that.
        is_over.set()

    def send_chunk(tls: ssl.SSLSocket, size: int) -> None:
        content = len(sent).to_bytes(4, "big") * (size // 4)
        tls.sendall(b"%x\r\n%b\r\n" % (size, content))
        sent.extend(content)

    context = authority.server_context("localhost")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        port = listener.getsockname()[1]
        tls = {"ca_file": authority.ca_file}
        async with proxied(endpoints=[f"localhost:{port}"], upstream={"tls": tls}) as p:
            reader, writer = await p.connect()
            writer.write(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            (client,) = clients_of(p)

            async def client_is_full() -> bool:
                return client.is_full

            await until(client_is_full)
            is_full.set()
            await asyncio.to_thread(is_over.wait)
            answer = await reader.read()
            writer.close()
            assert answer.split(b"\r\n\r\n", 1)[1] == bytes(sent)
            assert p.faults == []
        thread.join()
