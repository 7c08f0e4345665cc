"""The check of the application, as it runs: asks, decides, tells, helps.

    probe --Answer--> HealthTracker --changed--> readiness, 316-LOCAL-UNHEALTHY
                                    --silent---> 316-LOCK-SUSPECT
                                    --failed---> the recovery hook, if it may run

A drain ends it: who is leaving restarts nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from sidecar.faults.catalogue import FaultCode
from sidecar.policy.health import Answer, HealthState, HealthTracker, Sign
from sidecar.policy.hook_limit import HookLimit
from sidecar.readiness import NotReady
from sidecar.record.application import Checked, HookRun
from sidecar.settings.application import CommandCheck

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from random import Random

    from sidecar.health.commands import Commands
    from sidecar.health.memory import ApplicationMemory
    from sidecar.health.probes import Probe
    from sidecar.readiness import Readiness
    from sidecar.record.recorder import Recorder
    from sidecar.runtime import Runtime
    from sidecar.settings.application import ApplicationCheck, Recovery
    from sidecar.settings.snapshot import Snapshot

_log = logging.getLogger(__name__)

_SOON_S: Final = 1.0  # Between checks while the application starts.
_KIND: Final = "application"  # Of events.
_DUMP: Final = (
    "probably a deadlock or a used-up worker pool: take a stack dump of it"
    " (py-spy dump, jstack, kill -QUIT)"
)


class ApplicationMonitor:
    """Checks the application, as the configuration in force says.

    Args:
        runtime: Refuses requests while the application is unhealthy.
        recorder: Who is told.
        readiness: Likewise.
        rng: Source of the jitter.
    """

    def __init__(
        self, runtime: Runtime, recorder: Recorder, readiness: Readiness, rng: Random
    ) -> None:
        self._runtime = runtime
        self._recorder = recorder
        self._record = recorder.application
        self._readiness = readiness
        self._clock = runtime.clock
        self._rng = rng
        self._check: ApplicationCheck | None = None
        self._upstreams: tuple[str, ...] = ()  # That lead to the application.
        self._upstream = ""  # The one of them that is asked: records name it.
        self._hook_limit = HookLimit()
        self._told_refusal = ""
        self._is_silence_told = False
        self._is_unasked_told = False
        self._has_begun = False
        self._checking: asyncio.Task[None] | None = None
        self._helping: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, snapshot: Snapshot) -> None:
        """Check as this configuration says; what is the same goes on."""
        self._upstreams = _local_upstreams(snapshot)
        self._upstream = _asked_upstream(snapshot, self._upstreams)
        is_first, self._has_begun = not self._has_begun, True
        check = snapshot.application
        if check == self._check:
            return
        self._check = check
        if self._checking is not None:
            self._checking.cancel()
            self._checking = None
        if check is None:
            self._record.begin("", None, 0.0)
            self._let_pass()
            return
        tracker = self._new_tracker(check, is_first=is_first)
        self._record.begin(str(check.probe), tracker, check.liveness_after_s)
        if tracker.state is HealthState.UNKNOWN:
            self._hold(f"the application has not passed its check yet: {check.probe}")
        elif tracker.state is HealthState.UNHEALTHY:
            self._refuse(check, self._readiness.reason_of(NotReady.UNHEALTHY))
        self._checking = self._keep(self._run(check, tracker))

    def stop(self) -> None:
        """Check and help no more; how it is found stays, but wants no restart."""
        self._record.is_over = True
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Stop, and wait until nothing is left of it."""
        self.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _new_tracker(self, check: ApplicationCheck, *, is_first: bool) -> HealthTracker:
        """Return how it stands: a reload alone takes no pod out of service."""
        known = self._record.tracker
        state = HealthState.UNKNOWN if is_first else HealthState.HEALTHY
        if known is not None:
            state = known.state
        return HealthTracker(check.limits, self._clock.now_s(), state)

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the check of the application has ended", exc_info=error)

    async def _run(self, check: ApplicationCheck, tracker: HealthTracker) -> None:
        from sidecar.health.commands import Commands  # noqa: PLC0415 - if it is on
        from sidecar.health.memory import ApplicationMemory  # noqa: PLC0415 - likewise
        from sidecar.health.probes import probe_of  # noqa: PLC0415 - likewise

        commands = Commands()
        probe = probe_of(check.probe, commands)
        has_limit = check.memory_max_bytes or check.memory_max_ratio
        memory = ApplicationMemory(check.ports) if has_limit else None
        try:
            while True:
                start_s = self._clock.now_s()
                answer = await self._ask(check, probe, memory)
                now_s = self._clock.now_s()
                self._take(check, tracker, answer, now_s - start_s)
                is_asked = answer.sign is not Sign.UNASKED
                is_unhealthy = tracker.state is HealthState.UNHEALTHY
                if is_asked and is_unhealthy and tracker.failures:
                    self._help(check, tracker, answer.words, commands)
                pause_s = self._pause_s(check, tracker, now_s) - (now_s - start_s)
                await asyncio.sleep(max(0.0, pause_s))
        finally:
            await probe.close()

    def _pause_s(
        self, check: ApplicationCheck, tracker: HealthTracker, now_s: float
    ) -> float:
        interval_s = check.interval_s
        if tracker.is_starting(now_s):
            interval_s = min(interval_s, _SOON_S)
        return interval_s * (1 + self._rng.uniform(-1, 1) * check.jitter_ratio)

    async def _ask(
        self, check: ApplicationCheck, probe: Probe, memory: ApplicationMemory | None
    ) -> Answer:
        """Ask; an answer that is late, or costs too much memory, is a failure."""
        start_s = self._clock.now_s()
        answer = await probe.ask(check.timeout_s)
        took_s, limit_s = self._clock.now_s() - start_s, check.response_time_s
        if answer.sign is not Sign.PASSED:
            return answer
        if limit_s is not None and took_s > limit_s:
            reason = (
                f"{answer.reason} after {took_s:.3f} s, over response_time"
                f" ({limit_s:g} s)"
            )
            return Answer(Sign.FAILED, reason)
        excess = await self._weigh(check, memory) if memory is not None else None
        return answer if excess is None else Answer(Sign.FAILED, excess)

    async def _weigh(
        self, check: ApplicationCheck, memory: ApplicationMemory
    ) -> str | None:
        """Return why its memory is too much, if it is, and can be seen."""
        used_bytes = await asyncio.to_thread(memory.used_bytes)
        most_bytes = check.memory_max_bytes
        if used_bytes is not None and check.memory_max_ratio is not None:
            limit_bytes = await asyncio.to_thread(memory.limit_bytes)
            if limit_bytes is not None:
                most_bytes = int(limit_bytes * check.memory_max_ratio)
        self._record.memory_bytes = used_bytes
        self._tell_unseen(_unseen(used_bytes, most_bytes))
        if used_bytes is None or most_bytes is None or used_bytes <= most_bytes:
            return None
        return f"memory: {used_bytes} bytes resident, over {most_bytes}"

    def _tell_unseen(self, problem: str) -> None:
        """Tell, when it begins, that memory cannot be looked at, and why."""
        if problem and problem != self._record.memory_problem:
            _log.warning("health.application.memory: %s", problem)
        self._record.memory_problem = problem

    def _take(
        self,
        check: ApplicationCheck,
        tracker: HealthTracker,
        answer: Answer,
        took_s: float,
    ) -> None:
        """Take an answer: what follows from it is done here."""
        wall_ns = self._clock.wall_ns()
        self._record.checked(Checked(wall_ns, answer.sign, answer.words, took_s))
        if answer.sign is Sign.UNASKED:
            self._tell_unasked(check, answer)
            return
        self._is_unasked_told = False
        before = tracker.state
        has_changed = tracker.observe(answer.sign, self._clock.now_s())
        failure = f"{check.probe}: {answer.reason}"
        if tracker.state is HealthState.UNKNOWN:
            self._hold(f"the application has not passed its check yet: {failure}")
        elif tracker.state is HealthState.UNHEALTHY and tracker.failures:
            times = f"{tracker.failures} time{'s' if tracker.failures > 1 else ''}"
            detail = f"the application fails its check: {failure}, {times}"
            self._hold(detail)
            if has_changed:
                self._refuse(check, detail)  # What clients are told stays the same.
                told = f"{detail}: {answer.said}" if answer.said else detail
                self._tell_change(before, tracker.state, told)
        elif has_changed:
            self._let_pass()
            self._tell_change(before, tracker.state, "the application passes its check")
        self._heed_silence(check, tracker, answer)

    def _tell_unasked(self, check: ApplicationCheck, answer: Answer) -> None:
        """Tell, when it begins, that the application cannot be asked."""
        if not self._is_unasked_told:
            self._is_unasked_told = True
            _log.warning("%s: not asked: %s", check.probe, answer.reason)

    def _heed_silence(
        self, check: ApplicationCheck, tracker: HealthTracker, answer: Answer
    ) -> None:
        """Suspect a lock when connections are taken, and nothing ever comes back.

        What answers requests meanwhile has a check that hangs, and no lock.
        """
        if answer.sign is not Sign.SILENT:
            self._is_silence_told = False
            self._recorder.silence.check_answered(self._upstreams)
            return
        is_news = self._recorder.silence.check_waited(
            self._upstreams, self._clock.now_s(), check.limits.unhealthy_after
        )
        if is_news and tracker.is_silent and not self._is_silence_told:
            self._is_silence_told = True
            detail = (
                f"{check.probe}: {tracker.silences} times in a row the application took"
                f" the connection and answered nothing within {check.timeout_s:g} s:"
                f" {_DUMP}"
            )
            spec = FaultCode.LOCK_SUSPECT.spec
            self._recorder.fault(spec, detail, upstream=self._upstream)

    def _hold(self, detail: str) -> None:
        self._readiness.hold(NotReady.UNHEALTHY, detail)

    def _refuse(self, check: ApplicationCheck, detail: str) -> None:
        self._runtime.unhealthy = detail if check.is_refusing else ""

    def _let_pass(self) -> None:
        self._told_refusal = ""  # The next time is to be told anew.
        self._readiness.release(NotReady.UNHEALTHY)
        self._runtime.unhealthy = ""

    def _tell_change(
        self, before: HealthState, after: HealthState, detail: str
    ) -> None:
        upstream = self._upstream
        if after is HealthState.UNHEALTHY:
            spec = FaultCode.LOCAL_UNHEALTHY.spec
            self._recorder.fault(spec, detail, upstream=upstream)
        moved = {"from": before.value, "to": after.value}
        subject = self._record.subject
        self._recorder.event(_KIND, subject, detail, upstream=upstream, **moved)
        level = logging.WARNING if after is HealthState.UNHEALTHY else logging.INFO
        _log.log(level, "%s", detail)

    def _help(
        self,
        check: ApplicationCheck,
        tracker: HealthTracker,
        reason: str,
        commands: Commands,
    ) -> None:
        """Run the recovery hook, if it is time to, and it may."""
        recovery = check.recovery
        if recovery is None or self._helping is not None:
            return
        now_s = self._clock.now_s()
        refusal = self._hook_limit.refusal(
            recovery.limits, tracker.unhealthy_checks, now_s
        )
        if refusal is None:
            self._told_refusal = ""
            self._hook_limit.ran(now_s)
            self._helping = self._keep(self._run_hook(recovery, reason, commands))
        elif refusal and refusal != self._told_refusal:
            self._told_refusal = refusal
            self._tell_hook(recovery, "skipped", refusal)

    async def _run_hook(
        self, recovery: Recovery, reason: str, commands: Commands
    ) -> None:
        from sidecar.health.hooks import run_hook  # noqa: PLC0415 - seldom

        try:
            _log.warning("recovery hook: %s begins", recovery.act)
            helped = await run_hook(recovery, reason, commands)
            result = "succeeded" if helped.is_good else "failed"
            self._tell_hook(recovery, result, helped.detail)
        finally:
            self._helping = None

    def _tell_hook(self, recovery: Recovery, result: str, detail: str) -> None:
        self._record.helped(HookRun(self._clock.wall_ns(), result, detail))
        text = f"recovery hook {result}: {detail}"
        self._recorder.event(_KIND, str(recovery.act), text)
        level = logging.INFO if result == "succeeded" else logging.WARNING
        _log.log(level, "%s: %s", recovery.act, text)


def _unseen(used_bytes: int | None, most_bytes: int | None) -> str:
    """Return why it cannot be told whether memory is too much; empty: it can."""
    if used_bytes is None:
        return (
            "no process of the application is seen: a pod needs"
            " shareProcessNamespace: true"
        )
    if most_bytes is None:
        return "the memory limit of the application is not seen: give a size"
    return ""


def _local_upstreams(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the upstreams of inbound routes that are the application."""
    names = dict.fromkeys(
        route.upstream for route in snapshot.routes if route.listener == "inbound"
    )
    return tuple(name for name in names if snapshot.upstreams[name].is_local)


def _asked_upstream(snapshot: Snapshot, names: tuple[str, ...]) -> str:
    """Return which of these upstreams the check asks; empty: nobody can tell."""
    check = snapshot.application
    if check is not None and not isinstance(check.probe, CommandCheck):
        address = check.probe.address
        for name in names:
            if address in snapshot.upstreams[name].endpoints:
                return name
    return names[0] if len(names) == 1 else ""
