"""The way of one attempt to a connection: what it was granted is given back once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.attempt import Try
from sidecar.checkout import Checkout
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.rendezvous import Rendezvous
from sidecar.upstream.pool import CONNECT
from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from sidecar.upstream.pool import Connect, Pool


class Nobody:
    """An exchange that does not care."""

    def moved(self) -> None: ...
    def forward_interim(self, head: object) -> None: ...
    def pause_request(self) -> None: ...
    def resume_request(self) -> None: ...


class Way:
    """A checkout under way, and what came of it."""

    def __init__(self, wire: FakeWire) -> None:
        self.wire = wire
        self.meeting = Rendezvous()
        route = wire.runtime.routes[0]
        self.attempt = Try(1, route, Nobody(), self.meeting, None, wire.clock.now_s())
        self.attempt.endpoint = route.upstream.pool.endpoints[0]
        self.fault: BaseException | None = None
        self.is_over = False

    def begin(self) -> Way:
        assert self.attempt.endpoint is not None
        granted = self.pool.take(self.attempt.endpoint, self.wire.clock.now_s(), 9.0)
        assert granted is None or granted is CONNECT
        self.meeting.run(self._run(CONNECT if granted else None))
        self.wire.turn()
        return self

    async def _run(self, granted: Connect | None) -> None:
        way = Checkout(self.attempt, self.wire.clock, self.meeting)
        try:
            await way.finish(granted, 9.0)
        except ProxyFault as fault:
            self.fault = fault
        self.is_over = True

    def end(self) -> None:
        """Give the connection back, as who had it for nothing."""
        assert self.attempt.connection is not None
        assert self.attempt.endpoint is not None
        self.attempt.connection.close()
        self.attempt.connection = None
        self.pool.give_up(self.attempt.endpoint)
        self.wire.turn()

    @property
    def pool(self) -> Pool:
        return self.wire.upstream.pool


GONE = ProxyFault(FaultCode.CLIENT_ABORT, "left")


@pytest.fixture
def wire() -> FakeWire:
    return FakeWire(upstream={"pool": {"max_connections": 1, "max_pending": 2}})


def test_with_a_grant_a_connection_is_opened(wire: FakeWire) -> None:
    way = Way(wire).begin()
    assert way.is_over
    assert way.attempt.connection is not None
    assert not way.attempt.is_reused
    way.end()
    wire.end()


def test_without_one_its_turn_is_awaited(wire: FakeWire) -> None:
    first, second = Way(wire).begin(), Way(wire).begin()
    assert not second.is_over
    assert wire.upstream.pool.pending == 1
    first.end()
    assert second.attempt.connection is not None
    second.end()
    wire.end()


def test_who_comes_while_the_queue_is_full_is_refused(wire: FakeWire) -> None:
    first, second, third = (Way(wire).begin() for _ in range(3))
    refused = Way(wire).begin()
    assert isinstance(refused.fault, ProxyFault)
    assert refused.fault.code is FaultCode.POOL_EXHAUSTED
    for way in (first, second, third):
        way.end()
    wire.end()


@pytest.mark.parametrize("is_told", [False, True])
def test_an_interruption_in_the_queue_leaves_no_place_taken(
    wire: FakeWire, *, is_told: bool
) -> None:
    """Also between the moment its turn is told and the turn itself."""
    first, leaver, last = (Way(wire).begin() for _ in range(3))
    if is_told:
        assert first.attempt.endpoint is not None
        assert first.attempt.connection is not None
        first.attempt.connection.close()
        first.pool.give_up(first.attempt.endpoint)  # Without a turn of the loop.
    leaver.meeting.interrupt(GONE)
    assert leaver.fault is GONE
    if is_told:
        wire.turn()
    else:
        first.end()
    assert last.attempt.connection is not None
    last.end()
    wire.end()


def test_an_interruption_while_connecting_stops_it(wire: FakeWire) -> None:
    wire.is_holding = True
    way = Way(wire).begin()
    way.meeting.interrupt(GONE)
    assert way.fault is GONE
    assert wire.openings[0].is_cancelled
    wire.end()


def test_a_connection_that_fails_is_a_fault_and_room_for_the_next(
    wire: FakeWire,
) -> None:
    wire.is_holding = True
    first, second = Way(wire).begin(), Way(wire).begin()
    wire.refuse()
    wire.open_next()
    assert isinstance(first.fault, ProxyFault)
    assert first.fault.code is FaultCode.CONN_REFUSED
    wire.errors.clear()
    wire.open_next()
    assert second.attempt.connection is not None
    second.end()
    wire.end()
