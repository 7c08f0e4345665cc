"""When an application has fallen silent: 316-LOCK-SUSPECT.

    attempt sent, nothing came, time was up    begins a silence, or counts in one
    any answer, a reset, a refusal             ends it: something is alive, or gone
    too many, for longer than the timeout      told, once a silence
    the active check met the same, often,
    and no answer came meanwhile               told, unless it is already

A deadlock, or a worker pool that is used up, looks like this from outside: the
kernel goes on accepting connections, the application answers none of them. A
silence counts from the first attempt that ended in it, so that no answer can have
come unseen while it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import FaultCode
from sidecar.model import Origin, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.model import Attempt

_MIN_UNANSWERED = 3  # One slow handler is not a deadlock.
_TIME_IS_UP = frozenset(
    code.spec.code
    for code in (
        FaultCode.TIMEOUT_ERR,
        FaultCode.TIMEOUT_TRY,
        FaultCode.TIMEOUT_IDLE,
        FaultCode.DEADLINE_EXPIRED,
    )
)
_BEFORE_SENDING = frozenset((Phase.REQUEST, Phase.QUEUE))


@dataclass(slots=True)
class Silence:
    """How long an upstream has answered nothing."""

    since_s: float
    unanswered: int = 0
    checks: int = 0  # Of the active check, in a row, that waited in vain.
    is_told: bool = False


class SilenceWatch:
    """Remembers which upstreams answer nothing; told of attempts as they end.

    Attributes:
        silences: By upstream. While it is empty, answers need not be told.
    """

    def __init__(self) -> None:
        self.silences: dict[str, Silence] = {}

    def answered(self, upstream: str) -> None:
        """The upstream has answered a request."""
        self.silences.pop(upstream, None)

    def check_waited(
        self, upstreams: Iterable[str], now_s: float, too_many: int
    ) -> bool:
        """The active check of the application has waited in vain.

        Args:
            upstreams: Those that lead to it.
            now_s: Now.
            too_many: So many such checks in a row are one silence.

        Returns:
            Whether there is something to tell: no request was answered meanwhile, and
            nothing of the traffic was told.
        """
        known = [
            self.silences.setdefault(upstream, Silence(now_s)) for upstream in upstreams
        ]
        for silence in known:
            silence.checks += 1
        if any(silence.is_told or silence.checks < too_many for silence in known):
            return False
        for silence in known:
            silence.is_told = True
        return True

    def check_answered(self, upstreams: Iterable[str]) -> None:
        """The active check has an answer; what the traffic met is its own matter.

        An answer to a check may come from a thread that no request ever gets.
        """
        for upstream in upstreams:
            silence = self.silences.get(upstream)
            if silence is None:
                continue
            silence.checks = 0
            if not silence.unanswered:
                del self.silences[upstream]

    def look(
        self, upstream: str, attempts: tuple[Attempt, ...], timeout_s: float
    ) -> str | None:
        """Take the attempts of a request that failed.

        Args:
            upstream: Where they went.
            attempts: In order.
            timeout_s: Of the route: a silence has to last longer.

        Returns:
            What there is to tell, when that is the moment; else None.
        """
        detail = None
        for attempt in attempts:
            if not _says_something(attempt):
                continue
            if _is_unanswered(attempt):
                detail = self._unanswered(upstream, attempt, timeout_s) or detail
            else:
                self.answered(upstream)
                detail = None
        return detail

    def _unanswered(
        self, upstream: str, attempt: Attempt, timeout_s: float
    ) -> str | None:
        end_s = attempt.start_s + attempt.duration_s
        silence = self.silences.get(upstream)
        if silence is None:
            silence = self.silences[upstream] = Silence(end_s)
        silence.unanswered += 1
        lasted_s = end_s - silence.since_s
        is_long = silence.unanswered >= _MIN_UNANSWERED and lasted_s > timeout_s
        if silence.is_told or not is_long:
            return None
        silence.is_told = True
        return (
            f"no answer at all for {lasted_s:.1f} s, though it accepts connections: "
            f"{silence.unanswered} attempts waited in vain"
        )


def _says_something(attempt: Attempt) -> bool:
    """Tell whether an attempt shows how its upstream is.

    One that was never sent, or whose client left, does not.
    """
    fault = attempt.fault
    if fault is None or attempt.status:
        return True
    return fault.origin is not Origin.CLIENT and attempt.phase not in _BEFORE_SENDING


def _is_unanswered(attempt: Attempt) -> bool:
    fault = attempt.fault
    if fault is None or attempt.status:
        return False
    return attempt.phase is Phase.WAIT and fault.code in _TIME_IS_UP
