"""Traffic by interval: exact sums, quantiles from buckets, a bounded memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode
from sidecar.record import traffic as traffic_module
from sidecar.record.metrics.store import OVERFLOW, MetricStore
from sidecar.record.traffic import KEPT, Tick, Traffic, columns, figures, rates
from tests.support.clock import FakeClock
from tests.support.outcomes import failed, outcome


class Counted:
    """A store, and the traffic that is read of it, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MetricStore(100_000)
        self.traffic = Traffic(self.store.requests, self.clock.now_s())

    def count(self, route: str = "all", duration_s: float = 0.02) -> None:
        self.store.count_success(outcome(route=route, duration_s=duration_s))

    def fail(self, route: str = "all", code: FaultCode = FaultCode.CONN_RESET) -> None:
        told = failed(code, route=route)
        self.store.count_failure(told, told.fault, "P1")

    def pass_interval(self, seconds: float = 2.0) -> dict[str, list[int]]:
        self.clock.advance(seconds)
        found = self.traffic.look(self.clock.now_s(), self.clock.wall_ns())
        assert found is not None
        return found

    def columns(self, route: str | None = None) -> dict[str, list[Any]]:
        """Return all intervals that are kept, of a route or of all together."""
        last = self.traffic.interval
        trail = self.traffic.total if route is None else self.traffic.trails.get(route)
        return columns(trail, max(1, last - KEPT + 1), last)


@pytest.fixture
def counted() -> Counted:
    return Counted()


def test_each_interval_has_what_ended_in_it(counted: Counted) -> None:
    counted.count()
    counted.pass_interval()
    counted.pass_interval()
    counted.count()
    counted.fail()
    counted.pass_interval()
    assert counted.columns("all")["requests"] == [1, 0, 2]
    assert counted.columns("all")["failures"] == [0, 0, 1]
    assert counted.columns() == counted.columns("all")


def test_an_interval_is_two_seconds(counted: Counted) -> None:
    """Looks come each second, and a little late."""
    looks = []
    for _ in range(6):
        counted.clock.advance(1.001)
        now_s = counted.clock.now_s()
        looks.append(counted.traffic.look(now_s, 0) is not None)
    assert looks == [False, True] * 3


def test_while_the_loop_stood_still_nothing_ended(counted: Counted) -> None:
    counted.count()
    counted.pass_interval(6.3)
    assert counted.columns("all")["requests"] == [0, 0, 1]


@pytest.mark.parametrize(
    ("code", "failures"),
    [(FaultCode.CONN_RESET, 1), (FaultCode.CLIENT_ABORT, 0)],
    ids=["the upstream's", "the client's"],
)
def test_a_failure_is_what_users_feel(
    counted: Counted, code: FaultCode, failures: int
) -> None:
    """The store says which: its counter for the success rate grows alike."""
    counted.fail(code=code)
    counted.pass_interval()
    assert counted.columns("all")["failures"] == [failures]
    assert counted.store.failures == failures


def test_quantiles_lie_within_their_buckets_and_none_is_of_nothing(
    counted: Counted,
) -> None:
    """As histogram_quantile: 100 in (10 ms, 25 ms], so half is half way."""
    for _ in range(100):
        counted.count(duration_s=0.02)
    counted.pass_interval()
    counted.pass_interval()
    found = counted.columns("all")
    assert found["p50_s"] == [0.0175, None]
    assert found["p95_s"] == [0.02425, None]
    assert found["p99_s"] == [0.02485, None]


def test_the_last_minute_is_as_long_as_there_was_time(counted: Counted) -> None:
    for _ in range(6):
        counted.count()
    counted.pass_interval()
    told = rates(
        counted.traffic.of_minute(counted.traffic.trails["all"]),
        counted.traffic.minute_s,
    )
    assert (told["requests_per_s"], told["success_ratio"]) == (3.0, 1.0)


def test_what_is_older_than_a_minute_is_not_of_it(counted: Counted) -> None:
    counted.fail()
    counted.pass_interval()
    for _ in range(30):
        counted.count()
        counted.pass_interval()
    traffic = counted.traffic
    told = rates(traffic.of_minute(traffic.trails["all"]), traffic.minute_s)
    assert (told["requests_per_s"], told["success_ratio"]) == (0.5, 1.0)


def test_after_five_minutes_the_oldest_makes_room(counted: Counted) -> None:
    counted.count()
    for _ in range(KEPT):
        counted.pass_interval()
    assert counted.columns("all")["requests"] == [1] + [0] * (KEPT - 1)
    counted.pass_interval()
    assert counted.columns("all")["requests"] == [0] * KEPT


def test_routes_without_traffic_keep_nothing(counted: Counted) -> None:
    counted.pass_interval()
    assert counted.traffic.trails == {}
    assert figures(counted.traffic.total.of(1))["requests"] == 0


def test_beyond_the_bound_routes_are_one(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "MAX_ROUTES", 2)
    for route in ("a", "b", "c", "d"):
        counted.count(route)
    counted.pass_interval()
    assert list(counted.traffic.trails) == ["a", "b", OVERFLOW]
    assert counted.columns(OVERFLOW)["requests"] == [2]


def test_a_route_that_was_silent_for_five_minutes_makes_room(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic_module, "MAX_ROUTES", 1)
    counted.count("old")
    for _ in range(KEPT + 1):
        counted.pass_interval()
    counted.count("new")
    counted.pass_interval()
    assert list(counted.traffic.trails) == ["new"]


def test_who_listens_gets_one_text_made_once(counted: Counted) -> None:
    counted.count()
    found = counted.pass_interval()
    tick = Tick(counted.traffic, found, {}, counted.clock.now_s())
    told = json.loads(tick.as_json())
    assert told["routes"] == [
        {"route": "all", **told["total"], "in_flight": 0, "breaker": "off"}
    ]
    assert told["total"]["requests"] == 1
    assert told["interval_s"] == 2
    assert tick.as_json() is tick.as_json()


def test_many_routes_are_written_a_few_at_a_time(counted: Counted) -> None:
    for number in range(60):
        counted.count(f"r{number}")
    found = counted.pass_interval()
    tick = Tick(counted.traffic, found, {}, counted.clock.now_s())
    assert [tick.encode_some() for _ in range(3)] == [False, False, True]
    told = json.loads(tick.as_json())["routes"]
    assert [row["route"] for row in told] == list(found)


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "c", ""]),
                st.floats(0, 20),
                st.booleans(),
            ),
            max_size=6,
        ),
        max_size=8,
    )
)
def test_the_sums_of_the_intervals_are_the_counters(
    intervals: list[list[tuple[str, float, bool]]],
) -> None:
    """Whatever ends when, in whichever route: nothing is lost or told twice."""
    counted = Counted()
    for ended in intervals:
        for route, duration_s, is_failure in ended:
            if is_failure:
                counted.fail(route)
            else:
                counted.count(route, duration_s)
        counted.pass_interval()
    totals = counted.store.requests_by_route()
    for route, total in totals.items():
        assert sum(counted.columns(route)["requests"]) == total
    assert sum(counted.columns()["requests"]) == sum(totals.values())
    assert sum(counted.columns()["failures"]) == counted.store.failures
