"""An overloaded proxy over loopback: what is refused, and what never is."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import aiohttp

from tests.support.process import sidecar
from tests.support.proxy import OK, body_of, header_of, proxied, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from sidecar.policy.overload import Admission
    from tests.support.proxy import Proxy


def let_connections_wait(admission: Admission, now_s: float) -> None:
    for beat in range(20):
        admission.observe_queue(now_s + beat * 0.1, 1.0, has_refused=False)


def connect_unaccepted(proxy: Proxy, count: int) -> list[socket.socket]:
    """Connect while the loop of the proxy, which is ours, does not turn."""
    clients = [
        socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(count)
    ]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    return clients


def look(proxy: Proxy) -> None:
    queue = proxy.app.acceptors[0].queue
    assert queue is not None
    queue.look()


async def read_all(client: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(sock=client)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_who_waited_longest_to_be_accepted_is_answered_unread() -> None:
    async with proxied() as proxy:
        admission = proxy.app.recorder.admission
        let_connections_wait(admission, proxy.app.clock.now_s())
        clients = connect_unaccepted(proxy, 40)
        look(proxy)
        answers = [await read_all(client) for client in clients]
        statuses = [status_of(answer) for answer in answers]
        refused = statuses.count(503)
        assert statuses == [503] * refused + [200] * (40 - refused)
        assert 1 <= refused <= 24
        assert admission.counts["queue", "connection"] == refused
        assert header_of(answers[0], "x-316-code") == "316-OVERLOAD"
        assert header_of(answers[0], "x-316-processed") == "no"
        assert header_of(answers[0], "retry-after") == "1"
        assert b"wait for too long" in body_of(answers[0])
        assert len(proxy.origin.requests) == 40 - refused


async def test_when_all_is_well_nobody_who_waits_is_refused() -> None:
    async with proxied() as proxy:
        clients = connect_unaccepted(proxy, 40)
        look(proxy)
        answers = [await read_all(client) for client in clients]
        assert {status_of(answer) for answer in answers} == {200}


async def test_health_and_admin_answer_whatever_is_refused() -> None:
    async with proxied() as proxy:
        proxy.app.recorder.admission.observe_memory(2.0)
        assert status_of(await proxy.get()) == 503
        async with aiohttp.ClientSession() as session:
            for name, path in (
                ("health", "/healthz/live"),
                ("health", "/metrics"),
                ("admin", "/config"),
            ):
                host, port = proxy.app.addresses[name]
                for _ in range(60):
                    async with session.get(f"http://{host}:{port}{path}") as got:
                        assert got.status == 200


async def test_the_metrics_tell_what_is_short_and_how_much_was_refused() -> None:
    async with proxied() as proxy:
        proxy.app.recorder.admission.observe_memory(2.0)
        await proxy.get()
        await proxy.get("/", "x-316-attempt: 2")
        host, port = proxy.app.addresses["health"]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{host}:{port}/metrics") as got,
        ):
            text = await got.text()
    assert 'sidecar_overload_level{resource="memory"} 2.0' in text
    assert 'sidecar_overload_level{resource="lag"} 0.0' in text
    assert 'sidecar_shed_total{kind="first",reason="memory"} 1.0' in text
    assert 'sidecar_shed_total{kind="retry",reason="memory"} 1.0' in text


async def flood(port: int, stop: asyncio.Event) -> set[bytes]:
    """Ask again and again, many requests at once; return the statuses that came."""
    seen: set[bytes] = set()
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            continue
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 16)
        try:
            for _ in range(16):
                head = await reader.readuntil(b"\r\n\r\n")
                seen.add(head.split(b" ", 2)[1])
                length = header_of(head, "content-length")
                await reader.readexactly(int(length or 0))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
    return seen


async def test_under_a_flood_some_are_served_some_refused_and_health_answers(
    tmp_path: Path,
) -> None:
    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    origin = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = f"127.0.0.1:{origin.sockets[0].getsockname()[1]}"
    upstreams = {"app": {"endpoints": [address]}}
    overload = {"lag": "1ms", "lag_for": "50ms"}
    stop = asyncio.Event()
    async with sidecar(tmp_path, upstreams=upstreams, overload=overload) as running:
        floods = [asyncio.create_task(flood(running.inbound, stop)) for _ in range(48)]
        shed = ""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=10)
        ) as session:
            while "sidecar_shed_total{" not in shed:
                url = f"http://127.0.0.1:{running.health}"
                async with session.get(f"{url}/healthz/live") as got:
                    assert got.status == 200
                async with session.get(f"{url}/metrics") as got:
                    shed = await got.text()
        stop.set()
        seen = set().union(*await asyncio.gather(*floods))
    origin.close()
    await origin.wait_closed()
    assert b"200" in seen
    assert seen <= {b"200", b"503"}
