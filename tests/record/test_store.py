"""Counting: what is counted, under which labels, and never too many of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode, application_spec
from sidecar.model import Origin
from sidecar.record.metrics.store import MIN_SERIES, OTHER_CODE, OVERFLOW, MetricStore
from sidecar.settings.problem import SettingsError
from tests.support.outcomes import MANY, failed, fault, outcome, snapshot


def store_of(max_series: int = 100_000) -> MetricStore:
    return MetricStore(max_series)


def count(store: MetricStore, told: object, severity: str = "P1") -> None:
    """Count as the recorder does."""
    assert hasattr(told, "fault")
    if told.fault is None:
        store.count_success(told)  # type: ignore[arg-type]  # An Outcome.
    else:
        store.count_failure(told, told.fault, severity)  # type: ignore[arg-type]


def test_requests_alike_share_a_series() -> None:
    store = store_of()
    for _ in range(3):
        store.count_success(outcome())
    [(key, series)] = store.requests.items()
    assert key == ("inbound", "all", "GET", 200, "")
    assert sum(series.durations.counts) == 3
    assert series.request_bytes == 9
    assert series.response_bytes == 15
    assert round(series.durations.sum_s, 9) == 0.06


@pytest.mark.parametrize(
    "other", [{"route": "r1"}, {"method": "POST"}, {"status": 404}], ids=str
)
def test_requests_that_differ_do_not(other: dict[str, object]) -> None:
    store = store_of()
    store.count_success(outcome())
    store.count_success(outcome(**other))
    store.count_success(outcome())
    assert [sum(s.durations.counts) for s in store.requests.values()] == [2, 1]


def test_invented_methods_are_one_and_take_no_room() -> None:
    store = store_of()
    for number in range(1000):
        store.count_success(outcome(method=f"M{number}"))
    assert [key[2] for key in store.requests] == ["_OTHER"]
    assert store._plain == {"all": {}}


def test_a_sampled_request_stands_for_its_bucket() -> None:
    store = store_of()
    store.count_success(outcome(duration_s=0.02))
    [series] = store.requests.values()
    assert [e.value for e in series.durations.exemplars.values()] == [0.02]


@pytest.mark.parametrize(
    ("status", "origin", "is_felt"),
    [
        (502, Origin.PROXY, True),
        (503, Origin.UPSTREAM, True),
        (404, Origin.PROXY, False),
        (499, Origin.CLIENT, False),
        (200, Origin.UPSTREAM, True),  # It broke off after the head.
        (200, Origin.CLIENT, False),
        (504, Origin.CLIENT, True),
    ],
)
def test_what_the_user_feels_is_a_failure(
    status: int, origin: Origin, *, is_felt: bool
) -> None:
    store = store_of()
    store.count_success(outcome())
    told = failed(status=status, fault=fault(FaultCode.CONN_RESET, origin=origin))
    count(store, told)
    assert store.failures == is_felt
    assert store.successes == 2 - is_felt


def test_limits_of_time_are_counted_once_each() -> None:
    """The tries made again by their codes, the last by that of the request."""
    store = store_of()
    store.count_retry("all", "app", "316-TIMEOUT-TRY")
    store.count_retry("all", "app", "503")
    count(store, failed(FaultCode.TIMEOUT_ERR))
    assert dict(store.timeouts) == {"per_try": 1, "request": 1}
    assert store.retries_by_route["all"] == 2


def test_the_first_success_after_failures_of_a_route_is_told() -> None:
    store, heard = store_of(), []
    store.on_success = lambda route, now_s: heard.append((route, now_s))
    count(store, failed(FaultCode.CONN_RESET, start_s=10.0, duration_s=0.0))
    count(store, failed(FaultCode.CONN_RESET, start_s=12.0, duration_s=0.0))
    store.count_success(outcome(route="r1", start_s=13.0))
    store.count_success(outcome(start_s=14.0, duration_s=0.0))
    store.count_success(outcome(start_s=20.0))
    assert heard == [("all", 14.0)]


def test_recoveries_are_counted_by_code_as_long_as_there_is_room() -> None:
    store = store_of()
    store.count_recovery("316-CONN-RESET", 4.0)
    store.count_recovery("316-CONN-RESET", 2.0)
    histogram = store.recoveries["316-CONN-RESET"]
    assert (sum(histogram.counts), histogram.sum_s) == (2, 6.0)
    for number in range(100):
        store.count_recovery(f"316-ORDER-N{number}", 1.0)
    assert sum(store.recoveries[OTHER_CODE].counts) > 30


def test_an_application_may_invent_64_codes() -> None:
    store = store_of()
    for number in range(70):
        spec = application_spec(f"316-ORDER-N{number}")
        assert spec is not None
        count(store, failed(spec))
    codes = {key[0]: n for key, n in store.faults.items()}
    assert len(codes) == 65
    assert codes[OTHER_CODE] == 6


def test_without_room_it_counts_under_other() -> None:
    store = store_of(MIN_SERIES)
    for number in range(500):
        store.count_success(outcome(route=f"r{number}"))
    totals = {key: sum(s.durations.counts) for key, s in store.requests.items()}
    assert sum(totals.values()) == 500
    assert totals["inbound", OVERFLOW, "_OTHER", 200, ""] > 400


def test_a_cap_that_could_not_be_kept_is_refused() -> None:
    snapshot(f"metrics: {{max_series: {MIN_SERIES}}}")
    with pytest.raises(SettingsError, match="max_series"):
        snapshot(f"metrics: {{max_series: {MIN_SERIES - 1}}}")


OUTCOMES = st.builds(
    lambda code, fields: outcome(**fields) if code is None else failed(code, **fields),
    st.one_of(st.none(), st.sampled_from(MANY)),
    st.fixed_dictionaries(
        {
            "route": st.sampled_from(["", "all", "r1", "r2"]),
            "method": st.sampled_from(["GET", "POST", "BREW"]),
            "status": st.integers(100, 999),
            "duration_s": st.floats(0.0, 100.0),
        }
    ),
)


@given(st.lists(OUTCOMES), st.sampled_from([MIN_SERIES, 100_000]))
def test_whatever_comes_is_counted_exactly_once(
    story: list[object], max_series: int
) -> None:
    store = store_of(max_series)
    for told in story:
        count(store, told)
    counted = sum(sum(s.durations.counts) for s in store.requests.values())
    assert counted == len(story)
    assert store.successes + store.failures == len(story)
    assert min(store.successes, store.failures) >= 0
