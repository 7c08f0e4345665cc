"""What is counted of intercepted connections: what they were, and what passed.

Labels are the listeners, and words of a few: the numbers have bounds.
"""

from __future__ import annotations

from collections import defaultdict


class OpaqueCounts:
    """Of each listener. Belongs to one event loop."""

    __slots__ = ("bytes", "decisions", "ends", "open")

    def __init__(self) -> None:
        # By listener, protocol ("http" or "opaque"), and what told: the destination's
        # "port", "memory" of it, or who spoke first: "client" or "server".
        self.decisions: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        # By listener and result: "ended", "failed" or "refused".
        self.ends: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.bytes: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.open: defaultdict[str, int] = defaultdict(int)

    def detected(self, listener: str, protocol: str, by: str) -> None:
        """It is known what a connection speaks."""
        self.decisions[listener, protocol, by] += 1

    def refused(self, listener: str) -> None:
        """A connection was ended before it was known what it speaks."""
        self.ends[listener, "refused"] += 1

    def opened(self, listener: str) -> None:
        """An opaque connection has begun."""
        self.open[listener] += 1

    def moved(self, listener: str, direction: str, count_bytes: int) -> None:
        """Bytes have passed: "in" from the client, "out" to it."""
        self.bytes[listener, direction] += count_bytes

    def closed(self, listener: str, result: str) -> None:
        """One is over."""
        self.open[listener] -= 1
        self.ends[listener, result] += 1
