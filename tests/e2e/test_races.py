"""An origin that is really somewhere else: what a shared event loop hides."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.observe import codes_of
from tests.support.proxy import OK, Proxy, body_of, header_of, proxied, status_of
from tests.support.scripts import AMPLE, QUICK
from tests.support.threaded import read_head, threaded_origin

if TYPE_CHECKING:
    import socket

ROUNDS = 150
UPLOAD = 900_000  # Bytes; more than the first read takes.


async def test_an_idle_connection_that_is_closed_at_any_moment_costs_no_get() -> None:
    """And a POST at most itself: it never arrives twice, and its code says why."""
    rng = Random(1)
    seen: Counter[bytes] = Counter()

    def close_when_idle(client: socket.socket) -> None:
        while head := read_head(client):
            seen[head.split(b" ", 2)[1]] += 1
            client.sendall(OK)
            client.settimeout(rng.uniform(0.001, 0.004))

    with threaded_origin(close_when_idle) as endpoint:
        async with proxied(
            endpoints=[endpoint],
            upstream={"retry_budget": AMPLE},
            circuit_breaker="off",
        ) as proxy:
            for n in range(ROUNDS):
                assert status_of(await proxy.get(f"/get/{n}")) == 200
                await asyncio.sleep(rng.uniform(0, 0.004))
                answer = await proxy.post(b"", f"/post/{n}")
                if status_of(answer) != 200:
                    assert header_of(answer, "x-316-code") == "316-CONN-STALE"
                    assert await codes_of(proxy) == ["316-CONN-STALE"]
    assert max(seen[b"/post/%d" % n] for n in range(ROUNDS)) == 1


def refuse_at_the_head(client: socket.socket) -> None:
    """Say no and close; the body that is on its way is answered by a reset."""
    read_head(client)
    client.sendall(
        b"HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 4\r\n\r\nmine"
    )


async def test_a_client_is_answered_though_its_upload_cannot_be_delivered() -> None:
    """With the origin's own words or with a code, but never with silence."""
    with threaded_origin(refuse_at_the_head) as endpoint:
        async with proxied(endpoints=[endpoint], circuit_breaker="off") as proxy:
            lines = [(await proxy.post(bytes(UPLOAD)))[:12] for _ in range(100)]
            assert set(lines) <= {b"HTTP/1.1 413", b"HTTP/1.1 502"}


async def test_an_early_answer_is_read_before_the_failed_write_is_told() -> None:
    """It has arrived: the reset came behind it."""
    with threaded_origin(refuse_at_the_head) as endpoint:
        async with proxied(endpoints=[endpoint], circuit_breaker="off") as proxy:
            answers = [await proxy.post(bytes(UPLOAD)) for _ in range(100)]
            assert {answer[:12] for answer in answers} == {b"HTTP/1.1 413"}
            assert {body_of(answer) for answer in answers} == {b"mine"}


@pytest.mark.parametrize("seed", range(3))
async def test_no_post_arrives_twice_because_the_event_loop_was_held_up(
    seed: int,
) -> None:
    """A limit that is over before the request was sent may not end it after that."""

    async def hold_up(rng: Random) -> None:
        while True:
            time.sleep(rng.uniform(0.005, 0.03))  # noqa: ASYNC251 - the point of it
            for _ in range(rng.randrange(1, 6)):
                await asyncio.sleep(0)

    async def converse(proxy: Proxy, name: int) -> None:
        for number in range(4):
            await proxy.post(b"", f"/{name}/{number}")

    async with proxied(
        timeouts={"per_try": "20ms"},
        upstream={"pool": {"fresh_after": "0s"}, "retry_budget": AMPLE},
        retry={"backoff": QUICK},
        circuit_breaker="off",
    ) as proxy:
        holder = asyncio.ensure_future(hold_up(Random(seed)))
        await asyncio.gather(*(converse(proxy, name) for name in range(16)))
        holder.cancel()
        seen = Counter(head.split(b" ", 2)[1] for head in proxy.origin.requests)
        assert set(seen.values()) == {1}
