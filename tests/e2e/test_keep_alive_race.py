"""Which request may be sent again: of twelve cases, those without an answer.

One part a case, in the order of the table. Case 6 (a stream refused in HTTP/2)
cannot be shown: this proxy speaks HTTP/1.1 only. From 7 on something came back,
be it late: see `test_answers_that_fail.py`.

What proves a case is what the origin saw: a request that may have been acted on
must not reach it twice, unless its method is idempotent (RFC 9110, 9.2.2).
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.certificates import Authority
from tests.support.observe import codes_of, fault_of, faults_of, metric_of
from tests.support.proxy import (
    OK,
    Origin,
    Talk,
    always_ok,
    header_of,
    proxied,
    status_of,
)
from tests.support.scripts import DEAD, QUICK, ask, hang_up, let_go

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.scripts import Script

BOTH = pytest.mark.parametrize("method", ["GET", "POST"])


# 1: DNS, connect or TLS failed. Nothing was sent.


@BOTH
async def test_1_a_refused_connection_is_made_again_elsewhere(method: str) -> None:
    async with proxied() as alive:
        live = f"127.0.0.1:{alive.origin.port}"
        async with proxied(endpoints=[DEAD, live]) as proxy:
            answers = [await ask(proxy, method) for _ in range(4)]
            assert [status_of(answer) for answer in answers] == [200] * 4
            assert len(alive.origin.requests) == 4
            assert await faults_of(proxy) == []
            assert await metric_of(proxy, "sidecar_retries_total") > 0


@BOTH
async def test_1_where_nobody_listens_every_attempt_is_told(method: str) -> None:
    async with proxied(endpoints=[DEAD], retry={"backoff": QUICK}) as proxy:
        answer = await ask(proxy, method)
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-RETRY-EXHAUSTED"
        assert header_of(answer, "x-316-processed") == "no"
        assert await codes_of(proxy) == ["316-CONN-REFUSED"] * 3


@BOTH
async def test_1_a_name_that_cannot_be_asked_for_is_left_for_another(
    method: str,
) -> None:
    async with proxied() as alive:
        endpoints = ["nobody.invalid:80", f"127.0.0.1:{alive.origin.port}"]
        async with proxied(endpoints=endpoints) as proxy:
            for _ in range(2):
                assert status_of(await ask(proxy, method)) == 200
            assert len(alive.origin.requests) == 2


@BOTH
async def test_1_a_failed_handshake_is_left_for_another(
    method: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    origin = Origin(always_ok)
    server = await asyncio.start_server(
        origin.serve, "127.0.0.1", 0, ssl=authority.server_context("127.0.0.1")
    )
    port = server.sockets[0].getsockname()[1]
    tls = {"ca_file": authority.ca_file}
    async with proxied(be_plain) as plain:
        endpoints = [f"127.0.0.1:{plain.origin.port}", f"127.0.0.1:{port}"]
        async with proxied(endpoints=endpoints, upstream={"tls": tls}) as proxy:
            for _ in range(2):
                assert status_of(await ask(proxy, method)) == 200
            assert len(origin.requests) == 2
    server.close()
    await origin.end()


async def be_plain(talk: Talk) -> None:
    """Be no TLS server: answer the hello with a word of HTTP."""
    await talk.reader.read(1)
    await talk.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


# 2: the pooled connection had been closed. Nothing was sent on it.


@pytest.mark.parametrize("end", ["close", "reset"])
@BOTH
async def test_2_a_connection_that_was_closed_while_idle_is_not_used(
    method: str, end: str
) -> None:
    gone = asyncio.Event()

    async def answer_and_go(talk: Talk) -> None:
        await talk.request()
        await talk.send(OK)
        await answered.wait()
        let_go(talk, end)
        while talk.writer.transport.get_extra_info("socket").fileno() >= 0:
            await asyncio.sleep(0)
        gone.set()

    answered = asyncio.Event()
    async with proxied(answer_and_go) as proxy:
        for n in range(1, 6):
            assert status_of(await ask(proxy, method)) == 200
            answered.set()
            await gone.wait()
            answered.clear()
            gone.clear()
            assert len(proxy.origin.requests) == n
        assert await faults_of(proxy) == []
        assert await metric_of(proxy, "sidecar_breaker_transitions_total") == 0


# 3: the head was not completely written. Nobody can act on half of it.


@pytest.fixture
async def deaf_once() -> AsyncIterator[Origin]:
    """An origin that resets its first connection with the head still on the way."""

    async def script(talk: Talk) -> None:
        if talk.number == 1:
            await talk.reader.readexactly(1)
            talk.reset()
        else:
            await always_ok(talk)

    origin = Origin(script)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server = await asyncio.start_server(origin.serve, sock=listener, limit=2**25)
    origin.port = listener.getsockname()[1]
    yield origin
    server.close()
    await origin.end()


@BOTH
async def test_3_half_a_head_proves_that_nothing_was_done(
    method: str, deaf_once: Origin
) -> None:
    """16 MiB of head do not fit into the sockets' buffers."""
    top = {"limits": {"headers": "32MiB"}}
    endpoints = [f"127.0.0.1:{deaf_once.port}"]
    async with proxied(endpoints=endpoints, top=top) as proxy:
        length = "" if method == "GET" else "Content-Length: 4\r\n"
        head = f"{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}A: "
        body = "" if method == "GET" else "data"
        raw = f"{head}{'x' * 2**24}\r\n\r\n{body}".encode()
        answer = await proxy.ask(raw)
        assert status_of(answer) == 200
        assert deaf_once.connections == 2
        assert len(deaf_once.requests) == 1


# 4 and 5: the request was written, and the connection ended without a word.


def losing(number: int, end: str) -> Script:
    """Lose the connection instead of answering this request of the origin's."""

    async def script(talk: Talk) -> None:
        while await talk.request():
            if len(talk._origin.requests) == number:
                let_go(talk, end)
                return
            await talk.send(OK)

    return script


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_4_get_on_a_reused_connection_is_sent_again(end: str) -> None:
    async with proxied(losing(2, end)) as proxy:
        assert status_of(await proxy.get()) == 200
        assert status_of(await proxy.get()) == 200
        assert proxy.origin.connections == 2
        assert len(proxy.origin.requests) == 3
        assert await faults_of(proxy) == []
        retries = await metric_of(
            proxy, "sidecar_retries_total", reason="316-CONN-STALE"
        )
        assert retries == 1


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_4_post_on_a_reused_connection_is_not(end: str) -> None:
    async with proxied(losing(2, end)) as proxy:
        assert status_of(await proxy.post()) == 200
        answer = await proxy.post()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-CONN-STALE"
        assert header_of(answer, "x-316-processed") is None
        assert len(proxy.origin.requests) == 2
        record = await fault_of(proxy)
        assert [a["reused"] for a in record["attempts"]] == [True]
        assert record["processed"] == "unknown"
        assert record["retry_skipped_reason"] == "method"
        assert "keep-alive" in record["fix"]


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_5_get_on_a_fresh_connection_is_sent_again(end: str) -> None:
    async with proxied(losing(1, end)) as proxy:
        assert status_of(await proxy.get()) == 200
        assert len(proxy.origin.requests) == 2


@pytest.mark.parametrize(
    ("end", "code"),
    [("close", "316-CONN-TERMINATED"), ("reset", "316-CONN-RESET")],
)
async def test_5_post_on_a_fresh_connection_is_not(end: str, code: str) -> None:
    async with proxied(losing(1, end)) as proxy:
        answer = await proxy.post()
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == code
        assert header_of(answer, "x-316-processed") is None
        assert len(proxy.origin.requests) == 1
        assert await codes_of(proxy) == [code]


async def test_5_it_speaks_against_the_upstream() -> None:
    breaker = {"consecutive_failures": 2, "open": "1h", "open_max": "1h"}

    async with proxied(hang_up, circuit_breaker=breaker) as proxy:
        for _ in range(2):
            await proxy.post()
        answer = await proxy.post()
        assert header_of(answer, "x-316-code") == "316-CIRCUIT-OPEN"
        assert len(proxy.origin.requests) == 2
