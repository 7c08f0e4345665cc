"""How things stand when something fails: of the process, and of route and upstream.

What is of the process (load, memory, disk, threads, tasks) is read at most once a
second, by a timer where there is one: no request waits for it. What is of a route
and its upstream is read at the failure, from memory. What never changes (versions of
program, Python and libraries) is added when somebody reads the record.
"""

from __future__ import annotations

import os
import platform
import threading
from contextlib import suppress
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import sidecar
from sidecar import descriptors
from sidecar.record.moments import milliseconds
from sidecar.record.process import event_loop_tasks, rss_bytes
from sidecar.record.sources import (
    connections_of,
    in_flight_of,
    total_of,
    worst_breaker,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.clock import Clock
    from sidecar.model import Outcome
    from sidecar.record.pressure import Usage
    from sidecar.record.sources import RouteState, RuntimeState
    from sidecar.settings.snapshot import Snapshot

_FRESH_S: Final = 1.0
_TIMED_S: Final = 1.5  # The timer that reads anew is due before that.
_LIBRARIES: Final = ("aiohttp", "google-re2", "httptools", "pydantic", "uvloop")


class Context:
    """Facts for records.

    Args:
        snapshot: The configuration in force.
        clock: Time.
        loop_lag_s: Tells the worst lag of the last seconds.
        usage: Tells what the process uses of what it may.

    Attributes:
        snapshot: The configuration in force.
        runtime: It at work, once it is.
        routes: Its routes by name.
        folder: On the disk whose free space is told.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        loop_lag_s: Callable[[], float],
        usage: Callable[[], Usage],
    ) -> None:
        self._clock = clock
        self._loop_lag_s = loop_lag_s
        self.snapshot = snapshot
        self.runtime: RuntimeState | None = None
        self.routes: dict[str, RouteState] = {}
        self._usage = usage
        self.folder = "/"
        self._facts: dict[str, Any] = {}
        self._until_s = float("-inf")

    @property
    def in_flight(self) -> int:
        """Return how many requests are at work."""
        return 0 if self.runtime is None else self.runtime.in_flight

    def expire(self) -> None:
        """Read anew at the next failure."""
        self._until_s = float("-inf")

    def process(self) -> dict[str, Any]:
        """Return what there is to know of the process, about a second old at most."""
        if self._clock.now_s() >= self._until_s:
            self._read(_FRESH_S)
        return self._facts

    def look(self) -> None:
        """Read anew, so that no failure has to; called once a second."""
        self._read(_TIMED_S)

    def of(self, outcome: Outcome) -> dict[str, Any]:
        """Return how things stand for a route, beside the state of the process."""
        state = self.routes.get(outcome.route)
        upstream = None
        if self.runtime is not None and outcome.upstream:
            upstream = self.runtime.upstreams.get(outcome.upstream)
        facts: dict[str, Any] = dict(self.process())
        if state is not None:
            breaker = worst_breaker(state, self._clock.now_s())
            facts["route_in_flight"] = in_flight_of(state)
            facts["breaker_state"] = "off" if breaker is None else breaker.state.value
        if upstream is not None:
            idle, busy = connections_of(upstream)
            facts["pool"] = {
                "idle": idle,
                "busy": busy,
                "pending": total_of(upstream, lambda each: each.pool.pending),
                "max": upstream.settings.max_connections,
            }
        return facts

    def _read(self, fresh_s: float) -> None:
        self._until_s = self._clock.now_s() + fresh_s
        self._facts = {
            "service": self.snapshot.service,
            "host": platform.node(),
            "pid": os.getpid(),
            "config_version": self.snapshot.version,
            "loop_lag_ms": milliseconds(self._loop_lag_s()),
            "rss_bytes": rss_bytes(),
            "in_flight": self.in_flight,
            "process": self._process(),
        }

    def _process(self) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "memory_limit_bytes": self._usage().memory_limit_bytes,
            "threads": threading.active_count(),
            "tasks": event_loop_tasks(),
            "descriptor_limit": descriptors.limit(),
        }
        # The telling of a failure must not fail for the reason it tells of.
        with suppress(OSError):
            facts["load_1m"] = round(os.getloadavg()[0], 2)
        with suppress(OSError):
            facts["descriptors"] = descriptors.used()
        with suppress(OSError):
            disk = os.statvfs(self.folder)
            facts["disk_free_bytes"] = disk.f_bavail * disk.f_frsize
        return facts


@cache
def build() -> dict[str, Any]:
    """Return what this program is made of; the same for as long as it runs."""
    versions = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "version": sidecar.__version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "dependencies": versions,
    }
