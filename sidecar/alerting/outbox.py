"""When a message goes to one receiver, goes again, or is given up: pure.

    put      a notice waits for others: `group_wait`, or not at all if it is a P0
    take     all that wait are one message, if the rate allows one
    settle   sent; failed for now: again after a backoff, until `give_up`; or for good

One message is under way at a time. Meanwhile notices wait, one for each group: the
newest is what counts. So the outbox is bounded, however long a receiver hangs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sidecar.alerting.notice import Kind, Notice
from sidecar.clock import NEVER_S
from sidecar.policy.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

    from sidecar.settings.alert_plan import AlertPlan

MAX_WAITING: Final = 500
MAX_RETRY_AFTER_S: Final = 300.0
_BACKOFF: Final = Backoff(4.0, 60.0)
_URGENT: Final = 0  # The rank that waits for nobody.


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of an attempt."""

    is_sent: bool
    problem: str = ""  # For people; no secret is in it.
    is_final: bool = False  # Trying again makes no sense.
    retry_after_s: float = 0.0  # As the receiver asks.


SENT: Final = Delivery(is_sent=True)


class Outbox:
    """Notices of one receiver.

    Args:
        plan: For how long to wait, how often to send, when to give up.
        rng: Jitter.

    Attributes:
        plan: As it is in force.
        dropped: Notices that there was no room for.
    """

    def __init__(self, plan: AlertPlan, rng: Random) -> None:
        self.plan = plan
        self._rng = rng
        self._waiting: dict[str, Notice] = {}  # By group.
        self._ready_s = NEVER_S
        self._tokens = float(plan.messages)
        self._counted_s: float | None = None
        self._message: tuple[Notice, ...] = ()
        self._is_under_way = False
        self._first_s = 0.0  # Of the message: its first attempt.
        self._failures = 0
        self._again_s = 0.0
        self.dropped = 0

    def __len__(self) -> int:
        """Return how many notices are not settled."""
        return len(self._waiting) + len(self._message)

    def __repr__(self) -> str:
        """Return what it is in a line."""
        state = f"failures={self._failures}" if self._message else "idle"
        return f"<Outbox waiting={len(self._waiting)} {state}>"

    def put(self, notice: Notice, now_s: float) -> None:
        """Let a notice wait; of the same group, the newest is enough."""
        is_first = not self._waiting
        before = self._waiting.pop(notice.group, None)
        if before is None and len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            # The least severe goes; of those one that is over, then the oldest.
            waiting = [*self._waiting.values(), notice]
            least = max(waiting, key=lambda each: (each.rank, each.kind.is_over))
            if least is notice:
                return
            del self._waiting[least.group]
        is_new = before is not None and (
            before.kind is Kind.FIRING or before.kind.is_over
        )
        if is_new and not notice.kind.is_over:  # Nobody has heard of it yet.
            notice = replace(notice, kind=Kind.FIRING)
        self._waiting[notice.group] = notice
        wait_s = 0.0 if notice.rank == _URGENT else self.plan.group_wait_s
        ready_s = now_s + wait_s
        self._ready_s = ready_s if is_first else min(self._ready_s, ready_s)

    def due_s(self, now_s: float) -> float:
        """Return when there is something to send; never, while it is under way."""
        if self._is_under_way:
            return NEVER_S
        if self._message:
            return self._again_s
        if not self._waiting:
            return NEVER_S
        self._fill(now_s)
        lacking = max(0.0, 1.0 - self._tokens)
        return max(
            self._ready_s, now_s + lacking * self.plan.per_s / self.plan.messages
        )

    def take(self, now_s: float) -> tuple[Notice, ...]:
        """Return the message to send now, the worst first; `settle` must follow."""
        if not self._message:
            self._fill(now_s)
            self._tokens = max(0.0, self._tokens - 1.0)
            waiting = self._waiting.values()
            self._message = tuple(
                sorted(waiting, key=lambda n: (n.kind.is_over, n.rank))
            )
            self._waiting.clear()
            self._ready_s = NEVER_S
            self._first_s, self._failures = now_s, 0
        self._is_under_way = True
        return self._message

    def settle(self, delivery: Delivery, now_s: float) -> bool:
        """Take what came of it; tell whether that is the end of the message."""
        self._is_under_way = False
        if not delivery.is_sent and not delivery.is_final:
            self._failures += 1
            wait_s = max(
                _BACKOFF.delay_s(self._failures, self._rng),
                min(delivery.retry_after_s, MAX_RETRY_AFTER_S),
            )
            self._again_s = now_s + wait_s
            if self._again_s - self._first_s <= self.plan.give_up_s:
                return False
        self._message = ()
        return True

    def _fill(self, now_s: float) -> None:
        if self._counted_s is not None:
            gone_s = max(0.0, now_s - self._counted_s)
            grown = self._tokens + gone_s * self.plan.messages / self.plan.per_s
            self._tokens = min(float(self.plan.messages), grown)
        self._counted_s = now_s
