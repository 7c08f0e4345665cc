"""An origin that is really somewhere else: what a shared event loop hides."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from tests.support.observe import codes_of
from tests.support.proxy import OK, header_of, proxied, status_of
from tests.support.scripts import AMPLE
from tests.support.threaded import read_head, threaded_origin

if TYPE_CHECKING:
    import socket

ROUNDS = 150


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
