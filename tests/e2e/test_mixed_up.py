"""Whatever fails beside it, an answer goes to who asked for it, or to nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.observe import metric_of, until
from tests.support.proxy import Proxy, Talk, proxied
from tests.support.scripts import AMPLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.scripts import Script

CLIENTS = 16
REQUESTS = 40  # Of each client.


def whole(word: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(word), word)


def chunked(word: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(word), word)


# What the origin may say, and whether it hangs up after it.
WAYS: tuple[tuple[Callable[[bytes], bytes], bool], ...] = (
    (whole, False),
    (whole, False),
    (whole, True),
    (chunked, False),
    (chunked, True),
    (lambda word: b"HTTP/1.1 103 Early Hints\r\n\r\n" + whole(word), False),
    (lambda word: b"HTTP/1.1 200 OK\r\n\r\n" + word, True),
    (lambda word: whole(word) + whole(b"wrong"), False),
    (lambda word: whole(word)[:-1], True),
    (lambda word: chunked(word)[:-5], True),
    (lambda _: b"", True),
    (lambda _: b"nonsense\r\n\r\n", False),
)


def unreliable(rng: Random) -> Script:
    """Answer with the word that was asked for, or fail in some way."""

    async def script(talk: Talk) -> None:
        while request := await talk.request():
            say, hangs_up = rng.choice(WAYS)
            if rng.random() < 0.05:
                talk.reset()
                return
            if rng.random() < 0.05:
                await asyncio.sleep(0.06)  # Longer than a try may take.
            await talk.send(say(request.split(b" ", 2)[1]))
            if hangs_up:
                return

    return script


async def converse(proxy: Proxy, name: int, rng: Random) -> tuple[int, int]:
    """Ask on and on; return how many answers were right, and how many came."""
    right = came = 0
    reader, writer = await proxy.connect()
    for number in range(REQUESTS):
        word = f"/{name:02}-{number:02}"
        method = rng.choice(("GET", "POST", "PUT"))
        length = "" if method == "GET" else "Content-Length: 3\r\n"
        body = "" if method == "GET" else "abc"
        writer.write(
            f"{method} {word} HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}".encode()
        )
        try:
            status, keeps, content = await response(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            keeps = False
        else:
            came += 1
            if status == 200:
                assert content == word.encode()
                right += 1
        if not keeps:
            writer.close()
            reader, writer = await proxy.connect()
    writer.close()
    return right, came


async def response(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """Return status, whether another may follow, and the content, whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    if status == 103:
        return await response(reader)
    content = b""
    if b"transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            content += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    else:
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        content = await reader.readexactly(length)
    return status, b"connection: close" not in head, content


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_no_answer_goes_to_another_and_nothing_is_left_behind(seed: int) -> None:
    """Nor is any POST seen twice, though GET and PUT are tried again all the time."""
    rng = Random(seed)
    pool = {"max_connections": 6}
    async with proxied(
        unreliable(rng),
        upstream={"pool": pool, "retry_budget": AMPLE},
        timeouts={"request": "2s", "per_try": "50ms"},
        retry={"preset": "idempotent", "backoff": {"base": "1ms", "max": "2ms"}},
        circuit_breaker="off",
    ) as proxy:
        talks = (converse(proxy, name, Random(name)) for name in range(CLIENTS))
        counts = await asyncio.gather(*talks)
        assert sum(right for right, _ in counts) > CLIENTS * REQUESTS / 2

        async def is_at_rest() -> bool:
            names = ("http_server_active_requests", "sidecar_pool_requests")
            left = [await metric_of(proxy, name) for name in names]
            busy = await metric_of(proxy, "sidecar_pool_connections", state="busy")
            return left == [0, 0] and busy == 0

        await until(is_at_rest)
        asked = "http_server_request_duration_seconds_count"
        assert await metric_of(proxy, asked) == CLIENTS * REQUESTS
        lines = [request.split(b" ", 2)[:2] for request in proxy.origin.requests]
        posts = Counter(path for method, path in lines if method == b"POST")
        assert set(posts.values()) == {1}
