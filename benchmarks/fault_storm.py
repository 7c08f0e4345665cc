"""What a storm of failures costs the traffic beside it: 10,000 a second, twenty groups.

What the fault feed and the lines of the log take of the one core that the event loop
has, the traffic cannot have: so their share of a second is by how much traffic is
slowed. Counted is processor time of all threads, and of some repetitions the cheapest.
The traffic itself is not run: `fault_storm_traffic.py` does.
"""

from __future__ import annotations

import timeit
from io import StringIO
from time import process_time, sleep
from typing import TYPE_CHECKING

from benchmarks.report import Figure
from sidecar.faults.catalogue import FaultCode
from sidecar.model import Attempt, Fault, Outcome, Phase, Processed, TraceContext
from sidecar.record.recorder import Recorder
from sidecar.settings.load import from_upstream

if TYPE_CHECKING:
    from sidecar.clock import Timer

FAULTS_PER_S = 10_000
SLOWED_LIMIT_PERCENT = 5.0
CONTEXT_LIMIT_US = 50.0
GROUPS = 20
_REPEATS = 9
_LOOK_S = 0.01
_START_NS = 1_700_000_000_000_000_000
SPEC = FaultCode.CONN_REFUSED.spec


class StormClock:
    """Time that moves on by itself, by what there is between two failures."""

    def __init__(self) -> None:
        self.now = 1000.0

    def now_s(self) -> float:
        """Return the time."""
        return self.now

    def wall_ns(self) -> int:
        """Return the time of day."""
        return _START_NS + int(self.now * 1e9)

    def call_at(self, when_s: float, callback: object) -> Timer:
        """Refuse: nothing here waits."""
        raise NotImplementedError


class Storm:
    """A recorder, and failures for it."""

    def __init__(self) -> None:
        self.clock = StormClock()
        snapshot = from_upstream("127.0.0.1:9").snapshot
        self.recorder = Recorder(snapshot, self.clock, StringIO())
        self.outcomes = [outcome_of(number) for number in range(GROUPS)]

    def second(self) -> None:
        """Let a second of the storm pass."""
        failed, clock, severity = self.recorder.book.failed, self.clock, SPEC.severity
        step_s = 1.0 / FAULTS_PER_S
        for _ in range(FAULTS_PER_S // GROUPS):
            for outcome in self.outcomes:
                clock.now += step_s
                assert outcome.fault is not None  # noqa: S101 - for the type checker
                failed(outcome, outcome.fault, severity, clock.now)

    def second_with_lines(self) -> None:
        """Let a second pass, and wait until the log has its lines."""
        self.second()
        lines, book = self.recorder.lines, self.recorder.book
        while lines.written + lines.dropped < book.feed.last_seq:
            sleep(_LOOK_S)  # Takes no processor time.

    def whole(self) -> None:
        """Let one failure come that is kept with all its context."""
        outcome, self.clock.now = self.outcomes[0], self.clock.now + 1.0
        assert outcome.fault is not None  # noqa: S101 - for the type checker
        book = self.recorder.book
        book.failed(outcome, outcome.fault, SPEC.severity, self.clock.now)


def run() -> list[Figure]:
    """Return by how much traffic is slowed, and what one record costs."""
    storm = Storm()
    second_s = min(
        timeit.repeat(
            storm.second_with_lines, timer=process_time, number=1, repeat=_REPEATS
        )
    )
    look = storm.recorder._context.look  # noqa: SLF001 - what a timer does
    look_s = (
        min(timeit.repeat(look, timer=process_time, number=100, repeat=_REPEATS)) / 100
    )
    # As it is with the timer: no failure reads what is of the process.
    storm.recorder._context._until_s = float("inf")  # noqa: SLF001
    whole_s = (
        min(timeit.repeat(storm.whole, timer=process_time, number=500, repeat=_REPEATS))
        / 500
    )
    return [
        Figure(
            f"fault feed, {FAULTS_PER_S:,} faults/s",
            second_s * 100,
            "%",
            SLOWED_LIMIT_PERCENT,
        ),
        Figure(
            "fault feed, one record with its context",
            whole_s * 1e6,
            "µs",
            CONTEXT_LIMIT_US,
        ),
        Figure("fault feed, state of the process, once a second", look_s * 1e6, "µs"),
    ]


def outcome_of(number: int) -> Outcome:
    """Return a failure of one group."""
    endpoint = f"10.0.0.{number}:80"
    fault = Fault(
        SPEC, f"{number:020x}", SPEC.origin, Phase.CONNECT, Processed.NO, "refused"
    )
    attempt = Attempt(
        1, endpoint, 0.0, 0.001, 0, SPEC, Phase.CONNECT, Processed.NO, False, 1
    )  # fmt: skip
    return Outcome(
        "inbound", "all", "app", "GET", b"/", "/", b"app", "10.0.0.1", 502, fault, 0.0,
        _START_NS, 0.001, 0, 0, (attempt,), "", TraceContext(1, 0, 1, False, b""), "r",
        False,
    )  # fmt: skip
