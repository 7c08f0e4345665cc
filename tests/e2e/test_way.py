"""The way to a destination, over real sockets: known by name, gone without a trace."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from sidecar.accept.way import Way
from sidecar.destinations import Destination
from sidecar.settings.snapshot import Address
from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.faults.catalogue import ProxyFault


class Far(asyncio.Protocol):
    """What gets the connection."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.made: asyncio.Future[asyncio.Transport] = loop.create_future()
        self.failed: asyncio.Future[ProxyFault] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.made.set_result(transport)  # type: ignore[arg-type]  # A TCP one.


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        yield made


def way_to(wire: FakeWire, far: Far, port: int, *hosts: str) -> Way:
    place = Destination("outbound", Address(hosts[0], port))
    place.reached_at = Address(hosts[0], port, hosts[1:])
    return Way(wire.runtime, place, far, far.failed.set_result)


async def first_byte(taken: socket.socket) -> bytes:
    taken.setblocking(False)
    return await asyncio.get_running_loop().sock_recv(taken, 1)


async def test_a_connection_is_known_by_its_name_until_it_is_let_go(
    listening: socket.socket,
) -> None:
    wire, far = FakeWire(), Far()
    way = way_to(wire, far, listening.getsockname()[1], "127.0.0.1")
    transport = await far.made
    taken, name = listening.accept()
    with taken:
        assert wire.runtime.own_ends == {name}
        way.stop()
        assert wire.runtime.own_ends == set()
        transport.abort()
        assert await first_byte(taken) == b""


async def test_the_next_host_is_tried_where_nobody_listens(
    listening: socket.socket,
) -> None:
    wire, far = FakeWire(), Far()
    way = way_to(wire, far, listening.getsockname()[1], "127.0.0.2", "127.0.0.1")
    transport = await far.made
    assert len(wire.runtime.own_ends) == 1
    assert transport.get_extra_info("peername")[0] == "127.0.0.1"
    way.stop()
    transport.abort()


@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("127.0.0.2", "127.0.0.1")])
async def test_where_nobody_listens_that_is_told_once(
    listening: socket.socket, hosts: tuple[str, ...]
) -> None:
    wire, far = FakeWire(), Far()
    port = listening.getsockname()[1]
    listening.close()
    way_to(wire, far, port, *hosts)
    fault = await far.failed
    assert fault.spec.code == "316-CONN-REFUSED"
    assert wire.runtime.own_ends == set()


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_is_stopped_on_its_way_leaves_nothing(
    listening: socket.socket, turns: int
) -> None:
    """Whenever that is: whoever took it sees its end."""
    wire, far = FakeWire(), Far()
    way = way_to(wire, far, listening.getsockname()[1], "127.0.0.1")
    for _ in range(turns):
        await asyncio.sleep(0)
    way.stop()
    if far.made.done():
        far.made.result().abort()
    await asyncio.gather(way._task, return_exceptions=True)
    assert wire.runtime.own_ends == set()
    assert not far.failed.done()
    if turns:
        taken, _ = listening.accept()
        with taken:
            assert await first_byte(taken) == b""
