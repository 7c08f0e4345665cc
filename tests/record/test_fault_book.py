"""What a failure is kept with, in calm and in a storm."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest

from sidecar.faults.catalogue import FaultCode
from sidecar.record.feed.sampling import MAX_FIRSTS, PER_S, RESERVOIR
from sidecar.record.recorder import Recorder
from tests.support.clock import FakeClock
from tests.support.outcomes import failed, snapshot

if TYPE_CHECKING:
    from sidecar.record.feed.failure import Failure


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(snapshot(), FakeClock(), StringIO())


def last_of(recorder: Recorder) -> Failure:
    [group] = recorder.book.groups
    assert group.examples.last is not None
    return group.examples.last


def test_in_a_storm_too_the_events_are_those_up_to_then(recorder: Recorder) -> None:
    now_s = recorder._clock.now_s()
    for _ in range(PER_S):
        recorder.record(failed(start_s=now_s))
    assert last_of(recorder).events == ()
    recorder.event("ejection", "10.0.0.1:80", "5xx", upstream="app")
    recorder.record(failed(start_s=now_s))
    assert [event.kind for event in last_of(recorder).events] == ["ejection"]


def test_facts_of_one_failure_are_not_told_with_the_next(recorder: Recorder) -> None:
    now_s, outcome = recorder._clock.now_s(), failed()
    assert outcome.fault is not None
    spec = outcome.fault.spec
    kept = recorder.book.failed(
        outcome, outcome.fault, spec.severity, now_s, {"stack": ["a.py:1"]}
    )
    for _ in range(PER_S):
        recorder.book.failed(outcome, outcome.fault, spec.severity, now_s)
    last = last_of(recorder)
    assert (kept.more, last.more) == ({"stack": ["a.py:1"]}, None)
    assert "stack" not in last.facts


def test_failures_of_no_request_are_sampled_as_others_are(recorder: Recorder) -> None:
    """Clients can make them, too."""
    spec = FaultCode.CLIENT_SLOW.spec
    for _ in range(500):
        recorder.fault(spec, "nothing came")
    assert recorder.feed.last_seq == PER_S
    assert recorder.book.sample.left_out == 500 - PER_S - RESERVOIR


def test_beyond_what_is_kept_a_failure_has_the_facts_of_its_own_second() -> None:
    """Not those of an hour ago, when its group had last one kept."""
    clock = FakeClock()
    recorder = Recorder(snapshot(), clock, StringIO())
    recorder.record(failed(route="rare", start_s=clock.now_s()))
    [group] = recorder.book.groups
    before = group.examples.last
    clock.advance(3600.0)
    recorder.use(snapshot("access_log: {mode: all}"))
    for number in range(PER_S + MAX_FIRSTS):
        recorder.record(failed(route=f"r{number}", start_s=clock.now_s()))
    recorder.record(failed(route="rare", start_s=clock.now_s()))
    last = group.examples.last
    assert last is not None
    assert before is not None
    assert last is not before
    assert before.facts["config_version"] != last.facts["config_version"]
    assert recorder.book.sample.pending == [last]
