"""Each case twice, direct and through: both ends must see the same, to the byte."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.proxy import proxied
from tests.websocket.cases import CASES, Case
from tests.websocket.peers import (
    aiohttp_client,
    aiohttp_server,
    raw_client,
    raw_server,
    unmasked,
    websockets_client,
    websockets_server,
)

if TYPE_CHECKING:
    from tests.websocket.peers import Client, Server

EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@EACH
@pytest.mark.parametrize("server", [websockets_server, aiohttp_server])
async def test_a_server_and_who_speaks_to_it_see_the_same(
    case: Case, server: Server
) -> None:
    notes: asyncio.Queue[list[Any]] = asyncio.Queue()
    async with server(notes) as port:
        direct = await raw_client(port, case)
        seen_direct = await notes.get()
        async with proxied(endpoints=[f"127.0.0.1:{port}"]) as proxy:
            through = await raw_client(proxy.port, case)
            seen_through = await notes.get()
    assert through == direct
    assert seen_through == seen_direct


@EACH
@pytest.mark.parametrize("client", [websockets_client, aiohttp_client])
async def test_a_client_and_whom_it_asks_see_the_same(
    case: Case, client: Client
) -> None:
    notes: asyncio.Queue[list[Any]] = asyncio.Queue()
    async with raw_server(notes, case) as port:
        direct = await client(port)
        head, received = await notes.get()
        async with proxied(endpoints=[f"127.0.0.1:{port}"]) as proxy:
            through = await client(proxy.port)
            head_through, received_through = await notes.get()
    assert through == direct
    assert unmasked(received_through) == unmasked(received)
    assert [line.split(b":")[0] for line in head_through] == [
        line.split(b":")[0] for line in head
    ]
