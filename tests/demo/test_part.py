"""The parts of the demo as processes of their own, as the demo overlay runs them."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientSession, web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def part(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidecar.demo.part", *words),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.readline()).decode()


async def test_the_shop_serves_until_it_is_told_to_end() -> None:
    async with part("shop", "127.0.0.1:0") as process:
        found = re.fullmatch(
            r"serving: shop (127\.0\.0\.1:\d+)\n", await line_of(process)
        )
        assert found is not None
        async with (
            ClientSession() as session,
            session.get(f"http://{found[1]}/catalogue") as answer,
        ):
            assert (await answer.json())["ok"]
        process.terminate()
        assert await process.wait() == 0


async def test_the_client_calls_until_it_is_told_to_end() -> None:
    asked = asyncio.Queue[str]()

    async def note(request: web.Request) -> web.Response:
        asked.put_nowait(request.path)
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", note)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with part("client", url) as process:
            assert await line_of(process) == f"calling: {url}\n"
            assert {await asked.get() for _ in range(3)}
            process.terminate()
            assert await process.wait() == 0
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ((), 2, "usage: "),
        (("shop",), 2, "usage: "),
        (("shop", "nowhere"), 2, "shop: 'nowhere' is not an address"),
        (("shop", "192.0.2.1:80"), 1, "shop: cannot listen on 192.0.2.1:80: "),
        (("client", "127.0.0.1"), 2, "client: 127.0.0.1 is not a URL such as"),
        (("client", "http://[::1"), 2, "client: http://[::1: "),
    ],
)
async def test_a_call_that_is_wrong_is_told(
    words: tuple[str, ...], code: int, told: str
) -> None:
    async with part(*words) as process:
        assert (await line_of(process)).startswith(told)
        assert await process.wait() == code
