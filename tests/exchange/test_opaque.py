"""Bytes pass both ways in order, bounded, and nothing is left whatever happens when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.accept.opaque import OpaqueConnection
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.settings.snapshot import Address
from tests.support.ends import End, FakeTransport
from tests.support.wire import FakeWire

if TYPE_CHECKING:
    import asyncio

    from sidecar.destinations import Destination
    from sidecar.runtime import Runtime
    from tests.exchange.conftest import MakeWire

MANY = b"x" * 70_000  # More than a buffer.
REFUSED = ProxyFault(FaultCode.CONN_REFUSED, "refused")


class Passing:
    """One opaque connection; a test is its client, its server, and the way there."""

    def __init__(self, wire: FakeWire, port: int = 7000) -> None:
        self.wire = wire
        self.place = wire.runtime.destinations.enter(
            "inbound", Address("10.0.0.1", port)
        )
        wire.acceptor.make_way = self._way
        self.opaque = OpaqueConnection(wire.acceptor, "192.0.2.1", self.place)
        self.near = FakeTransport(wire, None, "192.0.2.1")
        self.firsts: list[bytes] = []
        self.far: FakeTransport | None = None
        self.is_stopped = False
        self._far: asyncio.Protocol | None = None

    def _way(
        self,
        _runtime: Runtime,
        _place: Destination,
        protocol: asyncio.Protocol,
        on_failed: Any,
    ) -> Passing:
        self._far, self._on_failed = protocol, on_failed
        return self

    def stop(self) -> None:
        self.is_stopped = True

    @property
    def client(self) -> End:
        return self.near.end

    @property
    def server(self) -> End:
        assert self.far is not None
        return self.far.end

    def begin(self, data: bytes = b"", *, has_ended: bool = False) -> Passing:
        self.wire.clients.append(self.client)
        self.opaque.begin(self.near, data, has_ended=has_ended)
        self.wire.turn()
        return self

    def reach(self, *, is_taking: bool = True) -> Passing:
        """Let the connection be made."""
        assert self._far is not None
        self.far = FakeTransport(self.wire, self._far, "10.0.0.1")
        self.far.is_taking = is_taking
        self.wire.clients.append(self.server)
        self._far.connection_made(self.far)
        self.wire.turn()
        return self

    def unreach(self) -> None:
        self._on_failed(REFUSED)
        self.wire.turn()

    def connect(self) -> Passing:
        """Connect before anything is known of the client."""
        self.opaque.connect(self.firsts.append)
        return self

    @property
    def left(self) -> dict[str, int]:
        """What is not given back yet."""
        counts = self.wire.recorder.opaque
        left = {**self.wire.leftovers, "users": self.place.users}
        left["open"] = sum(counts.open.values())
        return {name: count for name, count in left.items() if count}


@pytest.fixture
def passing(make: MakeWire) -> Passing:
    return Passing(make())


def test_what_the_client_says_before_there_is_a_server_comes_first(
    passing: Passing,
) -> None:
    passing.begin(b"a")
    passing.client.send(b"b")
    passing.reach()
    passing.client.send(b"c")
    passing.client.send_eof()
    assert passing.server.received == b"abc"
    assert passing.server.has_eof


def test_a_client_that_has_ended_before_there_is_a_server_is_heard_to_the_end(
    passing: Passing,
) -> None:
    passing.begin(b"a", has_ended=True).reach()
    assert passing.server.received == b"a"
    assert passing.server.has_eof
    passing.server.send(b"answer")
    passing.server.send_eof()
    assert passing.client.received == b"answer"
    assert passing.client.is_closed
    assert not passing.near.was_aborted
    assert passing.left == {}


def test_a_server_that_speaks_first_and_much_waits_for_its_client(
    passing: Passing,
) -> None:
    passing.connect().reach()
    passing.server.send(MANY)
    assert passing.firsts == [MANY]
    assert not passing.server.is_read
    passing.near.is_taking = False
    passing.begin()
    passing.server.send(MANY)
    assert passing.client.received == MANY
    assert not passing.server.is_read
    passing.client.take_all()
    assert passing.client.received == 2 * MANY
    assert passing.server.is_read


def test_a_client_that_said_much_before_there_is_a_server_waits_for_it(
    passing: Passing,
) -> None:
    passing.begin(MANY)
    passing.client.send(b"more")
    assert not passing.client.is_read
    passing.reach(is_taking=False)
    passing.client.send(b"and more")
    assert passing.server.received == MANY
    assert not passing.client.is_read


def test_many_short_writes_to_a_slow_client_are_bounded(passing: Passing) -> None:
    passing.begin().reach()
    passing.client.stop_taking()
    passing.server.send(b"x" * 4096, piece_bytes=1)
    assert len(passing.client.received) < 1024
    passing.client.take_all()
    assert len(passing.client.received) == 4096


@pytest.mark.parametrize("has_begun", [True, False])
def test_silence_has_an_end_also_while_nobody_knows_what_it_is(
    passing: Passing, *, has_begun: bool
) -> None:
    if has_begun:
        passing.begin().reach()
    else:
        passing.connect().reach()
    passing.wire.clock.advance(passing.wire.acceptor.interception.idle_s + 1)
    if not has_begun:
        assert passing.firsts == [b""]
        passing.begin()
    assert passing.near.was_aborted
    assert passing.wire.codes == ["316-TIMEOUT-IDLE"]
    assert passing.left == {}


@pytest.mark.parametrize("error", [None, ConnectionResetError(104, "reset")])
def test_a_server_that_is_gone_before_its_client_is_known_resets_it(
    passing: Passing, error: Exception | None
) -> None:
    passing.connect().reach()
    passing.server.leave(error)
    assert passing.firsts == [b""]
    passing.begin(b"hello")
    assert passing.near.was_aborted
    assert passing.wire.codes == ["316-CONN-RESET"]
    assert passing.left == {}


@pytest.mark.parametrize("is_client", [True, False])
def test_a_reset_of_one_side_is_one_for_the_other(
    passing: Passing, *, is_client: bool
) -> None:
    passing.begin().reach()
    assert passing.far is not None
    lost, other = passing.client, passing.far
    if not is_client:
        lost, other = passing.server, passing.near
    lost.leave(ConnectionResetError(104, "reset"))
    assert other.was_aborted
    assert passing.left == {}


def test_one_that_does_not_read_its_end_counts_until_it_is_gone(
    passing: Passing,
) -> None:
    """And what it has not read by then ends as a reset: it is not whole."""
    passing.begin().reach()
    passing.client.stop_taking()
    passing.server.send(b"the rest")
    passing.server.send_eof()
    passing.client.send_eof()
    assert passing.client.is_closed
    assert passing.left == {"clients": 1, "users": 1, "timers": 1}
    passing.wire.clock.advance(passing.wire.runtime.snapshot.limits.flush_s)
    assert passing.near.was_aborted
    assert passing.left == {}


def test_a_cut_ends_what_is_still_being_read(passing: Passing) -> None:
    passing.begin().reach()
    passing.client.stop_taking()
    passing.server.send(b"the rest")
    passing.server.send_eof()
    passing.client.send_eof()
    passing.wire.acceptor.cut()
    passing.wire.turn()
    assert passing.near.was_aborted
    assert passing.left == {}


def test_a_connection_that_is_made_too_late_is_closed(passing: Passing) -> None:
    passing.begin()
    passing.client.leave()
    passing.reach()
    assert passing.far is not None
    assert passing.far.was_aborted
    assert passing.left == {}


def test_who_gets_no_connection_in_time_is_reset(make: MakeWire) -> None:
    passing = Passing(make(), port=5432)
    passing.begin(b"startup")
    passing.wire.clock.advance(passing.wire.acceptor.interception.connect_s)
    assert passing.is_stopped
    assert passing.near.was_aborted
    assert passing.wire.codes == ["316-DB-CONN-ERR"]
    assert passing.left == {}


EVENTS = (
    "begin", "begin ended", "reach", "unreach", "drop", "cut", "wait",
    "client data", "client end", "client leave", "client reset", "client stop",
    "client take", "server data", "server end", "server leave", "server reset",
    "server stop", "server take",
)  # fmt: skip


class Anything:
    """Lets events happen that can happen now; the others are left out."""

    def __init__(self) -> None:
        self.passing = Passing(FakeWire()).connect()
        self.has_begun = self.is_dropped = self.is_resolved = False
        self.sent = {"client": b"", "server": b""}

    def happen(self, event: str) -> None:
        who, _, what = event.partition(" ")
        if who in {"client", "server"}:
            self._side(who, what)
        elif who == "begin":
            self._begin(has_ended=what == "ended")
        elif who in {"reach", "unreach"}:
            if not self.is_resolved:
                self.is_resolved = True
                getattr(self.passing, who)()
        elif who == "wait":
            self.passing.wire.clock.advance(1.0)
        elif who == "cut" and self.has_begun:
            self.passing.opaque.cut()
        elif who == "drop" and not (self.has_begun or self.is_dropped):
            self._drop()
        self.passing.wire.turn()

    def _begin(self, *, has_ended: bool) -> None:
        if not (self.has_begun or self.is_dropped):
            self.has_begun = True
            self.sent["client"] = b"first,"
            self.passing.client.has_ended = has_ended
            self.passing.begin(b"first,", has_ended=has_ended)

    def _drop(self) -> None:
        self.is_dropped = True
        self.passing.opaque.drop()
        self.passing.wire.runtime.destinations.leave(self.passing.place)

    def _side(self, who: str, what: str) -> None:
        passing = self.passing
        far = passing.far
        if (not self.has_begun) if who == "client" else (far is None):
            return
        end = passing.client if who == "client" else passing.server
        if end.transport.is_closing():
            if what == "take" and end.transport.unread:
                end.take_all()
            return
        if what == "data" and not end.has_ended and end.is_read:
            word = b"%d," % len(self.sent[who])
            self.sent[who] += word
            end.send(word)
        elif what == "end" and not end.has_ended:
            end.send_eof()
        elif what in {"leave", "reset"}:
            end.leave(ConnectionResetError() if what == "reset" else None)
        elif what == "stop":
            end.stop_taking()
        elif what == "take":
            end.take_all()

    def finish(self) -> None:
        """Let all be over, as time does."""
        self._begin(has_ended=False)
        self.happen("client end")
        self.passing.wire.clock.advance(10_000.0)
        self.passing.wire.turn()


@given(st.lists(st.sampled_from(EVENTS), max_size=24))
def test_whatever_happens_in_whichever_order_nothing_is_lost_or_left(
    events: list[str],
) -> None:
    """What arrives is what was sent, up to where it ends; all is given back."""
    case = Anything()
    for event in events:
        case.happen(event)
    case.finish()
    passing = case.passing
    assert case.sent["server"].startswith(passing.client.received)
    if passing.far is not None:
        assert case.sent["client"].startswith(passing.server.received)
        assert passing.far.is_lost
    if case.has_begun:
        assert passing.near.is_lost
    assert passing.left == {}
