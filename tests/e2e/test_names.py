"""Endpoints by name."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.support.observe import codes_of, fault_of
from tests.support.proxy import always_ok, header_of, proxied, status_of

NOBODY = "nobody.invalid"  # Never to exist (RFC 6761, 6.4).


async def is_refused_at_once() -> bool:
    """Tell whether the resolver here answers that nobody has the name."""
    ask = f"import socket; socket.getaddrinfo({NOBODY!r}, 80)"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ask), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(3):
            return await process.wait() != 0
    except TimeoutError:
        process.kill()
        await process.wait()
        return False


async def test_localhost() -> None:
    async with proxied(always_ok) as direct:
        name = f"localhost:{direct.origin.port}"
        async with proxied(endpoints=[name]) as proxy:
            for _ in range(3):
                assert status_of(await proxy.get()) == 200
            assert len(direct.origin.requests) == 3


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_name_that_nobody_has(method: str) -> None:
    if not await is_refused_at_once():
        pytest.skip("the resolver here does not refuse a name at once")
    async with proxied(endpoints=[f"{NOBODY}:80"], retry={"preset": "off"}) as proxy:
        answer = await proxy.get(method=method)
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == "316-DNS-ERR"
        assert header_of(answer, "x-316-processed") == "no"
        record = await fault_of(proxy)
        assert record["phase"] == "dns"
        assert NOBODY in record["detail"]
        assert "127.0.0.1" not in record["detail"]


async def test_it_is_asked_for_again_by_each_attempt() -> None:
    if not await is_refused_at_once():
        pytest.skip("the resolver here does not refuse a name at once")
    retry = {"max_retries": 1, "backoff": {"base": "1ms", "max": "1ms"}}
    async with proxied(endpoints=[f"{NOBODY}:80"], retry=retry) as proxy:
        answer = await proxy.get()
        assert header_of(answer, "x-316-code") == "316-RETRY-EXHAUSTED"
        assert await codes_of(proxy) == ["316-DNS-ERR"] * 2
