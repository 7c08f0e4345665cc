"""Addresses of a pool come and go under any order of events, against a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.settings.snapshot import Address
from sidecar.upstream.pool import CONNECT, Endpoint, Pool, PoolLimits

if TYPE_CHECKING:
    from sidecar.upstream.connection import UpstreamConnection

MOST = 3
ADDRESSES = tuple(Address(f"10.0.0.{number}", 80) for number in range(1, 5))
CHOICES = st.lists(st.sampled_from(ADDRESSES), max_size=5)


class Link:
    """A connection, as far as a pool sees it."""

    is_closing = False
    idle_since_s = 0.0
    idle_limit_s = 60.0
    served = 1

    def __init__(self, *, is_slow: bool = False) -> None:
        self.closed = 0
        self._is_slow = is_slow

    def release(self) -> bool:
        return True

    def close(self) -> bool:
        self.closed += 1
        return self._is_slow

    @property
    def real(self) -> UpstreamConnection:
        return cast("UpstreamConnection", self)


class Caller:
    """A request that waits, and is told."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.is_told = False

    def on_room(self) -> None:
        assert not self.is_told
        self.is_told = True


class AnyOrder(RuleBasedStateMachine):
    """Requests come, end and wait while the addresses change."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.pool = Pool(PoolLimits(MOST, 4, 60.0, None), ADDRESSES[:2])
        self.wanted = list(ADDRESSES[:2])
        self.busy: list[tuple[Endpoint, Link]] = []
        self.idle: dict[Endpoint, list[Link]] = {}
        self.callers: list[Caller] = []

    @rule(addresses=CHOICES)
    def the_addresses_change(self, addresses: list[Address]) -> None:
        before = {endpoint.address: endpoint for endpoint in self.pool.endpoints}
        self.pool.update(addresses)
        self.wanted = list(dict.fromkeys(addresses))
        for endpoint in self.pool.endpoints:  # Who stays keeps what it has.
            assert before.get(endpoint.address, endpoint) is endpoint
        for endpoint in [e for e in self.idle if e.is_removed]:
            assert all(link.closed == 1 for link in self.idle.pop(endpoint))
        if not addresses:
            assert all(caller.is_told for caller in self.callers)

    @precondition(lambda self: self.wanted)
    @rule(turn=st.integers(0, 9))
    def a_request_comes(self, turn: int) -> None:
        endpoints = self.pool.endpoints
        self.take(endpoints[turn % len(endpoints)], is_in_turn=False)

    @rule()
    def who_was_told_comes(self) -> None:
        told = next((caller for caller in self.callers if caller.is_told), None)
        if told is None:
            return
        self.callers.remove(told)
        endpoint = told.endpoint
        if endpoint.is_removed and self.pool.endpoints:
            endpoint = self.pool.endpoints[0]
        if endpoint.is_removed:
            self.pool.leave(told)
        else:
            self.take(endpoint, is_in_turn=True)

    @precondition(lambda self: self.callers)
    @rule()
    def who_waits_leaves(self) -> None:
        self.pool.leave(self.callers.pop(0))

    @precondition(lambda self: self.busy)
    @rule(turn=st.integers(0, 9), is_good=st.booleans())
    def a_request_ends(self, turn: int, *, is_good: bool) -> None:
        endpoint, link = self.busy.pop(turn % len(self.busy))
        if not is_good:
            self.pool.give_up(endpoint)
            return
        self.pool.give_back(endpoint, link.real, self.now_s)
        if endpoint.is_removed:
            assert link.closed == 1
        else:
            self.idle.setdefault(endpoint, []).append(link)

    @precondition(lambda self: any(self.idle.values()))
    @rule()
    def an_idle_connection_is_lost(self) -> None:
        endpoint, links = next(pair for pair in self.idle.items() if pair[1])
        self.pool.forget(endpoint, links.pop().real)

    def take(self, endpoint: Endpoint, *, is_in_turn: bool) -> None:
        assert not endpoint.is_removed
        grant = self.pool.take(endpoint, self.now_s, 60.0, is_in_turn=is_in_turn)
        if grant is CONNECT:
            self.busy.append((endpoint, Link()))
            self.forget_closed()
        elif grant is not None:
            link = cast("Link", grant)
            assert not link.closed
            self.idle[endpoint].remove(link)
            self.busy.append((endpoint, link))
        else:
            caller = Caller(endpoint)
            if self.pool.enqueue(caller, is_first=is_in_turn):
                self.callers.insert(0, caller) if is_in_turn else self.callers.append(
                    caller
                )

    def forget_closed(self) -> None:
        """To make room, the pool may have closed an idle one."""
        for links in self.idle.values():
            links[:] = [link for link in links if not link.closed]

    @invariant()
    def the_counts_are_exact(self) -> None:
        pool = self.pool
        assert [e.address for e in pool.endpoints] == self.wanted
        idle = sum(map(len, self.idle.values()))
        assert pool.open_connections == len(self.busy) + idle <= MOST
        assert pool.leaving == sum(e.is_removed for e, _ in self.busy)
        assert pool.pending == sum(not caller.is_told for caller in self.callers)

    def teardown(self) -> None:
        """All end: nothing is left but what is idle."""
        while self.callers:
            self.who_waits_leaves()
        for endpoint, _ in self.busy:
            self.pool.give_up(endpoint)
        self.pool.close()
        assert self.pool.open_connections == self.pool.leaving == 0
        assert self.pool._leaving == []
        assert self.pool._told == 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=40)


def pool_of(*addresses: Address) -> Pool:
    return Pool(PoolLimits(MOST, 4, 60.0, None), addresses)


def test_an_address_that_comes_back_is_the_endpoint_that_still_leaves() -> None:
    """Else its connections would be counted for nobody."""
    pool = pool_of(*ADDRESSES[:1])
    (endpoint,) = pool.endpoints
    pool.take(endpoint, 0, 9)
    pool.update(ADDRESSES[1:2])
    assert (pool.leaving, pool.open_connections) == (1, 1)
    pool.update(ADDRESSES[:2])
    assert pool.endpoints[0] is endpoint
    assert (pool.leaving, pool.open_connections) == (0, 1)
    link = Link()
    pool.give_back(endpoint, link.real, 0)
    assert (link.closed, endpoint.idle) == (0, [link.real])


def test_a_closed_connection_whose_peer_is_slow_is_waited_for() -> None:
    """Until it is gone, or the process ends."""
    pool = pool_of(*ADDRESSES[:1])
    (endpoint,) = pool.endpoints
    pool.take(endpoint, 0, 9)
    link = Link(is_slow=True)
    pool.give_back(endpoint, link.real, 0)
    pool.update([])
    assert pool.ending == 1
    pool.forget(endpoint, link.real)
    assert pool.ending == 0
