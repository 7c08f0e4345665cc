"""Who is ended when too many clients do not read, and who is spared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.policy.stalled import StalledReaders
from tests.support.clock import FakeClock

AFTER_S = 2.0


class Client:
    """One that takes so many bytes a second, of an answer without end."""

    def __init__(self, clock: FakeClock, bytes_per_s: int = 0) -> None:
        self.clock = clock
        self.bytes_per_s = bytes_per_s
        self.stalled: StalledReaders
        self.ended_s: float | None = None

    def unsent_bytes(self) -> int:
        return 10**9 - int(self.clock.now_s() * self.bytes_per_s)

    def end_stalled(self, detail: str) -> None:
        assert self.ended_s is None
        assert "took" in detail
        self.ended_s = self.clock.now_s()
        self.stalled.resumed(self)


class Room:
    """Clients of one upstream."""

    def __init__(self, most: int) -> None:
        self.clock = FakeClock(0.0)
        self.stalled = StalledReaders(most, AFTER_S, self.clock)

    def enter(self, bytes_per_s: int = 0) -> Client:
        client = Client(self.clock, bytes_per_s)
        client.stalled = self.stalled
        self.stalled.stalls(client)
        return client


def test_up_to_the_limit_nobody_is_ended() -> None:
    room = Room(2)
    clients = [room.enter(), room.enter()]
    room.clock.advance(3600)
    assert [client.ended_s for client in clients] == [None, None]


def test_beyond_it_who_stalls_longest_is_ended_as_soon_as_it_has_for_long() -> None:
    room = Room(2)
    first = room.enter()
    room.clock.advance(0.5)
    others = [room.enter(), room.enter()]
    room.clock.advance(60)
    assert first.ended_s == AFTER_S
    assert [client.ended_s for client in others] == [None, None]
    assert room.stalled.count == 2


def test_who_stalls_for_long_is_ended_soon_after_the_one_too_many() -> None:
    room = Room(1)
    first = room.enter()
    room.clock.advance(60)
    room.enter()
    room.clock.advance(0)
    assert first.ended_s == 60


def test_who_reads_again_in_time_is_spared() -> None:
    room = Room(1)
    clients = [room.enter(), room.enter()]
    room.clock.advance(1)
    room.stalled.resumed(clients[0])
    room.clock.advance(60)
    assert [client.ended_s for client in clients] == [None, None]


@pytest.mark.parametrize(("bytes_per_s", "is_spared"), [(2000, True), (500, False)])
def test_slow_is_not_stuck(bytes_per_s: int, *, is_spared: bool) -> None:
    room = Room(1)
    slow = room.enter(bytes_per_s)
    room.clock.advance(0.1)
    stuck = room.enter()
    room.clock.advance(60)
    assert (slow.ended_s is None) is is_spared
    assert (stuck.ended_s is None) is not is_spared


def test_who_may_not_stall_at_all_may_for_a_while() -> None:
    room = Room(0)
    client = room.enter()
    room.clock.advance(1.9)
    assert client.ended_s is None
    room.clock.advance(0.2)
    assert client.ended_s == AFTER_S


def test_an_end_that_lets_the_next_one_stall_loses_no_look() -> None:
    """What gets the place may be full at once."""
    room = Room(0)
    client = Client(room.clock)
    client.stalled = room.stalled
    entered: list[Client] = []

    def end_stalled(_detail: str) -> None:
        room.stalled.resumed(client)
        entered.append(room.enter())

    client.end_stalled = end_stalled  # type: ignore[method-assign,assignment]
    room.stalled.stalls(client)
    room.clock.advance(2 * AFTER_S)
    assert entered[0].ended_s == 2 * AFTER_S


steps = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.sampled_from([0, 100, 5000])),
        st.tuples(st.just("resume"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(0, 30)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(most=st.integers(0, 3), steps=steps)
def test_no_more_are_stuck_for_long_than_may_be(
    most: int, steps: list[tuple[str, int]]
) -> None:
    room = Room(most)
    inside: dict[Client, float] = {}
    for what, number in steps:
        if what == "enter":
            client = room.enter(number)
            inside[client] = room.clock.now_s()
        elif what == "wait":
            room.clock.advance(number / 10)
        elif number < len(inside):
            client = list(inside)[number]
            del inside[client]
            room.stalled.resumed(client)
        for client, since_s in list(inside.items()):
            if client.ended_s is not None:
                assert client.bytes_per_s < 1024
                assert client.ended_s >= since_s + AFTER_S
                del inside[client]
        long_ago_s = room.clock.now_s() - AFTER_S
        for_long = [
            s for c, s in inside.items() if s < long_ago_s and not c.bytes_per_s
        ]
        assert room.stalled.count == len(inside)
        assert len(for_long) <= most
