"""The queue of spans: bounded, never in the way, every span accounted for."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from enum import Enum
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.record.otlp.shipping import with_path
from sidecar.record.otlp.spans import SpanMaker
from sidecar.record.otlp.tracing import Tracer
from tests.support.outcomes import attempt, outcome, snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence


class Result(Enum):
    """As the SDK has it: only the name is looked at."""

    SUCCESS = 0
    FAILURE = 1


class FakeExporter:
    """Keeps spans; fails, raises or stands still as told."""

    def __init__(self, *, fails: bool = False, raises: bool = False) -> None:
        self.spans: list[Any] = []
        self.sizes: SimpleQueue[int] = SimpleQueue()  # Of batches.
        self.fails_times = sys.maxsize if fails else 0
        self.raises = raises
        self.gate = threading.Event()
        self.gate.set()
        self.is_entered = threading.Event()
        self.is_shut_down = False

    def export(self, spans: Sequence[Any], /) -> Result:
        self.sizes.put(len(spans))
        self.is_entered.set()
        self.gate.wait()
        if self.raises:
            msg = "a bug of the exporter"
            raise RuntimeError(msg)
        self.fails_times -= 1
        if self.fails_times >= 0:
            return Result.FAILURE
        self.spans.extend(spans)
        return Result.SUCCESS

    def shutdown(self) -> None:
        self.is_shut_down = True


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "0")


def tracer_of(exporter: FakeExporter, queue_spans: int = 100) -> Tracer:
    configured = snapshot()
    tracing = replace(configured.tracing, enabled=True, queue_spans=queue_spans)
    return Tracer(replace(configured, tracing=tracing), lambda _: exporter)


def test_a_request_is_a_span_and_one_for_each_attempt() -> None:
    exporter = FakeExporter()
    tracer = tracer_of(exporter)
    tracer.record(outcome(attempts=(attempt(), attempt(n=2))))
    tracer.close(10.0)
    assert [span.name for span in exporter.spans] == ["GET /orders/*", "GET", "GET"]
    assert tracer.counts.exported == 3
    assert exporter.is_shut_down


def test_a_full_queue_drops_whole_requests() -> None:
    exporter = FakeExporter()
    exporter.gate.clear()
    tracer = tracer_of(exporter, queue_spans=5)
    for _ in range(10):
        tracer.record(outcome())  # Two spans each.
    assert tracer.queued == 4
    assert tracer.counts.queue_full == 16
    exporter.gate.set()
    tracer.close(10.0)
    assert tracer.counts.exported == 4


def test_what_is_being_sent_takes_room_still() -> None:
    """Memory is bounded also while an export hangs."""
    exporter = FakeExporter()
    exporter.gate.clear()
    tracer = tracer_of(exporter, queue_spans=2)
    tracer.record(outcome())
    exporter.is_entered.wait()
    tracer.record(outcome())
    assert tracer.counts.queue_full == 2
    exporter.gate.set()
    tracer.close(10.0)


def test_what_cannot_be_told_ends_nothing_and_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = FakeExporter()
    tracer = tracer_of(exporter)
    make, odd = SpanMaker.spans_of, outcome(method="ODD")

    def told(maker: SpanMaker, one: Any) -> Any:
        if one is odd:
            raise KeyError(one.method)
        return make(maker, one)

    monkeypatch.setattr(SpanMaker, "spans_of", told)
    tracer.record(odd)
    tracer.record(outcome())
    tracer.close(10.0)
    assert (tracer.counts.exported, tracer.counts.export_failed) == (2, 2)
    assert "could not be told" in caplog.text


@pytest.mark.parametrize("how", ["fails", "raises"])
def test_what_was_not_taken_is_counted(how: str) -> None:
    exporter = FakeExporter(**{how: True})
    tracer = tracer_of(exporter)
    tracer.record(outcome())
    tracer.close(10.0)
    assert tracer.counts.dropped() == {
        "queue_full": 0,
        "export_failed": 2,
        "shutdown": 0,
    }


def test_who_takes_none_is_tried_with_few() -> None:
    """Each try of an exporter costs a whole batch, and what it fails with is lost."""
    exporter = FakeExporter(fails=True)
    exporter.fails_times = 3
    exporter.gate.clear()
    tracer = tracer_of(exporter, queue_spans=1000)
    tracer.record(outcome())
    exporter.is_entered.wait()
    for _ in range(320):  # Of two spans each.
        tracer.record(outcome())
    exporter.gate.set()
    sizes = [exporter.sizes.get(timeout=20) for _ in range(5)]
    tracer.close(10.0)
    assert sizes == [2, 32, 32, 32, 512]
    assert exporter.sizes.get_nowait() == 32
    assert (tracer.counts.export_failed, tracer.counts.exported) == (66, 576)


def test_who_is_back_at_the_end_gets_all_that_waits() -> None:
    exporter = FakeExporter(fails=True)
    exporter.fails_times = 1
    tracer = tracer_of(exporter, queue_spans=1000)
    tracer.record(outcome())
    exporter.sizes.get(timeout=20)
    exporter.gate.clear()
    exporter.is_entered.clear()
    for _ in range(320):
        tracer.record(outcome())
    exporter.is_entered.wait()
    closing = threading.Thread(target=tracer.close, args=(20.0,))
    closing.start()
    while not tracer._is_closing.is_set():
        pass
    exporter.gate.set()
    closing.join()
    sizes = [exporter.sizes.get_nowait() for _ in range(exporter.sizes.qsize())]
    assert max(sizes) == 512
    assert sum(sizes) == tracer.counts.exported == 640


def test_the_end_is_not_held_up_by_an_export_that_hangs() -> None:
    exporter = FakeExporter()
    exporter.gate.clear()
    tracer = tracer_of(exporter)
    tracer.record(outcome())
    exporter.is_entered.wait()
    tracer.record(outcome())
    tracer.close(0.01)
    assert exporter.is_shut_down
    assert tracer.counts.shut_down == 4
    exporter.gate.set()
    assert tracer._thread is not None
    tracer._thread.join()
    told = tracer.counts.exported + sum(tracer.counts.dropped().values())
    assert told == 4  # What hung is counted once.


def test_without_an_exporter_spans_are_dropped_and_counted() -> None:
    def no_exporter(_: object) -> FakeExporter:
        msg = "not a URL"
        raise ValueError(msg)

    tracer = Tracer(snapshot(), no_exporter)
    tracer.record(outcome())
    tracer.close(10.0)
    assert tracer.counts.export_failed == 2


def test_closed_without_a_span_it_has_nothing_to_do() -> None:
    tracer = tracer_of(FakeExporter())
    tracer.close(0.0)
    assert tracer.counts.exported == 0


@settings(deadline=None, max_examples=30)  # Each starts a thread.
@given(st.lists(st.integers(0, 4), max_size=20), st.integers(1, 30))
def test_every_span_is_exported_or_counted_as_dropped(
    attempts: list[int], queue_spans: int
) -> None:
    exporter = FakeExporter()
    tracer = tracer_of(exporter, queue_spans)
    for count in attempts:
        tries = tuple(attempt(n=n + 1) for n in range(count))
        tracer.record(outcome(attempts=tries))
    tracer.close(10.0)
    told = sum(count + 1 for count in attempts)
    dropped = sum(tracer.counts.dropped().values())
    assert tracer.counts.exported == len(exporter.spans)
    assert tracer.counts.exported + dropped == told
    assert tracer.queued == 0


def test_a_base_address_gets_the_path_for_traces() -> None:
    assert with_path("http://c:4318", "/v1/traces") == "http://c:4318/v1/traces"
    assert with_path("http://c:4318/", "/v1/traces") == "http://c:4318/v1/traces"
    assert with_path("http://c:4318/own/path", "/v1/traces") == "http://c:4318/own/path"
    assert with_path(None, "/v1/traces") is None
