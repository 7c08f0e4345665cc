"""How it goes with alerts, in numbers: made in `alerting`, shown as metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class AlertCounts:
    """Counts since the start.

    Attributes:
        notices: By receiver and what came of them.
        waiting: Notices that are not settled, by receiver.
        succeeded_s: Time of day of the latest success, by receiver.
        firing: Groups that fire.
    """

    notices: dict[tuple[str, str], int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    succeeded_s: dict[str, float] = field(default_factory=dict)
    firing: int = 0

    def forget(self, receiver: str) -> None:
        """Tell no more how a receiver stands; what it was told stays counted."""
        self.waiting.pop(receiver, None)
        self.succeeded_s.pop(receiver, None)

    def add(self, receiver: str, result: str, count: int = 1) -> None:
        """Count notices: sent, retried, failed, silenced or dropped."""
        key = (receiver, result)
        self.notices[key] = self.notices.get(key, 0) + count
