"""Failures gathered into groups: counts, states, trend, recovery, room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode, application_spec
from sidecar.faults.spec import Severity
from sidecar.model import Phase
from sidecar.record.feed.group import NEW_S, Group, State, Trend
from sidecar.record.feed.groups import FaultGroups
from tests.support.outcomes import attempt, failed, fault

START_S = 1000.0
QUIET_S = 60.0


class Told:
    """Groups, and how many requests each route has had."""

    def __init__(self, most: int = 500) -> None:
        self.requests: dict[str, int] = {}
        self.groups = FaultGroups(lambda: dict(self.requests), QUIET_S, most)

    def fail(self, now_s: float = START_S, count: int = 1, **fields: Any) -> Group:
        told = failed(fields.pop("code", FaultCode.CONN_RESET), **fields)
        self.requests[told.route] = self.requests.get(told.route, 0) + count
        return self.groups.add(
            told, told.fault, told.fault.spec.severity, now_s, count=count
        )

    def share(self, group: Group, now_s: float) -> float:
        return self.groups.share_of_traffic(group, now_s, self.groups.traffic())


@pytest.fixture
def told() -> Told:
    return Told()


def test_alike_is_what_shares_code_route_upstream_endpoint_phase_and_cause(
    told: Told,
) -> None:
    plain = told.fail()
    assert told.fail(path=b"/else", method="PUT", client="10.9.9.9") is plain
    others: list[dict[str, Any]] = [
        {"code": FaultCode.CONN_STALE},
        {"route": "else"},
        {"upstream": "else"},
        {"attempts": (attempt(endpoint="10.0.0.1:1"),)},
        {"fault": fault(FaultCode.CONN_RESET, phase=Phase.BODY)},
        {"status": 599},
    ]
    groups = {told.fail(**other).id for other in others}
    assert len(groups | {plain.id}) == 7


def test_the_cause_is_the_first_code_that_is_not_the_whole(told: Told) -> None:
    refused = (attempt(fault=FaultCode.CONN_REFUSED.spec),) * 2
    given_up = told.fail(code=FaultCode.RETRY_EXHAUSTED, attempts=refused)
    assert given_up.key.cause == "316-CONN-REFUSED"
    assert told.fail(code=FaultCode.TIMEOUT_ERR).key.cause == "request"
    assert told.fail(code=FaultCode.UPSTREAM_5XX, status=503).key.cause == "503"
    bug = fault(FaultCode.OP_FAIL, detail="KeyError at a.py:1")
    assert told.fail(fault=bug, attempts=()).key.cause == "KeyError at a.py:1"


def test_an_address_that_an_application_chose_makes_no_group(told: Told) -> None:
    told.groups.anywhere = frozenset(("anywhere",))
    addresses = ("10.0.0.1:1", "10.0.0.2:2")
    calls = [(attempt(endpoint=address),) for address in addresses]
    first, second = (told.fail(upstream="anywhere", attempts=call) for call in calls)
    assert first is second
    first, second = (told.fail(upstream="app", attempts=call) for call in calls)
    assert first is not second


def test_a_detail_that_a_client_chose_makes_no_group(told: Told) -> None:
    first = told.fail(fault=fault(FaultCode.VALIDATION_ERR, detail="bad 'a'"))
    assert told.fail(fault=fault(FaultCode.VALIDATION_ERR, detail="bad 'b'")) is first


def test_a_fingerprint_is_the_same_everywhere() -> None:
    one, other = Told().fail(), Told().fail(now_s=5.0)
    assert one.id == other.id == "5ffaad5b15ddcc75"


def test_new_then_ongoing_then_recovered_then_regressed(told: Told) -> None:
    group = told.fail(START_S)
    assert group.state_at(START_S) is State.NEW
    told.fail(START_S + NEW_S)
    assert group.state_at(START_S + NEW_S) is State.ONGOING
    told.groups.succeeded("all", START_S + 70)
    quiet_s = START_S + NEW_S + QUIET_S
    assert group.state_at(quiet_s - 0.1) is State.ONGOING
    assert group.state_at(quiet_s) is State.RECOVERED
    assert group.recovery_s == 70.0  # To the first success after the last failure.
    told.fail(quiet_s)
    assert group.state_at(quiet_s) is State.REGRESSED
    assert group.state_at(quiet_s + 10 * QUIET_S) is State.REGRESSED
    assert list(group.recoveries_s) == [70.0]
    assert group.regressions == 1
    told.groups.succeeded("all", quiet_s + 5)
    assert group.state_at(quiet_s + QUIET_S) is State.RECOVERED
    assert group.recovery_s == 5.0


def test_a_recovery_is_told_once_when_it_is_one(told: Told) -> None:
    heard: list[tuple[str, float | None]] = []
    told.groups.on_recovered = lambda group: heard.append((group.id, group.recovery_s))
    group = told.fail(START_S)
    told.fail(START_S + 2)
    told.groups.succeeded("all", START_S + 4)
    told.groups.look(START_S + 2 + QUIET_S - 0.1)
    assert heard == []
    told.groups.look(START_S + 2 + QUIET_S)
    told.groups.look(START_S + 3 + QUIET_S)
    assert heard == [(group.id, 4.0)]  # To the first success after its last.


def test_a_recovery_that_nobody_saw_is_told_before_the_next_failure(
    told: Told,
) -> None:
    heard: list[float | None] = []
    told.groups.on_recovered = lambda group: heard.append(group.recovery_s)
    told.fail(START_S)
    told.groups.succeeded("all", START_S + 4)
    told.fail(START_S + 2 * QUIET_S)
    told.groups.succeeded("all", START_S + 2 * QUIET_S + 1)
    told.groups.look(START_S + 4 * QUIET_S)
    assert heard == [4.0, 1.0]


def test_how_long_is_quiet_can_be_changed(told: Told) -> None:
    group = told.fail(START_S)
    told.groups.succeeded("all", START_S + 1)
    told.groups.use(5.0)
    assert group.state_at(START_S + 5) is State.RECOVERED


def test_a_shorter_quiet_holds_at_once_also_beside_a_storm(told: Told) -> None:
    """No look comes in between, and less than a second passes."""
    heard: list[float | None] = []
    told.groups.on_recovered = lambda group: heard.append(group.recovery_s)
    told.fail(START_S)
    told.groups.use(0.2)
    for after_s in (0.3, 0.6, 0.9):
        told.groups.succeeded("all", START_S + after_s - 0.2)
        group = told.fail(START_S + after_s)
    assert heard == pytest.approx([0.1, 0.1, 0.1])
    assert group.regressions == 3


def test_a_longer_quiet_is_of_the_next_end_alone(told: Told) -> None:
    """What was told to be over has begun anew, however short its quiet was."""
    heard: list[float | None] = []
    told.groups.on_recovered = lambda group: heard.append(group.recovery_s)
    told.groups.use(10.0)
    group = told.fail(START_S)
    told.groups.succeeded("all", START_S + 2)
    told.groups.look(START_S + 10)
    told.groups.use(QUIET_S)
    told.fail(START_S + 15)
    assert (group.state_at(START_S + 15), group.regressions) == (State.REGRESSED, 1)
    told.groups.succeeded("all", START_S + 16)
    told.groups.look(START_S + 15 + 20)
    assert heard == [2.0]
    told.groups.look(START_S + 15 + QUIET_S)
    assert heard == [2.0, 1.0]


def test_a_failure_that_is_told_late_ends_in_a_recovery_too(told: Told) -> None:
    """Its time is from before the look that told of the recovery before it."""
    heard: list[float | None] = []
    told.groups.on_recovered = lambda group: heard.append(group.recovery_s)
    told.fail(START_S)
    told.groups.succeeded("all", START_S + 1)
    told.groups.look(START_S + QUIET_S)
    told.fail(START_S + QUIET_S - 0.001)
    told.groups.succeeded("all", START_S + QUIET_S + 1)
    told.groups.look(START_S + 3 * QUIET_S)
    assert len(heard) == 2


def test_the_latest_seen_comes_first(told: Told) -> None:
    """Also within a second."""
    for route in ("a", "b", "c", "a"):
        told.fail(START_S + len(told.groups) / 100, route=route)
    told.fail(START_S + 0.5, route="b")
    assert [group.key.route for group in told.groups] == ["b", "a", "c"]


def test_silence_is_no_recovery(told: Told) -> None:
    """Nobody asked, so nobody knows."""
    group = told.fail()
    told.groups.succeeded("another", START_S + 1)
    assert group.state_at(START_S + 10 * QUIET_S) is State.ONGOING
    assert group.recovery_s is None


def test_what_is_of_no_route_is_over_when_it_is_quiet(told: Told) -> None:
    group = told.fail(route="", upstream="", attempts=())
    assert group.state_at(START_S + QUIET_S) is State.RECOVERED


def test_a_success_between_failures_ends_nothing(told: Told) -> None:
    """Half of the requests fail: the group goes on."""
    for second in range(120):
        group = told.fail(START_S + second)
        told.groups.succeeded("all", START_S + second + 0.5)
    assert group.state_at(START_S + 120) is State.ONGOING
    assert group.count == 120


def test_rate_and_trend(told: Told) -> None:
    group = told.fail(START_S, count=60)
    assert group.rate_per_s(START_S) == 60.0
    assert group.trend_at(START_S) is Trend.RISING
    for second in range(1, 120):
        told.fail(START_S + second, count=10)
    now_s = START_S + 119.9
    assert group.rate_per_s(now_s) == pytest.approx(10.0, abs=0.1)
    assert group.trend_at(now_s) is Trend.STEADY
    assert group.trend_at(now_s + 40) is Trend.FALLING
    assert group.rate_per_s(now_s + 200) == 0.0


def test_the_share_of_traffic_is_of_the_last_minute(told: Told) -> None:
    told.requests["all"] = 1000
    told.groups.look(START_S)
    told.requests["all"] += 75  # Successes.
    group = told.fail(START_S + 65, count=25)
    assert told.share(group, START_S + 65) == 0.25
    assert told.share(group, START_S + 500) == 0.0


def test_the_severity_is_of_the_latest(told: Told) -> None:
    group = told.fail()
    failure = failed(FaultCode.CONN_RESET)
    told.groups.add(failure, failure.fault, Severity.P0, START_S)
    assert group.severity is Severity.P0


def test_what_is_over_for_longest_makes_room() -> None:
    told = Told(most=3)
    told.fail(START_S, route="fails")
    told.fail(START_S + 1, route="over")
    told.fail(START_S + 2, route="over too")
    told.groups.succeeded("over", START_S + 3)
    told.groups.succeeded("over too", START_S + 3)
    told.fail(START_S + QUIET_S + 10, route="new")
    assert [g.key.route for g in told.groups] == ["new", "over too", "fails"]
    assert (told.groups.evicted, told.groups.evicted_faults) == (1, 1)
    told.fail(START_S + QUIET_S + 11, route="newer")
    told.fail(START_S + QUIET_S + 12, route="newest")  # None is over: the oldest goes.
    assert [g.key.route for g in told.groups] == ["newest", "newer", "new"]
    told.groups.succeeded("fails", START_S + 100)


@pytest.mark.parametrize("quiet_s", [0.5, QUIET_S])
def test_who_fails_all_the_time_makes_no_room(quiet_s: float) -> None:
    """However many others there are in the same second."""
    told = Told(most=10)
    told.groups.use(quiet_s)
    storm = told.fail(START_S, route="storm")
    for number in range(1, 1000):
        told.fail(START_S + number / 1000, route=f"once {number}")
        assert told.fail(START_S + number / 1000, route="storm") is storm
    assert storm.count == 1000
    assert len(told.groups) == 10
    assert told.groups.evicted == 990


def test_what_was_seen_again_does_not_make_room() -> None:
    told = Told(most=3)
    for route in ("a", "b", "c"):
        told.fail(START_S, route=route)
    told.fail(START_S + 2, route="a")  # It has moved behind the others.
    told.fail(START_S + 2.1, route="b")
    told.fail(START_S + 2.2, route="b")
    told.fail(START_S + 3, route="d")
    assert [group.key.route for group in told.groups] == ["d", "b", "a"]


def test_what_has_made_room_is_forgotten_whole() -> None:
    """It holds no memory, and nobody hears that it is over."""
    heard: list[str] = []
    told = Told(most=2)
    told.groups.on_recovered = lambda group: heard.append(group.key.route)
    for number in range(50):
        told.fail(START_S + number, route=f"r{number}")
    assert len(told.groups._on) == len(told.groups._waiting) == 2
    told.groups.succeeded("r0", START_S + 50)
    told.groups.succeeded("r49", START_S + 50)
    told.groups.look(START_S + 50 + QUIET_S)
    assert heard == ["r49"]


STEPS = st.lists(
    st.tuples(
        st.integers(0, 9),  # Which route,
        st.integers(1, 5),  # how many,
        st.floats(0, 90),  # how long after,
        st.booleans(),  # and whether a success follows.
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_no_failure_is_lost_or_counted_twice(
    steps: list[tuple[int, int, float, bool]],
) -> None:
    """And the table keeps its bound, and states what it may."""
    told, now_s, total = Told(most=4), START_S, 0
    for route, count, after_s, is_followed in steps:
        now_s += after_s
        told.groups.look(now_s)
        group = told.fail(now_s, count, route=f"r{route}")
        total += count
        if is_followed:
            told.groups.succeeded(f"r{route}", now_s)
        assert len(told.groups) <= 4
        assert group.state_at(now_s) is not State.RECOVERED
        assert 0.0 < told.share(group, now_s) <= 1.0
        assert group.last_minute(now_s) <= group.count
    assert sum(g.count for g in told.groups) + told.groups.evicted_faults == total


def test_codes_of_applications_are_grouped_like_others(told: Told) -> None:
    spec = application_spec("316-ORDER-SUBMIT-ERR")
    assert spec is not None
    assert told.fail(code=spec).key.code == "316-ORDER-SUBMIT-ERR"
