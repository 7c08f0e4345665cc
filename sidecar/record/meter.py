"""What this process uses of what it may, read once a second by `recorder`.

Not for each request, and not for each scrape: who asks gets the last reading.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sidecar import descriptors
from sidecar.cgroup import Cgroup, Throttling
from sidecar.record.pressure import Usage
from sidecar.record.process import rss_bytes

if TYPE_CHECKING:
    from sidecar.clock import Clock

_WINDOW_S = 5.0  # Of throttling: a short burst, such as a start, is no shortage.
_TOLERANCE_S = 0.5


class Meter:
    """Reads the process and its cgroup.

    Attributes:
        usage: The last reading.
        throttling: Likewise, since the cgroup was made.
    """

    def __init__(self, clock: Clock, cgroup: Cgroup | None = None) -> None:
        self._clock = clock
        self._cgroup = cgroup or Cgroup()
        self._throttled: deque[tuple[float, float]] = deque()  # When, and how much.
        self.throttling = Throttling()
        self.usage = self.read()

    def read(self) -> Usage:
        """Look at everything, now."""
        now_s = self._clock.now_s()
        self.throttling = self._cgroup.throttling()
        self._throttled.append((now_s, self.throttling.throttled_s))
        while now_s - self._throttled[0][0] > _WINDOW_S + _TOLERANCE_S:
            self._throttled.popleft()
        self.usage = Usage(
            rss_bytes(),
            self._cgroup.memory_limit_bytes(),
            descriptors.used(),
            descriptors.limit(),
            self._cgroup.kernel_bytes(),
            self._throttled_ratio(),
            self._cgroup.cpus(),
        )
        return self.usage

    def throttled_since_s(self) -> float:
        """Return how long the CPU was held back since the last reading."""
        return self._cgroup.throttling().throttled_s - self.throttling.throttled_s

    def _throttled_ratio(self) -> float:
        """Return for which part of the last seconds; 0 until they have passed."""
        (since_s, before_s), (now_s, after_s) = self._throttled[0], self._throttled[-1]
        passed_s = now_s - since_s
        if passed_s < _WINDOW_S - _TOLERANCE_S:
            return 0.0
        return (after_s - before_s) / passed_s
