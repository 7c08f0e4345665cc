"""Which limit is due next, and which one it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.clock import Alarm
from sidecar.model import CHUNKED, Phase, ResponseHead, TimeoutKind
from sidecar.settings.snapshot import Timeouts
from sidecar.time_limits import NEVER_S, TimeLimits
from sidecar.wire.head import parse_response
from tests.support.clock import FakeClock

LIMITS = {
    "request_s": 50.0,
    "per_try_s": 20.0,
    "per_try_idle_s": None,
    "connect_s": 1.0,
    "dns_s": 2.0,
    "stream_idle_s": 30.0,
    "tunnel_idle_s": 300.0,
    "request_body_idle_s": 8.0,
    "downstream_write_s": 6.0,
}
TIMEOUTS = Timeouts(**LIMITS)  # type: ignore[arg-type]  # Names by the dict above.
PLAIN = parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "GET")
STREAM = parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET")


class Run:
    """Limits on an alarm, and the fault of the first one that was reached."""

    def __init__(self, timeouts: Timeouts = TIMEOUTS) -> None:
        self.clock = FakeClock(0.0)
        self.alarm = Alarm(self.clock, self._on_alarm)
        self.limits = TimeLimits(self.clock, self.alarm)
        self.timeouts = timeouts
        self.kind: TimeoutKind | None = None
        self.at_s = 0.0

    def begin(self, *, is_body_to_come: bool = False) -> None:
        now_s = self.clock.now_s()
        self.limits.on_route(self.timeouts, now_s, is_body_to_come=is_body_to_come)
        self.limits.on_attempt(now_s, is_body_to_come=is_body_to_come)

    def wait(self) -> tuple[TimeoutKind | None, float]:
        """Return the kind of the limit that is reached, and when."""
        self.clock.advance(10_000)
        return self.kind, self.at_s

    def _on_alarm(self) -> None:
        fault = self.limits.expired(Phase.WAIT)
        if fault is not None and self.kind is None:
            self.kind, self.at_s = fault.timeout, self.clock.now_s()


@pytest.fixture
def run() -> Run:
    return Run()


def test_a_try_is_limited_before_its_request(run: Run) -> None:
    run.begin()
    assert run.wait() == (TimeoutKind.PER_TRY, 20)


def test_the_request_is_limited_over_all_tries(run: Run) -> None:
    run.begin()
    for _ in range(2):
        run.clock.advance(19)
        run.limits.on_attempt_over()
        run.limits.on_wait()
        run.limits.on_attempt(run.clock.now_s(), is_body_to_come=False)
    assert run.wait() == (TimeoutKind.REQUEST, 50)


def test_an_upload_is_limited_only_in_its_silence(run: Run) -> None:
    run.begin(is_body_to_come=True)
    for _ in range(20):
        run.clock.advance(7)
        run.limits.on_bytes()
    assert run.wait() == (TimeoutKind.REQUEST_BODY_IDLE, 148)


def test_the_end_of_an_upload_starts_the_others(run: Run) -> None:
    run.begin(is_body_to_come=True)
    run.clock.advance(7)
    run.limits.on_uploaded(is_attempt_under_way=True)
    assert run.wait() == (TimeoutKind.PER_TRY, 27)


def test_a_plain_response_is_still_limited_by_its_request(run: Run) -> None:
    run.begin()
    run.clock.advance(15)
    run.limits.on_response(PLAIN)
    run.clock.advance(25)
    run.limits.on_bytes()
    assert run.wait() == (TimeoutKind.REQUEST, 50)


@pytest.mark.parametrize(
    "lines",
    [
        b"Transfer-Encoding: chunked\r\n",
        b"",
        b"Content-Type: text/event-stream\r\nContent-Length: 9\r\n",
        b"Content-Type: application/grpc+proto\r\nContent-Length: 9\r\n",
    ],
)
def test_a_stream_is_limited_only_in_its_silence(run: Run, lines: bytes) -> None:
    run.begin()
    run.limits.on_response(
        parse_response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", "GET")
    )
    for _ in range(10):
        run.clock.advance(29)
        run.limits.on_bytes()
    assert run.wait() == (TimeoutKind.STREAM_IDLE, 320)


def test_the_callers_own_limit_holds_on_a_stream(run: Run) -> None:
    run.limits.on_deadline(0.0, 10.0)
    run.begin()
    run.limits.on_response(STREAM)
    assert run.wait() == (TimeoutKind.DEADLINE, 10)


def test_the_smaller_limit_of_a_request_wins(run: Run) -> None:
    run.limits.on_deadline(0.0, 100.0)
    run.begin()
    run.limits.on_response(PLAIN)
    run.limits.unlimit_idle()
    run.limits.on_wait()
    assert run.wait() == (TimeoutKind.REQUEST, 50)


def test_a_try_may_have_a_silence_of_its_own() -> None:
    run = Run(Timeouts(**LIMITS | {"per_try_idle_s": 3.0}))  # type: ignore[arg-type]
    run.begin()
    run.limits.on_response(STREAM)
    assert run.wait() == (TimeoutKind.PER_TRY_IDLE, 3)


def test_a_tunnel_has_only_its_silence(run: Run) -> None:
    run.limits.on_deadline(0.0, 10.0)
    run.begin()
    run.limits.on_tunnel()
    assert run.limits.left_s == NEVER_S
    assert run.wait() == (TimeoutKind.TUNNEL_IDLE, 300)


def test_who_does_not_read_is_told_by_its_side(run: Run) -> None:
    run.begin()
    run.limits.on_response(STREAM)
    run.limits.on_client_full(lambda: 9)
    assert run.wait() == (TimeoutKind.DOWNSTREAM_WRITE, 6)


def test_an_upstream_that_does_not_read_is_told_by_its_side(run: Run) -> None:
    run.begin(is_body_to_come=True)
    run.limits.on_upstream_full(lambda: 9)
    assert run.wait() == (TimeoutKind.UPSTREAM_WRITE, 30)


def test_a_reader_that_takes_some_now_and_then_is_not_stuck(run: Run) -> None:
    """Each look that finds less than the one before starts its limit anew."""
    unsent_bytes = 1000
    run.begin()
    run.limits.on_response(STREAM)
    run.limits.on_client_full(lambda: unsent_bytes)
    for _ in range(20):
        run.clock.advance(5)
        unsent_bytes -= 1
    assert run.kind is None
    assert run.wait()[0] is TimeoutKind.DOWNSTREAM_WRITE
    assert 100 + 6 - 5 <= run.at_s <= 100 + 6 + 1.5


def test_what_comes_on_top_after_a_reader_was_full_does_not_hide_that_it_reads(
    run: Run,
) -> None:
    unsent = [1000, 3000, 2900]  # At once, at the first look, at the second.
    run.begin()
    run.limits.on_response(STREAM)
    run.limits.on_client_full(lambda: unsent.pop(0) if len(unsent) > 1 else unsent[0])
    assert run.wait() == (TimeoutKind.DOWNSTREAM_WRITE, 3 + 6)


def test_a_new_exchange_begins_without_any(run: Run) -> None:
    run.begin()
    run.limits.begin()
    assert run.limits.left_s == NEVER_S
    assert run.wait() == (None, 0.0)


def test_what_is_left_is_left_of_the_request(run: Run) -> None:
    run.begin()
    run.clock.advance(15)
    assert run.limits.left_s == 35
    run.limits.on_deadline(0.0, 20.0)
    assert run.limits.left_s == 5


EVENTS = st.lists(
    st.sampled_from(["bytes", "response", "wait", "attempt", "client", "upload"])
    | st.integers(0, 9),
    max_size=25,
)


@given(events=EVENTS)
def test_no_limit_is_reached_early_and_none_is_missed(events: list[str | int]) -> None:
    """The request's, whatever happens in between that does not start a stream."""
    run = Run()
    run.begin()
    for event in events:
        if isinstance(event, int):
            run.clock.advance(event)
        elif event == "bytes":
            run.limits.on_bytes()
        elif event == "response":
            run.limits.on_response(PLAIN)
        elif event == "attempt":
            run.limits.on_attempt(run.clock.now_s(), is_body_to_come=False)
        elif event == "client":
            run.limits.on_client_full(lambda: 9)
        elif event == "upload":
            run.limits.on_upload()
        else:
            run.limits.on_wait()
    kind, at_s = run.wait()
    assert kind is not None
    assert at_s <= 50
    if kind is TimeoutKind.REQUEST:
        assert at_s == 50


def test_a_length_that_is_declared_is_no_stream() -> None:
    assert isinstance(PLAIN, ResponseHead)
    assert (PLAIN.body_bytes, STREAM.body_bytes) == (9, CHUNKED)
