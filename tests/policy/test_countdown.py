"""The limits of time of a request: which is reached first."""

from __future__ import annotations

from sidecar.model import TimeoutKind
from sidecar.policy.countdown import Countdown


def test_the_nearest_limit_is_the_one_that_fires() -> None:
    countdown = Countdown()
    countdown.limit_request(TimeoutKind.REQUEST, 0.0, 10.0)
    countdown.limit_attempt(0.0, 2.0)
    assert countdown.next_due_s() == 2.0
    assert countdown.expired(1.9) is None
    assert countdown.expired(2.0) == (TimeoutKind.PER_TRY, 2.0)
    assert countdown.expired(10.0) == (TimeoutKind.REQUEST, 10.0)


def test_a_caller_can_only_shorten() -> None:
    countdown = Countdown()
    countdown.limit_request(TimeoutKind.DEADLINE, 0.0, 1.0)
    countdown.limit_request(TimeoutKind.REQUEST, 0.0, 10.0)
    assert countdown.expired(1.0) == (TimeoutKind.DEADLINE, 1.0)


def test_any_byte_puts_the_idle_limit_off() -> None:
    countdown = Countdown()
    countdown.limit_idle(TimeoutKind.STREAM_IDLE, 0.0, 5.0)
    countdown.active_s = 4.0
    assert countdown.expired(5.0) is None
    assert countdown.expired(9.0) == (TimeoutKind.STREAM_IDLE, 5.0)
