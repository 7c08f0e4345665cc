"""The one place where a request that has ended is recorded."""

from __future__ import annotations

import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from sidecar.record.fault_feed import FaultFeed, iso_time, record_of
from sidecar.record.line_writer import LineWriter
from sidecar.record.store import MetricStore

if TYPE_CHECKING:
    from typing import TextIO

    from sidecar.clock import Clock
    from sidecar.model import Outcome
    from sidecar.policy.breaker import State
    from sidecar.record.tracing import Tracer
    from sidecar.settings.snapshot import Snapshot

_FACTS_FOR_S = 1.0
_SAMPLE_BITS = (1 << 56) - 1


class Recorder:
    """Takes outcomes and events; feeds whoever tells of them."""

    def __init__(
        self, snapshot: Snapshot, clock: Clock, stream: TextIO | None = None
    ) -> None:
        self.snapshot = snapshot
        self._clock = clock
        self.store = MetricStore(snapshot.max_series)
        self.feed = FaultFeed(self.facts)
        self.lines = LineWriter(stream or sys.stdout)
        self.tracer: Tracer | None = None
        self._log_mode = snapshot.access_log.mode
        self._log_ratio = snapshot.access_log.sample_ratio
        self._facts: dict[str, Any] = {}
        self._facts_until_s = 0.0
        self.loop_lag_s = 0.0
        self.in_flight = 0

    def record(self, outcome: Outcome) -> None:
        """Count a request, and tell of it where that is asked for."""
        self.store.count(outcome)
        if outcome.fault is not None:
            self.feed.add(outcome)
        elif self._log_mode == "faults" and not outcome.trace.sampled:
            return
        if self._is_logged(outcome):
            facts = {} if outcome.fault is None else self.facts()
            self.lines.write(lambda: _line(outcome, facts))
        if self.tracer is not None and (outcome.trace.sampled or outcome.fault):
            self.tracer.record(outcome)

    def retried(self, route: str, upstream: str, reason: str) -> None:
        """An attempt is made again."""
        self.store.retries_by_route[route] += 1
        self.store.retries[upstream, reason] += 1

    def transition(
        self, route: str, upstream: str, before: State, after: State, cause: str
    ) -> None:
        """A breaker moved."""
        self.store.transitions[route, upstream, before.value, after.value] += 1
        if self._log_mode == "off":
            return
        self.lines.write(
            lambda: {
                "event": "breaker",
                "time": iso_time(self._clock.wall_ns()),
                "route": route,
                "upstream": upstream,
                "from": before.value,
                "to": after.value,
                "cause": cause,
            }
        )

    def facts(self) -> dict[str, Any]:
        """Return what there is to know of the process, at most a second old."""
        now_s = self._clock.now_s()
        if now_s >= self._facts_until_s:
            self._facts_until_s = now_s + _FACTS_FOR_S
            self._facts = {
                "service": self.snapshot.service,
                "host": platform.node(),
                "pid": os.getpid(),
                "config_version": self.snapshot.version,
                "loop_lag_ms": round(self.loop_lag_s * 1000, 3),
                "rss_bytes": rss_bytes(),
            }
        return self._facts

    def close(self, timeout_s: float) -> None:
        """Write what is left; give up after `timeout_s`."""
        if self.tracer is not None:
            self.tracer.close(timeout_s)
        self.lines.close(timeout_s)

    def _is_logged(self, outcome: Outcome) -> bool:
        mode = self._log_mode
        if mode == "off":
            return False
        if outcome.fault is not None or mode == "all":
            return True
        if mode == "faults":
            return False
        return (outcome.trace.trace_id & _SAMPLE_BITS) < self._log_ratio * _SAMPLE_BITS


def rss_bytes() -> int:
    """Return the resident memory of this process."""
    import psutil  # noqa: PLC0415 - only when somebody wants to know

    return int(psutil.Process().memory_info().rss)


def _line(outcome: Outcome, facts: dict[str, Any]) -> dict[str, Any]:
    if outcome.fault is not None:
        return record_of(outcome, facts)
    return {
        "event": "request",
        "time": iso_time(outcome.start_wall_ns),
        "listener": outcome.listener,
        "route": outcome.route,
        "upstream": outcome.upstream,
        "endpoint": outcome.attempts[-1].endpoint if outcome.attempts else "",
        "method": outcome.method,
        "path": outcome.path.decode("latin-1"),
        "authority": outcome.authority.decode("latin-1"),
        "client": outcome.client,
        "status": outcome.status,
        "duration_ms": round(outcome.duration_s * 1000, 3),
        "request_bytes": outcome.request_bytes,
        "response_bytes": outcome.response_bytes,
        "attempts": len(outcome.attempts),
        "trace_id": f"{outcome.trace.trace_id:032x}",
        "request_id": outcome.request_id,
    }
