"""Which requests get a line, and what is in it."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest

from sidecar.faults.catalogue import FaultCode
from sidecar.policy.breaker import State
from sidecar.record.feed.fault_feed import record_of
from sidecar.record.recorder import Recorder
from tests.record.test_fault_feed import PROMISED
from tests.support.clock import FakeClock
from tests.support.outcomes import failed, outcome, snapshot, trace

LAST_ID = (1 << 128) - 1  # Sampled at any ratio above 0.
FIRST_ID = 1 << 127  # Its low 56 bits are 0: sampled at 100 % alone.


class Log:
    """A recorder, and the lines that it wrote."""

    def __init__(self, log: str, faults: str = "{}") -> None:
        self._stream = StringIO()
        configured = snapshot(f"access_log: {{{log}}}", faults=faults)
        self.recorder = Recorder(configured, FakeClock(), self._stream)

    def lines(self) -> list[dict[str, Any]]:
        self.recorder.close(5.0)
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("log", "events"),
    [
        ("mode: 'off'", []),
        ("mode: faults", ["316_FAULT", "breaker"]),
        ("mode: sampled, sample_ratio: 50%", ["request", "316_FAULT", "breaker"]),
        ("mode: all", ["request", "request", "316_FAULT", "breaker"]),
    ],
)
def test_the_mode_decides_who_gets_a_line(log: str, events: list[str]) -> None:
    told = Log(log)
    told.recorder.record(outcome(trace=trace(trace_id=LAST_ID)))
    told.recorder.record(outcome(trace=trace(trace_id=FIRST_ID)))
    told.recorder.record(failed())
    told.recorder.transition("all", "app", State.CLOSED, State.OPEN, "5 in a row")
    assert [line["event"] for line in told.lines()] == events


STORM = 2000


@pytest.mark.parametrize("mode", ["faults", "sampled"])
def test_in_a_storm_what_is_kept_has_a_line_and_the_rest_a_number(mode: str) -> None:
    told = Log(f"mode: {mode}")
    for _ in range(STORM):
        told.recorder.record(failed())
    told.recorder.book.look(told.recorder._clock.now_s() + 1.0)
    told.recorder._tell_left_out()
    kept = told.recorder.feed.last_seq
    lines = told.lines()
    events = [line["event"] for line in lines]
    assert events.count("316_FAULT") == kept < STORM / 10
    [rest] = [line for line in lines if line["event"] == "316_FAULTS_LEFT_OUT"]
    assert rest["count"] == STORM - kept


def test_who_wants_all_lines_has_them_in_a_storm_too() -> None:
    told = Log("mode: all")
    for _ in range(STORM):
        told.recorder.record(failed())
    told.recorder._tell_left_out()
    assert [line["event"] for line in told.lines()] == ["316_FAULT"] * STORM


def test_what_is_of_no_request_has_its_line_in_a_storm_too() -> None:
    told = Log("mode: faults")
    for _ in range(STORM):
        told.recorder.record(failed())
    told.recorder.fault(FaultCode.LOCK_STALL.spec, "stood still")
    codes = [line.get("code") for line in told.lines()]
    assert codes.count("316-LOCK-STALL") == 1


def test_a_request_is_one_line() -> None:
    told = Log("mode: all")
    told.recorder.record(outcome())
    [line] = told.lines()
    assert line == {
        "event": "request",
        "time": "2023-11-14T22:13:20.000Z",
        "listener": "inbound",
        "route": "all",
        "upstream": "app",
        "endpoint": "127.0.0.1:8080",
        "method": "GET",
        "status": 200,
        "duration_ms": 20.0,
        "attempts": 1,
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "request_id": "req-1",
        "path": "/orders/1",
        "authority": "shop.test:8080",
        "client": "10.0.0.9",
        "request_bytes": 3,
        "response_bytes": 5,
        "upgraded": False,
    }


def test_a_failure_is_its_whole_record() -> None:
    """The very keys and values that the fault feed shows, and where it was."""
    told = Log("mode: faults")
    told.recorder.record(failed())
    [shown] = told.recorder.feed.newest()
    [line] = told.lines()
    assert line["event"] == "316_FAULT"
    assert set(PROMISED) <= line.keys()
    assert shown.items() <= line.items()
    facts = ("loop_lag_ms", "rss_bytes", "in_flight", "config_version", "host", "pid")
    assert set(facts) <= line.keys()


def test_odd_characters_stay_in_their_line() -> None:
    told = Log("mode: all")
    told.recorder.record(outcome(path=b'/a\x85b"\xe9', client="::1"))
    told.recorder.record(outcome())
    first, second = told.lines()
    assert first["path"] == '/a\x85b"\xe9'
    assert second["path"] == "/orders/1"


NAMED = {
    b"x-tenant": b"acme",
    b"cookie": b"id=1",
    b"authorization": b"Bearer s",
}


def test_of_header_values_only_the_allowed_ones_are_told() -> None:
    told = Log("mode: all", faults="{headers: [X-Tenant, X-Absent]}")
    recorder = told.recorder
    fields = recorder.headers_of(NAMED)
    assert fields == (("x-tenant", "acme"),)
    recorder.record(outcome(headers=fields))
    recorder.record(failed(headers=fields))
    lines = told.lines()
    assert [line["headers"] for line in lines] == [{"x-tenant": "acme"}] * 2
    assert "Bearer" not in json.dumps(lines)


def test_unless_asked_none_is_told() -> None:
    recorder = Log("mode: all").recorder
    assert recorder.headers_of(NAMED) == ()
    assert not recorder.fault_headers


def test_a_failure_that_is_no_request_has_the_same_shape() -> None:
    told = Log("mode: faults")
    fault_id = told.recorder.fault(
        FaultCode.LOCK_STALL.spec, "stood still", stack=["a.py:1 f"]
    )
    record = told.recorder.feed.find(fault_id)
    assert record is not None
    assert set(PROMISED) <= record.keys()
    assert record["stack"] == ["a.py:1 f"]
    assert record["trace_id"] == ""
    assert [line["fault_id"] for line in told.lines()] == [fault_id]


def test_the_record_is_of_the_moment_it_happened() -> None:
    told = Log("mode: 'off'")
    told.recorder.record(failed())
    [kept] = told.recorder.feed._ring
    assert record_of(kept) == record_of(kept)
