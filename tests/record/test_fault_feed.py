"""The record of a failure, key by key, and the last thousand of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.faults.catalogue import FaultCode
from sidecar.faults.spec import Severity
from sidecar.model import Phase, Processed
from sidecar.record.feed.failure import Failure
from sidecar.record.feed.fault_feed import FaultFeed, fault_id, record_of
from tests.support.outcomes import NOON_NS, attempt, failed

# As promised: the list of "The record", each name as it is written in JSON.
PROMISED = (
    "fault_id", "time", "code", "severity", "layer", "trigger", "fix", "origin",
    "phase", "processed", "route", "upstream", "endpoint", "method",
    "path_template", "attempts", "retry_skipped_reason", "timeout_kind",
    "trace_id", "request_id",
)  # fmt: skip
OF_ATTEMPT = ("n", "endpoint", "code", "ms", "reused")


def failure(**fields: Any) -> Failure:
    return Failure(failed(**fields), Severity.P1, {"rss_bytes": 7})


def test_it_has_every_promised_key() -> None:
    record = record_of(failure())
    assert set(PROMISED) <= record.keys()
    assert set(OF_ATTEMPT) <= record["attempts"][0].keys()
    assert record["event"] == "316_FAULT"
    assert record["rss_bytes"] == 7


def test_it_says_what_happened() -> None:
    tries = (
        attempt(n=1, status=0, fault=FaultCode.CONN_RESET.spec, phase=Phase.WAIT),
        attempt(n=2, status=0, endpoint="127.0.0.1:2", is_reused=True, duration_s=0.5),
    )
    record = record_of(failure(attempts=tries, retry_skipped="exhausted"))
    assert record["code"] == "316-TIMEOUT-ERR"
    assert record["severity"] == "P1"
    assert record["layer"] == "application"
    assert record["phase"] == "wait"
    assert record["processed"] == Processed.UNKNOWN.value
    assert record["timeout_kind"] == "request"
    assert record["endpoint"] == "127.0.0.1:2"
    assert record["time"] == "2023-11-14T22:13:20.020Z"  # When it ended.
    assert [one["code"] for one in record["attempts"]] == ["316-CONN-RESET", ""]
    assert record["attempts"][1]["ms"] == 500.0
    assert record["attempts"][1]["reused"] is True
    assert record["retry_skipped_reason"] == "exhausted"


def test_it_is_plain_json() -> None:
    record = record_of(failure())
    assert json.loads(json.dumps(record)) == record


def test_a_header_is_there_only_if_it_was_let_in() -> None:
    assert "headers" not in record_of(failure())
    record = record_of(failure(headers=(("x-tenant", "acme"),)))
    assert record["headers"] == {"x-tenant": "acme"}


def test_ids_sort_by_time() -> None:
    ids = [fault_id(NOON_NS + n * 1_000_000, 0xFFFFFFFF - n) for n in range(5)]
    assert ids == sorted(ids)
    assert {len(one) for one in ids} == {20}


def named(number: int, code: FaultCode, route: str) -> Failure:
    told = failed(code, route=route)
    told.fault.fault_id = str(number)
    return Failure(told, Severity.P1, {})


@pytest.fixture
def feed() -> FaultFeed:
    feed = FaultFeed(kept=3)
    feed.add(named(0, FaultCode.CONN_RESET, "all"))
    feed.add(named(1, FaultCode.CONN_RESET, "all"))
    feed.add(named(2, FaultCode.TIMEOUT_ERR, "all"))
    feed.add(named(3, FaultCode.CONN_RESET, ""))
    return feed


def test_the_newest_come_first_and_the_oldest_goes(feed: FaultFeed) -> None:
    assert [record["fault_id"] for record in feed.newest()] == ["3", "2", "1"]
    assert len(feed) == 3
    assert feed.find("0") is None


def test_it_can_be_searched(feed: FaultFeed) -> None:
    def ids(**asked: Any) -> list[str]:
        return [record["fault_id"] for record in feed.newest(**asked)]

    assert ids(code="316-CONN-RESET") == ["3", "1"]
    assert ids(route="") == ["3"]
    assert ids(route="all", limit=1) == ["2"]
    found = feed.find("2")
    assert found is not None
    assert found["code"] == "316-TIMEOUT-ERR"
