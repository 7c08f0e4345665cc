"""The one place where a request that has ended is recorded.

    count_plain(…)  --> store     a success of which nothing is to be told
    record(outcome) --> store     all others: plain integers, too
                    --> book      a failure: groups, the feed, the store
                    --> lines     as the access log's mode says
                    --> tracer    sampled, or a failure

In a storm of failures those have a line and a span that the book keeps, and the rest
is a line that counts them: writing all would take the time of the traffic.
Called on the event loop, once a request. What is slow (formatting, writing, spans,
series) is done by others, later. What is not of one request (the loop stood still,
a reload was refused) comes in by `fault`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from sidecar.faults.catalogue import FaultCode
from sidecar.model import Fault, Limit, Outcome, Phase, Processed, TraceContext
from sidecar.policy.overload import Admission
from sidecar.record.access_log import (
    EndpointMove,
    LeftOut,
    Loggable,
    Transition,
    line_of,
    success_ratio,
)
from sidecar.record.application import ApplicationRecord
from sidecar.record.context import Context
from sidecar.record.escalation import Escalation
from sidecar.record.feed.events import Event
from sidecar.record.feed.fault_book import FaultBook
from sidecar.record.feed.fault_feed import fault_id
from sidecar.record.line_writer import LineWriter
from sidecar.record.loop_lag import LoopLag
from sidecar.record.meter import Meter
from sidecar.record.metrics.store import MetricStore
from sidecar.record.moments import milliseconds
from sidecar.record.opaque import OpaqueCounts
from sidecar.record.pressure import Pressure
from sidecar.record.silence import SilenceWatch
from sidecar.record.traffic import Tick, Traffic
from sidecar.wire.trace_context import is_sampled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from sidecar.clock import Clock, Timer
    from sidecar.faults.spec import FaultSpec
    from sidecar.policy.breaker import State
    from sidecar.policy.outlier import Reason, Standing
    from sidecar.record.feed.failure import Failure
    from sidecar.record.feed.group import Group
    from sidecar.record.otlp.tracing import Tracer
    from sidecar.record.sources import RuntimeState
    from sidecar.settings.snapshot import Snapshot

_LOOK_S: Final = 1.0
_UNLIMITED_S: Final = 15.0  # Silence that is long on a route without a limit of time.
_NO_TRACE: Final = TraceContext(0, 0, 0, False, b"")


class Recorder:
    """Takes outcomes and events; feeds whoever tells of them.

    Args:
        snapshot: The configuration in force.
        clock: Time.
        stream: Where the access log goes; stdout unless given.

    Attributes:
        meter: What this process uses of what it may; read once a second.
        admission: Told how short this process is of anything; decides what follows.
        is_memory_short: Resident memory is over its limit.
        is_config_good: The file is the configuration in force, as far as is known.
        fault_headers: Request fields that a record may hold, in lower case.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        clock: Clock,
        stream: TextIO | None = None,
    ) -> None:
        self._clock = clock
        self.snapshot = snapshot
        self.store = MetricStore(snapshot.max_series)
        self.traffic = Traffic(self.store.requests, clock.now_s())
        self.opaque = OpaqueCounts()
        self.application = ApplicationRecord()
        self._count_plain = self.store.count_plain  # Bound once: it is hot.
        self.lines: LineWriter[Loggable] = LineWriter(stream or sys.stdout, line_of)
        self.tracer: Tracer | None = None  # Set when traces are wanted.
        self.runtime: RuntimeState | None = None
        self.is_memory_short = False
        self.is_config_good = True
        self.admission = Admission(snapshot.overload)
        self.admission.on_late.append(self._tell_lag)
        self._lag = LoopLag(clock, self._on_stall, self._on_beat)
        self._pressure = Pressure(snapshot.overload)
        self.meter = Meter(clock)
        self._context = Context(
            snapshot, clock, lambda: self.worst_loop_lag_s, lambda: self.meter.usage
        )
        self.book = FaultBook(self._context, self.store.requests_by_route)
        self.feed = self.book.feed
        self.store.on_success = self.book.groups.succeeded
        self.book.groups.on_recovered = self._on_recovered
        self.book.on_kept.append(self._on_kept)
        self._left_out = 0  # Failures that a line has told of by their number alone.
        self.silence = SilenceWatch()
        self._silences = self.silence.silences
        self._timer: Timer | None = None
        self._escalation = Escalation(self.store.requests_of)
        self.use(snapshot)

    def use(self, snapshot: Snapshot) -> None:
        """Go by this configuration from now on."""
        if snapshot.overload != self.snapshot.overload:
            self.admission.use(snapshot.overload)
        self.snapshot = snapshot
        self._pressure.limits = snapshot.overload
        self._is_logging = snapshot.access_log.mode != "off"
        self._logs_all = snapshot.access_log.mode == "all"
        self._success_ratio = success_ratio(snapshot.access_log)
        self.fault_headers = snapshot.fault_headers
        self.book.groups.use(snapshot.recovered_after_s)
        self._context.snapshot = snapshot
        self._context.expire()
        self._escalation.forget()

    def watch(self, runtime: RuntimeState) -> None:
        """Read the state of breakers and pools from `runtime` from now on."""
        self.runtime = self._context.runtime = runtime
        self._context.routes = {state.route.name: state for state in runtime.routes}
        self.book.events.keep_upstreams(set(runtime.upstreams))
        self.book.groups.anywhere = frozenset(
            name
            for name, each in runtime.upstreams.items()
            if each.settings.is_original
        )
        self._silences.clear()  # An upstream that is gone would never end its own.
        if runtime.snapshot is not self.snapshot:
            self.use(runtime.snapshot)

    def start(self) -> None:
        """Measure the loop that this is called on, and watch own resources."""
        self._context.look()  # Loads what the first failure would else wait for.
        self._lag.start()
        self._timer = self._clock.call_at(self._clock.now_s() + _LOOK_S, self._look)

    def close(self, timeout_s: float) -> None:
        """Write and send what is left; give up after `timeout_s`."""
        self.stop()
        end_s = self._clock.now_s() + timeout_s
        self.book.close(timeout_s / 2)  # Leave some for the log.
        for shipper in (self.tracer, self.book.logs):
            if shipper is not None:
                shipper.close((end_s - self._clock.now_s()) / 2)
        self.lines.close(max(0.0, end_s - self._clock.now_s()))

    def stop(self) -> None:
        """Measure no more, and let those end who listen to the fault feed."""
        self.book.hub.close()
        self._lag.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def worst_loop_lag_s(self) -> float:
        """Return the worst lag of the event loop in the last ten seconds or so."""
        return self._lag.worst_s

    def headers_of(self, named: Mapping[bytes, bytes]) -> tuple[tuple[str, str], ...]:
        """Return what the configuration allows to tell of a request's fields."""
        return tuple(
            (name.decode("latin-1"), named[name].decode("latin-1"))
            for name in sorted(self.fault_headers.intersection(named))
        )

    def count_plain(  # noqa: PLR0917 - keywords would cost each request 0.2 us
        self,
        route: str,
        method: str,
        status: int,
        duration_s: float,
        request_bytes: int,
        response_bytes: int,
    ) -> bool:
        """Count a success of which nothing else is to be told, as of nearly all.

        Returns:
            Whether it is counted; else it is to be recorded by its outcome.
        """
        if self._success_ratio or self._silences:
            return False
        return self._count_plain(
            route, method, status, duration_s, request_bytes, response_bytes
        )

    def record(self, outcome: Outcome) -> None:
        """Count a request that has ended, and tell of it where that is asked for."""
        if outcome.fault is not None:
            self._record_failure(outcome, outcome.fault)
            return
        self.store.count_success(outcome)
        if self._silences:
            self.silence.answered(outcome.upstream)
        trace = outcome.trace
        if self._success_ratio and is_sampled(trace.trace_id, self._success_ratio):
            self.lines.put(outcome)
        if trace.sampled and self.tracer is not None:
            self.tracer.record(outcome)

    def fault(
        self,
        spec: FaultSpec,
        detail: str,
        *,
        route: str = "",
        upstream: str = "",
        **facts: Any,
    ) -> str:
        """Record a failure that is not of one request; return its id.

        Args:
            spec: The entry of the catalogue.
            detail: For people.
            route: Whose failure it is, if it is one route's.
            upstream: Likewise.
            facts: More to keep in the record, e.g. the stack of a stall.
        """
        wall_ns = self._clock.wall_ns()
        chance = int.from_bytes(os.urandom(4), "big")
        fault = Fault(
            spec, fault_id(wall_ns, chance), spec.origin,
            Phase.REQUEST, Processed.NO, detail,
        )  # fmt: skip
        outcome = Outcome(
            "", route, upstream, "", b"", "", b"", "", 0, fault, self._clock.now_s(),
            wall_ns, 0.0, 0, 0, (), "", _NO_TRACE, "", False,
        )  # fmt: skip
        severity = spec.severity
        self.store.count_fault(spec.code, severity.name, upstream, route)
        now_s = self._clock.now_s()
        failure = self.book.failed(outcome, fault, severity, now_s, facts)
        if self._logs_all:
            self.lines.put(failure)
        return fault.fault_id

    def event(
        self, kind: str, subject: str, detail: str, *, upstream: str = "", **facts: Any
    ) -> None:
        """Something happened that is no failure: see `record.feed.events`.

        Args:
            kind: One word, of few: "breaker", "ejection", "reload", "drain", "start".
            subject: What it happened to: a route, an endpoint, a file.
            detail: For people.
            upstream: Whose event it is, if it is one upstream's.
            facts: More to tell, as JSON takes it.
        """
        now_ns = self._clock.wall_ns()
        self.book.happened(Event(now_ns, kind, subject, detail, upstream, facts))

    def retried(self, route: str, upstream: str, reason: str) -> None:
        """An attempt is made again, because of `reason`: a code or a status."""
        self.store.count_retry(route, upstream, reason)

    def limit_hit(self, limit: Limit) -> None:
        """A bound on a client was hit."""
        self.store.limit_hits[limit.value] += 1

    def admin_refused(self, reason: str) -> None:
        """A request to the admin API was refused."""
        refused = self.store.admin_refused
        refused[reason] = refused.get(reason, 0) + 1

    def reloaded(self, result: str) -> None:
        """The configuration was read again: "applied", "unchanged" or "rejected"."""
        self.event("reload", self.snapshot.source, result)
        self.store.reloads[result] += 1
        self.is_config_good = result != "rejected"

    def malformed_code(self) -> None:
        """An application sent an `x-316-code` that is none; it was ignored."""
        self.store.malformed_codes += 1

    def transition(
        self, route: str, upstream: str, before: State, after: State, cause: str
    ) -> None:
        """A breaker moved."""
        self.store.count_transition(route, upstream, before.value, after.value)
        moved = {"from": before.value, "to": after.value}
        self.event("breaker", route, cause, upstream=upstream, **moved)
        if self._is_logging:
            now_ns = self._clock.wall_ns()
            self.lines.put(
                Transition(now_ns, route, upstream, before.value, after.value, cause)
            )

    def endpoint_moved(  # noqa: PLR0917 - as the detector tells it
        self,
        upstream: str,
        endpoint: str,
        before: Standing,
        after: Standing,
        reason: Reason,
        cause: str,
    ) -> None:
        """An endpoint was ejected or avoided, or came back."""
        self.store.count_move(upstream, after, reason)
        moved = {"from": before.value, "to": after.value, "reason": reason.value}
        self.event("ejection", endpoint, cause, upstream=upstream, **moved)
        if self._is_logging:
            self.lines.put(
                EndpointMove(
                    self._clock.wall_ns(), upstream, endpoint,
                    before.value, after.value, reason.value, cause,
                )
            )  # fmt: skip

    def _record_failure(self, outcome: Outcome, fault: Fault) -> None:
        now_s = outcome.start_s + outcome.duration_s
        severity = self._escalation.severity_of(fault.spec, outcome.route, now_s)
        self.store.count_failure(outcome, fault, severity.name)
        failure = self.book.failed(outcome, fault, severity, now_s)
        if self._logs_all:
            self.lines.put(failure)
        if outcome.trace.sampled and self.tracer is not None:
            self.tracer.record(failure)
        if outcome.attempts:
            self._suspect(outcome)

    def count_alike(self, outcome: Outcome, count: int) -> None:
        """Count refusals that were like one that is recorded, and nothing more."""
        if outcome.fault is not None:
            severity, now_s = outcome.fault.spec.severity, self._clock.now_s()
            self.store.count_failure(outcome, outcome.fault, severity.name, count)
            self.book.alike(outcome, outcome.fault, severity, now_s, count=count)

    def _suspect(self, outcome: Outcome) -> None:
        """Tell of an upstream that has fallen silent."""
        state = self._context.routes.get(outcome.route)
        timeout_s = None if state is None else state.route.timeouts.request_s
        detail = self.silence.look(
            outcome.upstream, outcome.attempts, timeout_s or _UNLIMITED_S
        )
        if detail is not None:
            self.fault(
                FaultCode.LOCK_SUSPECT.spec,
                detail,
                route=outcome.route,
                upstream=outcome.upstream,
            )

    def _on_kept(self, failure: Failure) -> None:
        """Tell of a failure that is kept, unless that is done already."""
        if self._is_logging and not self._logs_all:
            self.lines.put(failure)
        if self.tracer is not None and not failure.outcome.trace.sampled:
            self.tracer.record(failure)

    def _on_recovered(self, group: Group) -> None:
        """Tell that a route has got over failures; what is of no route has none."""
        key, recovery_s = group.key, group.recovery_s
        if key.route and recovery_s is not None:
            self.store.count_recovery(key.code, recovery_s)
            told = f"{key.code} is over, {recovery_s:.3g} s after it began"
            self.event("recovery", key.route, told, upstream=key.upstream)

    def _look(self) -> None:
        """Tell what runs short."""
        now_s = self._clock.now_s()
        self._timer = self._clock.call_at(now_s + _LOOK_S, self._look)
        usage = self.meter.read()
        self._context.look()
        self.book.look(now_s)
        self._tell_left_out()
        self._look_at_traffic(now_s)
        for spec, upstream, detail in self._pressure.look(self.runtime, usage):
            self.fault(spec, detail, upstream=upstream)
        self.is_memory_short = self._pressure.is_high("memory")
        self.admission.observe_memory(usage.memory_ratio)
        self.admission.observe_descriptors(usage.descriptor_ratio)

    def _look_at_traffic(self, now_s: float) -> None:
        found = self.traffic.look(now_s, self._clock.wall_ns())
        if found is not None and self.book.hub.wants_traffic:
            tick = Tick(self.traffic, found, self._context.routes, now_s)
            self.book.hub.publish_traffic(tick)

    def _tell_left_out(self) -> None:
        """Say in a line how many failures of the last second have none."""
        count = self.book.sample.left_out - self._left_out
        self._left_out += count
        if count and self._is_logging and not self._logs_all:
            self.lines.put(LeftOut(self._clock.wall_ns(), count))

    def _on_beat(self, now_s: float, lag_s: float) -> None:
        self.admission.observe_lag(now_s, lag_s, self._context.in_flight)

    def _tell_lag(self) -> None:
        """Tell that there is too much to do to be in time, once."""
        if self.admission.is_late:
            detail = (
                f"the event loop, or connections to be accepted, have been over "
                f"{milliseconds(self.snapshot.overload.lag_s):g} ms late for "
                f"{self.snapshot.overload.lag_for_s:g} s, with "
                f"{self._context.in_flight} requests in flight: some are refused "
                f"from now on"
            )
            self.fault(FaultCode.OVERLOAD.spec, detail)

    def _on_stall(self, lag_s: float, stack: tuple[str, ...]) -> None:
        detail = f"the event loop stood still for {lag_s * 1000:.0f} ms"
        if (throttled_s := self.meter.throttled_since_s()) > 0:
            cores = self.meter.usage.cpus or 0.0
            detail += (
                f"; in the last second the CPU limit of {cores:g} cores was used up "
                f"for {throttled_s * 1000:.0f} ms, whatever the stack says"
            )
        self.fault(FaultCode.LOCK_STALL.spec, detail, stack=list(stack))
