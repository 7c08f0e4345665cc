"""Scripts of an origin that several tests play."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.support.proxy import body_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.proxy import Proxy, Talk

    Script = Callable[[Talk], Awaitable[None]]

DEAD = "127.0.0.1:1"  # Nobody listens there.
QUICK = {"base": "1ms", "max": "1ms"}  # A backoff that costs a test no time.
AMPLE = {"ratio": "100%", "min_per_sec": 1000.0}  # A budget that does not run out.


async def ask(proxy: Proxy, method: str) -> bytes:
    """Send a GET, or a POST with a body."""
    return await (proxy.get() if method == "GET" else proxy.post())


def empty(status: str, *lines: str) -> bytes:
    """Return an answer without a body."""
    head = (f"HTTP/1.1 {status}", "Content-Length: 0", *lines, "", "")
    return "\r\n".join(head).encode()


def answering(*answers: bytes) -> Script:
    """Answer the requests of the whole origin in order; the last one for good."""

    async def script(talk: Talk) -> None:
        while await talk.request():
            seen = len(talk._origin.requests)
            await talk.send(answers[min(seen, len(answers)) - 1])

    return script


def saying(raw: bytes) -> Script:
    """Say this to the first request of a connection, and hang up."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.send(raw)

    return script


async def echo(talk: Talk) -> None:
    """Answer with the body, or with the path where there is none."""
    while request := await talk.request():
        line, content = request.split(b" ", 2), body_of(request)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
        content = content or line[1]
        no_body = line[0] == b"HEAD"
        await talk.send(head % len(content) + (b"" if no_body else content))


async def hang_up(talk: Talk) -> None:
    """Take a request, and close."""
    await talk.request()


async def reset(talk: Talk) -> None:
    """Take a request, and crash."""
    await talk.request()
    talk.reset()


async def stall(talk: Talk) -> None:
    """Take a request, and say nothing."""
    await talk.request()
    await asyncio.Event().wait()


def let_go(talk: Talk, end: str) -> None:
    """End the connection in one of the two ways that TCP has."""
    if end == "reset":
        talk.reset()
    else:
        talk.writer.close()
