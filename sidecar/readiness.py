"""Why no traffic should come: reasons that come and go, each by its name."""

from __future__ import annotations

from enum import Enum, unique


@unique
class NotReady(Enum):
    """A reason; the first of those that hold is the one that is told."""

    ENDED = "ended"
    DRAINING = "draining"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"  # The application fails its check.
    AWAITING = "awaiting"  # The application does not listen.


class Readiness:
    """The reasons that hold. No one overwrites another."""

    __slots__ = ("_details",)

    def __init__(self) -> None:
        self._details: dict[NotReady, str] = {}

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Readiness {self.reason or 'ready'!r}>"

    @property
    def reason(self) -> str:
        """Return the worst reason in words; empty when traffic should come."""
        for name in NotReady:
            if name in self._details:
                return self._details[name]
        return ""

    def reason_of(self, name: NotReady) -> str:
        """Return a reason in words, whether it is the worst or not; empty: none."""
        return self._details.get(name, "")

    def hold(self, name: NotReady, detail: str) -> None:
        """Let a reason hold, with these words."""
        self._details[name] = detail

    def release(self, name: NotReady) -> None:
        """Let a reason hold no more."""
        self._details.pop(name, None)
