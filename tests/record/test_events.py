"""The ring of events, and those of one upstream."""

from __future__ import annotations

import pytest

from sidecar.record.feed.events import OF_UPSTREAM, Event, EventLog
from tests.support.outcomes import NOON_NS


@pytest.fixture
def log() -> EventLog:
    log = EventLog(kept=3)
    for number, (kind, upstream) in enumerate(
        [("breaker", "a"), ("breaker", "a"), ("ejection", "b"), ("reload", "")]
    ):
        wall_ns = NOON_NS + number * 10**9
        log.add(Event(wall_ns, kind, f"s{number}", "why", upstream, {"to": number}))
    return log


def subjects(log: EventLog, **asked: object) -> list[str]:
    return [event.subject for event in log.newest(**asked)]  # type: ignore[arg-type]


def test_the_newest_come_first_and_the_oldest_goes(log: EventLog) -> None:
    assert subjects(log) == ["s3", "s2", "s1"]
    assert len(log) == 3


def test_it_can_be_searched(log: EventLog) -> None:
    assert subjects(log, kind="breaker") == ["s1"]
    assert subjects(log, upstream="b") == ["s2"]
    assert subjects(log, since_ns=NOON_NS + 2 * 10**9) == ["s3", "s2"]
    assert subjects(log, before=3) == ["s1"]


def test_an_event_is_told_whole(log: EventLog) -> None:
    assert next(log.newest()).as_record() == {
        "seq": 4,
        "time": "2023-11-14T22:13:23.000Z",
        "kind": "reload",
        "subject": "s3",
        "upstream": "",
        "detail": "why",
        "to": 3,
    }


def test_of_an_upstream_the_last_twenty_are_kept_however_many_others_came() -> None:
    log = EventLog(kept=3)
    for number in range(30):
        log.add(Event(NOON_NS, "breaker", str(number), "", "a"))
    before = log.of_upstream("a")
    for number in range(30):
        log.add(Event(NOON_NS, "breaker", str(number), "", "b"))
    assert [e.subject for e in log.of_upstream("a")] == [str(n) for n in range(10, 30)]
    assert len(before) == OF_UPSTREAM  # What a failure has kept does not change.
    log.keep_upstreams({"b"})
    assert log.of_upstream("a") == ()
    assert len(log.of_upstream("b")) == OF_UPSTREAM
