"""The benchmark of a storm of failures measures what it says it does."""

from __future__ import annotations

from benchmarks.fault_storm import FAULTS_PER_S, Storm
from sidecar.record.feed.sampling import PER_S, RESERVOIR


def test_a_second_of_it_is_sampled_and_counted_whole() -> None:
    storm = Storm()
    book = storm.recorder.book
    for _ in range(3):
        storm.second()
    assert sum(group.count for group in book.groups) == 3 * FAULTS_PER_S
    assert len(book.groups) == 20
    kept = book.feed.last_seq + len(book.sample.pending)
    assert kept + book.sample.left_out == 3 * FAULTS_PER_S
    assert kept <= 4 * (PER_S + RESERVOIR)


def test_a_failure_once_a_second_is_kept_whole() -> None:
    storm = Storm()
    for _ in range(5):
        storm.whole()
    assert len(storm.recorder.feed) == 5
    assert storm.recorder.book.sample.left_out == 0
