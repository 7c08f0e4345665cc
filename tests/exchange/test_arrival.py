"""A redirected connection goes to whom it belongs, whoever speaks, ends or waits."""

from __future__ import annotations

import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.accept.arrival import Arrival
from sidecar.accept.client import ClientConnection
from sidecar.accept.opaque import OpaqueConnection
from sidecar.faults.catalogue import FaultCode, ProxyFault
from tests.support.ends import FakeSocket, FakeTransport
from tests.support.wire import OK, FakeWire, get

if TYPE_CHECKING:
    import asyncio

    from sidecar.destinations import Destination
    from sidecar.runtime import Runtime
    from tests.exchange.conftest import MakeWire
    from tests.support.ends import End

PEEK_S = 0.1
ORIGINAL: dict[str, Any] = {"original_destination": True}


class Redirected(FakeSocket):
    """A socket whose connection the kernel has redirected."""

    family = socket.AF_INET

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def getsockopt(self, *_option: int) -> bytes:
        address = socket.inet_aton("10.0.0.1")
        return struct.pack("!HH4s8x", 2, self._port, address)

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 15006


class Arriving:
    """One client that was on its way to a port of 10.0.0.1."""

    def __init__(self, wire: FakeWire, port: int = 7000) -> None:
        self.wire = wire
        wire.acceptor.make_way = self._way
        self.ways: list[tuple[asyncio.Protocol, Any]] = []
        self.servers: list[FakeTransport] = []
        protocol = wire.acceptor._new_connection()
        self.near = FakeTransport(wire, protocol, "192.0.2.1")
        self.near._extra["socket"] = Redirected(port)  # type: ignore[attr-defined]
        wire.clients.append(self.near.end)
        protocol.connection_made(self.near)
        wire.turn()

    def _way(
        self, _runtime: Runtime, _place: Destination, far: asyncio.Protocol, failed: Any
    ) -> Arriving:
        self.ways.append((far, failed))
        return self

    def stop(self) -> None:
        self.ways = []

    @property
    def client(self) -> End:
        return self.near.end

    @property
    def is_opaque(self) -> bool:
        return not isinstance(self.near.protocol, Arrival | ClientConnection)

    @property
    def is_http(self) -> bool:
        return isinstance(self.near.protocol, ClientConnection)

    def reach(self) -> None:
        far, _ = self.ways.pop()
        self.servers.append(FakeTransport(self.wire, far, "10.0.0.1"))
        self.wire.clients.append(self.servers[-1].end)
        far.connection_made(self.servers[-1])
        self.wire.turn()

    def unreach(self) -> None:
        _, failed = self.ways.pop()
        failed(ProxyFault(FaultCode.CONN_REFUSED, "refused"))
        self.wire.turn()

    @property
    def left(self) -> dict[str, int]:
        """What is not given back yet."""
        places = self.wire.runtime.destinations._places.values()
        left = {**self.wire.leftovers, "users": sum(each.users for each in places)}
        left["open"] = sum(self.wire.recorder.opaque.open.values())
        return {name: count for name, count in left.items() if count}


def test_a_connection_is_counted_once_whatever_it_becomes(make: MakeWire) -> None:
    wire = make(upstream=ORIGINAL, top={"limits": {"connections_per_client": 1}})
    wire.acceptor.queue = queue = SimpleNamespace(accepted=0)  # type: ignore[assignment]
    for word in (get(), b"\x16\x03\x01"):
        arriving = Arriving(wire)
        arriving.client.send(word)
        assert arriving.is_http or arriving.is_opaque
        assert wire.runtime.clients.count == 1
        arriving.client.leave()
        assert wire.runtime.clients.count == 0
    assert queue.accepted == 2


def test_one_that_has_begun_to_speak_holds_up_a_drain_till_it_is_known(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    silent, begun = Arriving(wire), Arriving(wire)
    begun.client.send(b"GET / HT")
    wire.acceptor.drain()
    wire.turn()
    assert silent.near.was_aborted
    assert wire.acceptor.is_busy
    begun.client.send(b"TP/1.1\r\nHost: a\r\n\r\n")
    wire.origin().send(OK)
    assert begun.client.received.startswith(b"HTTP/1.1 200")


def test_a_method_that_comes_in_pieces_hides_no_request(make: MakeWire) -> None:
    wire = make(upstream=ORIGINAL)
    arriving = Arriving(wire)
    arriving.client.send(b"PO")
    wire.clock.advance(PEEK_S)
    assert arriving.is_http


def test_nobody_holds_a_connection_for_ever_without_a_word(make: MakeWire) -> None:
    wire = make(upstream=ORIGINAL)
    arriving = Arriving(wire)
    arriving.reach()
    wire.clock.advance(wire.acceptor.interception.idle_s)
    wire.clock.advance(PEEK_S)
    assert arriving.near.was_aborted
    assert wire.codes == ["316-TIMEOUT-IDLE"]
    assert arriving.left == {}


def test_a_server_that_refuses_is_told_of_in_http_to_who_speaks_it(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL, retry={"preset": "off"})
    wire.refuse()
    arriving = Arriving(wire)
    arriving.unreach()
    arriving.client.send(get())
    assert b"316-CONN-REFUSED" in arriving.client.received


def test_a_busy_server_of_http_is_not_taken_for_one_that_speaks_first(
    make: MakeWire,
) -> None:
    wire = make(upstream=ORIGINAL)
    first = Arriving(wire)
    first.reach()
    first.servers[0].end.send(b"HTTP/1.1 503 Busy\r\n\r\n")
    assert first.is_opaque
    second = Arriving(wire)
    second.client.send(get())
    assert second.is_http


def test_one_too_many_is_told_so_where_http_is_spoken(make: MakeWire) -> None:
    limits = {"connections_per_client": 1}
    wire = make(upstream=ORIGINAL, top={"limits": limits})
    first = Arriving(wire)
    assert Arriving(wire).near.was_aborted
    first.client.send(get())
    told = Arriving(wire)
    assert b"316-OVERLOAD" in told.client.received
    first.client.leave()
    told.client.leave()
    assert first.left == told.left == {}


def test_a_connection_of_our_own_is_a_loop(make: MakeWire) -> None:
    wire = make(upstream=ORIGINAL)
    wire.runtime.own_ends.add(("192.0.2.1", 4321))
    arriving = Arriving(wire)
    assert arriving.near.was_aborted
    assert wire.codes == ["316-PROXY-LOOP"]
    assert arriving.left == {}


EVENTS = (
    get(), b"GET", b"\x16", b"EHLO", b"\r\n", "end", "leave", "reset", "wait", "wait",
    "reach", "unreach", "server data", "server end", "server reset", "drain", "cut",
    "reload", "answer",
)  # fmt: skip


def happen(arriving: Arriving, event: str | bytes) -> None:
    """Let something happen, if it can now."""
    wire = arriving.wire
    if isinstance(event, bytes) or event in {"end", "leave", "reset"}:
        _say(arriving.client, event)
    elif event.startswith("server") and arriving.servers:
        _tell(arriving.servers[-1].end, event)
    elif event in {"reach", "unreach"} and arriving.ways:
        getattr(arriving, event)()
    elif event in {"drain", "cut"}:
        getattr(wire.acceptor, event)()
    elif event == "wait":
        wire.clock.advance(PEEK_S)
    elif event == "reload":
        wire.reload(upstream=ORIGINAL, timeouts={"request": "7s"})
    elif event == "answer" and wire.origins and not wire.origin().is_closed:
        wire.origin().send(OK)
    wire.turn()


def _say(client: End, event: str | bytes) -> None:
    if client.is_closed or client.has_ended:
        return
    if isinstance(event, bytes):
        client.send(event)
    elif event == "end":
        client.shut_down_writing()
    else:
        client.leave(ConnectionResetError() if event == "reset" else None)


def _tell(server: End, event: str) -> None:
    if server.is_closed or server.has_ended:
        return
    if event == "server data":
        server.send(b"220 hello\r\n")
    elif event == "server end":
        server.send_eof()
    else:
        server.leave(ConnectionResetError())


@given(
    st.lists(st.sampled_from(EVENTS), max_size=16), st.sampled_from([7000, 5432, 80])
)
def test_whatever_happens_in_whichever_order_nothing_is_left(
    events: list[str | bytes], port: int
) -> None:
    wire = FakeWire(upstream=ORIGINAL)
    arriving = Arriving(wire, port)
    for event in events:
        happen(arriving, event)
    wire.clock.advance(4_000.0)
    arriving.client.leave()
    for server in arriving.servers:
        assert server.is_closing()
    wire.clock.advance(4_000.0)
    wire.runtime.close()
    wire.turn()
    assert arriving.left == {}
    assert arriving.near.is_lost


@pytest.mark.parametrize("port", [7000, 5432])
def test_an_opaque_one_is_cut_at_the_end(make: MakeWire, port: int) -> None:
    wire = make(upstream=ORIGINAL)
    arriving = Arriving(wire, port)
    arriving.client.send(b"\x16")
    arriving.reach()
    (held,) = wire.acceptor.connections
    assert isinstance(held, OpaqueConnection)
    wire.acceptor.drain()
    assert not arriving.client.is_closed
    wire.acceptor.cut()
    wire.turn()
    assert arriving.near.was_aborted
    assert arriving.left == {}
