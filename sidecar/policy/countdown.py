"""The limits of time of one request, and which of them is reached first.

    request  ----------------------------------------->  all tries and waits
    attempt     ------>   ------>   --------------->     one try, up to its head
    idle           - - - - - - - - - - - - - - -         since the last byte

Several may run at once. The making of a connection has limits of its own (see
`upstream.connector`). Nothing here looks at a clock.
"""

from __future__ import annotations

from sidecar.model import TimeoutKind

NEVER_S = float("inf")

# Members by module names: through the class, 3.11 takes ten times as long.
_REQUEST, _STREAM_IDLE = TimeoutKind.REQUEST, TimeoutKind.STREAM_IDLE


class Countdown:
    """Due times on the steady clock; `NEVER_S` where there is no limit."""

    __slots__ = (
        "_attempt_limit_s",
        "_idle_kind",
        "_idle_limit_s",
        "_request_kind",
        "_request_limit_s",
        "active_s",
        "attempt_due_s",
        "request_due_s",
    )

    def __init__(self) -> None:
        self.request_due_s = self.attempt_due_s = NEVER_S
        self.active_s = 0.0  # When the last byte moved.
        self._request_kind = _REQUEST
        self._idle_kind = _STREAM_IDLE
        self._request_limit_s = self._attempt_limit_s = self._idle_limit_s = NEVER_S

    def limit_request(self, kind: TimeoutKind, now_s: float, limit_s: float) -> None:
        """Let the whole request take `limit_s` from now, unless less is left."""
        if now_s + limit_s < self.request_due_s:
            self.request_due_s = now_s + limit_s
            self._request_kind = kind
            self._request_limit_s = limit_s

    def limit_attempt(self, now_s: float, limit_s: float | None) -> None:
        """Let the present attempt take `limit_s` from now."""
        self._attempt_limit_s = NEVER_S if limit_s is None else limit_s
        self.attempt_due_s = now_s + self._attempt_limit_s

    def limit_idle(
        self, kind: TimeoutKind, now_s: float, limit_s: float | None
    ) -> None:
        """Let no more than `limit_s` pass without a byte, from now on."""
        self._idle_kind = kind
        self._idle_limit_s = NEVER_S if limit_s is None else limit_s
        self.active_s = now_s

    def unlimit_request(self) -> None:
        """A stream may last as long as it moves; only the caller's limit stays."""
        if self._request_kind is _REQUEST:
            self.request_due_s = NEVER_S

    def next_due_s(self) -> float:
        """Return when to look again."""
        return min(
            self.request_due_s,
            self.attempt_due_s,
            self.active_s + self._idle_limit_s,
        )

    def expired(self, now_s: float) -> tuple[TimeoutKind, float] | None:
        """Return the limit that is reached and its seconds, the widest first."""
        if now_s >= self.request_due_s:
            return self._request_kind, self._request_limit_s
        if now_s >= self.attempt_due_s:
            return TimeoutKind.PER_TRY, self._attempt_limit_s
        if now_s >= self.active_s + self._idle_limit_s:
            return self._idle_kind, self._idle_limit_s
        return None
