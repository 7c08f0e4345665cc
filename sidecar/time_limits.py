"""The limits of time of one exchange, as they follow from what happens in it.

    request  ----------------------------------------->  all tries and waits
    attempt     ------>   ------>   --------------->     one try, up to its head
    idle           - - - - - - - - - - - - - - -         since the last byte

    no body to come     the request's time runs from its head
    body to come        only its idle limit, until it is whole
    attempt begins      per_try, the making of the connection included
    response's head     only that bytes move, both ways; likewise in a tunnel
    a reader is slow    only that it takes some now and then

Several run at once; what is due next is set on the alarm of the connection, and
`expired` tells which one it was. A client connection has one of these for all of
its exchanges, which follow each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.classify import classify_timeout
from sidecar.model import CHUNKED, UNTIL_CLOSE, TimeoutKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Alarm, Clock
    from sidecar.faults.catalogue import ProxyFault
    from sidecar.model import Phase, ResponseHead
    from sidecar.settings.snapshot import Timeouts

NEVER_S: Final = float("inf")

_STREAMS: Final = (b"text/event-stream", b"application/grpc")

# Members by module names: through the class, 3.11 takes ten times as long.
_REQUEST: Final = TimeoutKind.REQUEST
_STREAM_IDLE: Final = TimeoutKind.STREAM_IDLE

_LOOKS: Final = 4  # At a slow reader, within its limit.


class TimeLimits:
    """What may take how long. Due times are on the steady clock.

    Attributes:
        request_due_s: When the request must be answered; infinity: whenever.
    """

    __slots__ = (
        "_active_s",
        "_alarm",
        "_attempt_due_s",
        "_clock",
        "_idle_kind",
        "_idle_limit_s",
        "_look_s",
        "_request_kind",
        "_request_limit_s",
        "_timeouts",
        "_unsent",
        "_unsent_bytes",
        "request_due_s",
    )

    def __init__(self, clock: Clock, alarm: Alarm) -> None:
        self._clock = clock
        self._alarm = alarm
        self._timeouts: Timeouts
        self._unsent: Callable[[], int]  # What a slow reader has not taken yet.
        self._unsent_bytes = 0
        self.begin()

    def begin(self) -> None:
        """Another exchange begins: nothing is limited yet."""
        self.request_due_s = self._attempt_due_s = self._idle_limit_s = NEVER_S
        self._request_limit_s = self._look_s = NEVER_S
        self._active_s = 0.0  # When the last byte moved.
        self._request_kind = _REQUEST
        self._idle_kind = _STREAM_IDLE

    @property
    def left_s(self) -> float:
        """How long the request may still take; infinity: as long as it likes."""
        return self.request_due_s - self._clock.now_s()

    def expired(
        self, phase: Phase, *, is_client_read: bool = True
    ) -> ProxyFault | None:
        """Return the fault of the limit that is reached, the widest first.

        Args:
            phase: How far the attempt has come.
            is_client_read: What the client sends is taken; else it cannot be slow.
        """
        now_s = self._clock.now_s()
        if now_s >= self._look_s:
            self._look(now_s)
        if now_s >= self.request_due_s:
            return classify_timeout(self._request_kind, phase, self._request_limit_s)
        if now_s >= self._attempt_due_s:
            limit_s = self._timeouts.per_try_s or NEVER_S
            return classify_timeout(TimeoutKind.PER_TRY, phase, limit_s)
        if now_s >= self._active_s + self._idle_limit_s:
            kind = self._idle_kind
            if kind is TimeoutKind.REQUEST_BODY_IDLE and not is_client_read:
                kind = TimeoutKind.QUEUE  # For a connection: only then it is held.
            return classify_timeout(kind, phase, self._idle_limit_s)
        self._arm()
        return None

    # What happens, in its usual order.

    def on_deadline(self, start_s: float, left_s: float) -> None:
        """The caller gives up after `left_s`."""
        self._limit_request(TimeoutKind.DEADLINE, start_s, left_s)

    def on_route(
        self, timeouts: Timeouts, now_s: float, *, is_body_to_come: bool
    ) -> None:
        """The route is known."""
        self._timeouts = timeouts
        if is_body_to_come:
            self.on_upload()
            return
        limit_s = timeouts.request_s
        if limit_s is not None and now_s + limit_s < self.request_due_s:
            self.request_due_s = now_s + limit_s
            self._request_kind = _REQUEST
            self._request_limit_s = limit_s

    def on_upload(self) -> None:
        """The client is to send more of the body."""
        limit_s = self._timeouts.request_body_idle_s
        self._limit_idle(TimeoutKind.REQUEST_BODY_IDLE, limit_s)

    def on_uploaded(self, *, is_attempt_under_way: bool) -> None:
        """The body is whole: from now on the request's time runs."""
        now_s = self._clock.now_s()
        if self._idle_kind is not TimeoutKind.UPSTREAM_WRITE:
            self._idle_limit_s = NEVER_S
        if self._timeouts.request_s is not None:
            self._limit_request(_REQUEST, now_s, self._timeouts.request_s)
        if is_attempt_under_way:
            self.on_attempt(now_s, is_body_to_come=False)

    def on_attempt(self, now_s: float, *, is_body_to_come: bool) -> None:
        """An attempt begins; its time runs, unless a body is still to come."""
        per_try_s = self._timeouts.per_try_s
        if per_try_s is not None and not is_body_to_come:
            self._attempt_due_s = now_s + per_try_s
        idle_due_s = self._active_s + self._idle_limit_s
        due_s = min(self.request_due_s, self._attempt_due_s, idle_due_s)
        if due_s == NEVER_S:  # Then nothing else would end the wait for an answer.
            self._limit_idle(_STREAM_IDLE, self._timeouts.stream_idle_s)
        else:
            self._alarm.set(due_s)

    def on_attempt_over(self) -> None:
        """Nothing is under way."""
        self._attempt_due_s = NEVER_S
        if self._idle_kind is TimeoutKind.UPSTREAM_WRITE:
            self._idle_kind, self._idle_limit_s = _STREAM_IDLE, NEVER_S
            self._look_s = NEVER_S

    def on_wait(self) -> None:
        """The next attempt is not to begin at once."""
        self._arm()

    def on_response(self, head: ResponseHead) -> None:
        """From the head on, what counts is that bytes move."""
        self._attempt_due_s = NEVER_S
        kind = head.named.get(b"content-type", b"")
        is_stream = head.body_bytes in (CHUNKED, UNTIL_CLOSE)
        if (is_stream or kind.startswith(_STREAMS)) and self._request_kind is _REQUEST:
            self.request_due_s = NEVER_S  # Only the caller's own limit stays.
        self.on_download()

    def on_download(self) -> None:
        """The upstream is to send more of the response."""
        timeouts = self._timeouts
        if timeouts.per_try_idle_s is not None:
            self._limit_idle(TimeoutKind.PER_TRY_IDLE, timeouts.per_try_idle_s)
        else:
            self._limit_idle(_STREAM_IDLE, timeouts.stream_idle_s)

    def on_tunnel(self) -> None:
        """Both sides may send at any time, for as long as they like."""
        self.request_due_s = self._attempt_due_s = NEVER_S
        self._limit_idle(TimeoutKind.TUNNEL_IDLE, self._timeouts.tunnel_idle_s)

    def on_bytes(self) -> None:
        """Bytes moved."""
        self._active_s = self._clock.now_s()

    def on_client_full(self, unsent: Callable[[], int]) -> None:
        """The client does not read what is there for it: `unsent` bytes so far."""
        limit_s = self._timeouts.downstream_write_s
        self._limit_reader(TimeoutKind.DOWNSTREAM_WRITE, limit_s, unsent)

    def on_upstream_full(self, unsent: Callable[[], int]) -> None:
        """The upstream does not read what is there for it."""
        limit_s = self._timeouts.stream_idle_s
        self._limit_reader(TimeoutKind.UPSTREAM_WRITE, limit_s, unsent)

    def unlimit_idle(self) -> None:
        """No bytes are to move for now."""
        self._idle_limit_s = self._look_s = NEVER_S

    def _limit_request(self, kind: TimeoutKind, now_s: float, limit_s: float) -> None:
        """Let the whole request take so long from now, unless less is left."""
        if now_s + limit_s < self.request_due_s:
            self.request_due_s = now_s + limit_s
            self._request_kind = kind
            self._request_limit_s = limit_s

    def _limit_idle(self, kind: TimeoutKind, limit_s: float) -> None:
        """Let no more than this pass without a byte, from now on."""
        self._idle_kind = kind
        self._idle_limit_s = limit_s
        self._look_s = NEVER_S
        self._active_s = self._clock.now_s()
        self._arm()

    def _limit_reader(
        self, kind: TimeoutKind, limit_s: float, unsent: Callable[[], int]
    ) -> None:
        """Let a reader be slow, as long as it takes something now and then.

        The transport tells only when its buffer is nearly empty, and until then
        a reader at 1 KiB/s would look like one that is stuck.
        """
        self._limit_idle(kind, limit_s)
        self._unsent = unsent
        self._unsent_bytes = unsent()
        self._look_s = self._active_s + limit_s / _LOOKS
        self._arm()

    def _look(self, now_s: float) -> None:
        left_bytes = self._unsent()
        if left_bytes < self._unsent_bytes:
            self._active_s = now_s
        self._unsent_bytes = left_bytes  # More may have come on top at first.
        self._look_s = now_s + self._idle_limit_s / _LOOKS

    def _arm(self) -> None:
        idle_due_s = self._active_s + self._idle_limit_s
        due_s = min(self.request_due_s, self._attempt_due_s, idle_due_s)
        self._alarm.set(min(due_s, self._look_s))
