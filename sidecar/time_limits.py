"""The limits of time of one exchange, as they follow from what happens in it.

    head is here, no body to come     the request's time runs
    body to come                      only its idle limit, until it is whole
    attempt begins                    per_try, from the making of the connection
    head of the response is here      only that bytes move, both ways
    tunnel                            likewise, with a longer limit

What is due next is set on the alarm of the client connection; `expired` tells
which limit it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.faults.classify import classify_timeout
from sidecar.model import CHUNKED, UNTIL_CLOSE, Phase, TimeoutKind
from sidecar.policy.countdown import NEVER_S, Countdown

if TYPE_CHECKING:
    from sidecar.clock import Alarm, Clock
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.model import ResponseHead
    from sidecar.settings.snapshot import Timeouts

_STREAMS = (b"text/event-stream", b"application/grpc")

# Members by module names: through the class, 3.11 takes ten times as long.
_REQUEST = TimeoutKind.REQUEST


class TimeLimits:
    """What may take how long; `timeouts` are the route's, once there is one."""

    __slots__ = ("_alarm", "_clock", "_countdown", "_timeouts")

    def __init__(self, clock: Clock, alarm: Alarm) -> None:
        self._clock = clock
        self._alarm = alarm
        self._countdown = Countdown()
        self._timeouts: Timeouts | None = None

    @property
    def left_s(self) -> float:
        """How long the request may still take; infinity: as long as it likes."""
        return self._countdown.request_due_s - self._clock.now_s()

    @property
    def request_due_s(self) -> float:
        """When the request must be answered; infinity: whenever."""
        return self._countdown.request_due_s

    def expired(self, phase: Phase) -> ProxyFault | None:
        """Return the fault of the limit that is reached; None: not yet."""
        expired = self._countdown.expired(self._clock.now_s())
        if expired is None:
            self._arm()
            return None
        return classify_timeout(expired[0], phase, expired[1])

    # What happens, in its usual order.

    def on_deadline(self, start_s: float, left_s: float) -> None:
        """The caller gives up after `left_s`."""
        self._countdown.limit_request(TimeoutKind.DEADLINE, start_s, left_s)

    def on_route(
        self, timeouts: Timeouts, now_s: float, *, is_body_to_come: bool
    ) -> None:
        """The route is known."""
        self._timeouts = timeouts
        if is_body_to_come:
            self.on_upload()
        elif timeouts.request_s is not None:
            self._countdown.limit_request(_REQUEST, now_s, timeouts.request_s)

    def on_upload(self) -> None:
        """The client is to send more of the body."""
        if self._timeouts is not None:
            limit_s = self._timeouts.request_body_idle_s
            self._limit_idle(TimeoutKind.REQUEST_BODY_IDLE, limit_s)

    def on_uploaded(self, *, is_attempt_under_way: bool) -> None:
        """The body is whole: from now on the request's time runs."""
        if self._timeouts is None:
            return
        now_s = self._clock.now_s()
        self._countdown.limit_idle(TimeoutKind.STREAM_IDLE, now_s, None)
        if self._timeouts.request_s is not None:
            self._countdown.limit_request(_REQUEST, now_s, self._timeouts.request_s)
        if is_attempt_under_way:
            self.on_attempt(now_s, is_body_to_come=False)

    def on_attempt(self, now_s: float, *, is_body_to_come: bool) -> None:
        """An attempt begins; its time runs, unless a body is still to come."""
        if self._timeouts is not None and not is_body_to_come:
            self._countdown.limit_attempt(now_s, self._timeouts.per_try_s)
        self._arm()

    def on_attempt_over(self) -> None:
        """Nothing is under way."""
        self._countdown.attempt_due_s = NEVER_S

    def on_wait(self) -> None:
        """The next attempt is not to begin at once."""
        self._arm()

    def on_response(self, head: ResponseHead) -> None:
        """From the head on, what counts is that bytes move."""
        self.on_attempt_over()
        kind = head.named.get(b"content-type", b"")
        if head.body_bytes in (CHUNKED, UNTIL_CLOSE) or kind.startswith(_STREAMS):
            self._countdown.unlimit_request()
        self.on_download()

    def on_download(self) -> None:
        """The upstream is to send more of the response."""
        timeouts = self._timeouts
        if timeouts is None:
            return
        if timeouts.per_try_idle_s is not None:
            self._limit_idle(TimeoutKind.PER_TRY_IDLE, timeouts.per_try_idle_s)
        else:
            self._limit_idle(TimeoutKind.STREAM_IDLE, timeouts.stream_idle_s)

    def on_tunnel(self) -> None:
        """Both sides may send at any time, for as long as they like."""
        self.on_attempt_over()
        self._countdown.request_due_s = NEVER_S
        if self._timeouts is not None:
            limit_s = self._timeouts.tunnel_idle_s
            self._limit_idle(TimeoutKind.TUNNEL_IDLE, limit_s)

    def on_bytes(self) -> None:
        """Bytes moved."""
        self._countdown.active_s = self._clock.now_s()

    def on_client_full(self) -> None:
        """The client does not read what is there for it."""
        if self._timeouts is not None:
            limit_s = self._timeouts.downstream_write_s
            self._limit_idle(TimeoutKind.DOWNSTREAM_WRITE, limit_s)

    def on_upstream_full(self) -> None:
        """The upstream does not read what is there for it."""
        if self._timeouts is not None:
            limit_s = self._timeouts.stream_idle_s
            self._limit_idle(TimeoutKind.UPSTREAM_WRITE, limit_s)

    def unlimit_idle(self) -> None:
        """No bytes are to move for now."""
        self._countdown.limit_idle(TimeoutKind.STREAM_IDLE, 0.0, None)

    def _limit_idle(self, kind: TimeoutKind, limit_s: float) -> None:
        self._countdown.limit_idle(kind, self._clock.now_s(), limit_s)
        self._arm()

    def _arm(self) -> None:
        self._alarm.set(self._countdown.next_due_s())
