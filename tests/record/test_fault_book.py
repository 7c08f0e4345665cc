"""What a failure is kept with, in calm and in a storm."""

from __future__ import annotations

from io import StringIO

from sidecar.record.feed.sampling import MAX_FIRSTS, PER_S
from sidecar.record.recorder import Recorder
from tests.support.clock import FakeClock
from tests.support.outcomes import failed, snapshot


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
