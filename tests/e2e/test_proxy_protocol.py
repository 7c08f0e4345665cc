"""Behind a load balancer that tells whose connections it hands on."""

from __future__ import annotations

import socket
import struct
from typing import Any

import pytest

from tests.support.proxy import ANYWHERE, OK, Talk, proxied

INBOUND = {"listen": ANYWHERE, "proxy_protocol": True}
EXPECTING: dict[str, Any] = {"inbound": INBOUND}
V1 = b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + socket.inet_aton("192.0.2.1")
    + socket.inet_aton("10.0.0.1")
    + struct.pack("!HH", 56324, 443)
)
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("is_whole", [True, False])
async def test_the_client_is_whom_the_balancer_names(
    header: bytes, *, is_whole: bool
) -> None:
    async with proxied(top=EXPECTING) as proxy:
        reader, writer = await proxy.connect()
        if is_whole:
            writer.write(header + LAST)
        else:
            for byte in header:
                writer.write(bytes((byte,)))
                await writer.drain()
            writer.write(LAST)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        (asked,) = proxy.origin.requests
        assert b"X-Forwarded-For: 192.0.2.1\r\n" in asked


async def test_who_sends_none_is_not_served() -> None:
    async with proxied(top=EXPECTING) as proxy:
        assert await proxy.ask(LAST) == b""
        assert proxy.origin.requests == []
        (fault,) = proxy.faults
        assert fault["code"] == "316-VALIDATION-ERR"
        assert "without a PROXY header" in fault["detail"]


async def test_who_is_not_trusted_is_not_believed() -> None:
    async with proxied(top={**EXPECTING, "trusted_peers": ["192.0.2.0/24"]}) as proxy:
        assert await proxy.ask(V1 + LAST) == b""
        assert proxy.origin.requests == []
        (fault,) = proxy.faults
        assert "not in trusted_peers" in fault["detail"]


async def test_who_does_not_finish_it_is_let_go() -> None:
    limits = {"request_headers": "50ms"}
    async with proxied(top={**EXPECTING, "limits": limits}) as proxy:
        assert await proxy.ask(V1[:9]) == b""
        (fault,) = proxy.faults
        assert fault["code"] == "316-CLIENT-SLOW"
        assert not proxy.app.acceptors[0].connections


async def test_not_expected_it_is_a_request_line_that_is_none() -> None:
    async with proxied() as proxy:
        assert (await proxy.ask(V1 + LAST)).startswith(b"HTTP/1.1 400")


async def test_a_connection_goes_on_after_its_header() -> None:
    async def script(talk: Talk) -> None:
        while await talk.request():
            await talk.send(OK)

    async with proxied(script, top=EXPECTING) as proxy:
        reader, writer = await proxy.connect()
        writer.write(V2)
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ok"
        writer.close()
