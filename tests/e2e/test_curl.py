"""curl as the client."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.proxy import OK, Talk, header_of, proxied
from tests.support.scripts import DEAD, echo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="curl is not installed"
)
MIB = 2**20


async def whole_request(talk: Talk) -> bytes:
    """Return the content of a chunked request of any size; empty at the end."""
    try:
        await talk.reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    content = b""
    while size := int(await talk.reader.readline(), 16):
        content += await talk.reader.readexactly(size)
        await talk.reader.readexactly(2)
    await talk.reader.readexactly(2)
    return content


async def curl(*arguments: str, stdin: bytes = b"") -> tuple[bytes, str]:
    """Return what curl wrote, and what it told of the conversation."""
    process = await asyncio.create_subprocess_exec(
        *("curl", "-sSv", "--noproxy", "*", "--max-time", "20", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate(stdin)
    text = told.decode("latin-1")
    assert process.returncode == 0, text
    return out, text


async def test_curl_asks_before_it_sends_a_large_body(tmp_path: Path) -> None:
    async def ask_for_it(talk: Talk) -> None:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        assert header_of(head, "expect") == "100-continue"
        await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await talk.reader.readexactly(2 * MIB)
        await talk.send(OK)

    body = tmp_path / "body"
    body.write_bytes(bytes(2 * MIB))
    async with proxied(ask_for_it) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/"
        out, told = await curl("--data-binary", f"@{body}", url)
        assert out == b"ok"
        assert "< HTTP/1.1 100 Continue" in told


async def test_curl_uploads_what_has_no_known_length() -> None:
    got = []

    async def swallow(talk: Talk) -> None:
        got.append(await whole_request(talk))
        await talk.send(OK)

    async with proxied(swallow) as proxy:
        url = f"http://127.0.0.1:{proxy.port}/"
        arguments = ("-T", "-", "-H", "Expect:", url)
        out, told = await curl(*arguments, stdin=b"y" * 300_000)
        assert out == b"ok"
        assert "> Transfer-Encoding: chunked" in told
        assert got == [b"y" * 300_000]


async def test_curl_uses_one_connection_for_several_requests() -> None:
    async with proxied(echo) as proxy:
        urls = [f"http://127.0.0.1:{proxy.port}/{n}" for n in range(4)]
        out, _ = await curl("-w", "%{num_connects}", *urls)
        assert out == b"/01/10/20/30"


@pytest.mark.parametrize("arguments", [("-0",), ("-0", "-H", "Connection: keep-alive")])
async def test_curl_with_http_1_0(arguments: tuple[str, ...]) -> None:
    async with proxied(echo) as proxy:
        urls = [f"http://127.0.0.1:{proxy.port}/{n}" for n in range(3)]
        out, _ = await curl(*arguments, *urls)
        assert out == b"/0/1/2"


async def test_curl_heads() -> None:
    async with proxied(echo) as proxy:
        out, _ = await curl("-I", f"http://127.0.0.1:{proxy.port}/abc")
        assert out.startswith(b"HTTP/1.1 200 OK\r\n")
        assert header_of(out, "content-length") == "4"


async def test_curl_shows_the_name_of_a_failure() -> None:
    async with proxied(endpoints=[DEAD], retry={"preset": "off"}) as proxy:
        out, told = await curl(f"http://127.0.0.1:{proxy.port}/")
        assert "< x-316-code: 316-CONN-REFUSED" in told
        assert b'"code": "316-CONN-REFUSED"' in out
