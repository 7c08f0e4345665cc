"""The composition root: builds everything from a snapshot, starts it, ends it.

SIGHUP, the admin API, or another content of the file reloads (`reloading.py`).

At the first signal (SIGTERM, SIGINT) readiness answers 503 at once and the traffic
drains (`drain.py`); a second signal skips the waiting. Then what is left is cut,
logs and spans are flushed, and the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

from sidecar import capacity
from sidecar.accept.listener import Acceptor, ListenError
from sidecar.alerting.center import AlertCenter
from sidecar.application import processes, until_gone, watch_port
from sidecar.cgroup import Cgroup
from sidecar.clock import Clock, LoopClock, Timer
from sidecar.discovery.watching import Discoveries
from sidecar.drain import Drain
from sidecar.health.monitor import ApplicationMonitor
from sidecar.readiness import NotReady, Readiness
from sidecar.record.feed.fault_schema import StoreError
from sidecar.record.feed.fault_store import FaultStore, StoreLimits
from sidecar.record.otlp import environment
from sidecar.record.otlp.log_export import LogShipper
from sidecar.record.otlp.tracing import Tracer
from sidecar.record.recorder import Recorder
from sidecar.reloading import Reloader
from sidecar.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import TextIO

    from sidecar.admin.servers import Servers
    from sidecar.settings.load import Loaded
    from sidecar.settings.snapshot import Snapshot
    from sidecar.settings.source import Identity

__all__ = ["App", "ListenError"]

_log = logging.getLogger(__name__)

_SWEEP_S = 1.0
_FLUSH_S = 2.0  # To write what is left: within `drain.END_S`.
_HURRY_S = 0.2
_TURNS = 20  # Of the loop: a request that is cut hears of it, wakes, and records.


class App:
    """One sidecar."""

    def __init__(
        self,
        loaded: Loaded,
        clock: Clock | None = None,
        stream: TextIO | None = None,
        config: str | None = None,
        seen: Identity | None = None,
    ) -> None:
        self.snapshot = _adapted(loaded)
        self.settings = loaded.settings
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.clock: Clock = clock or LoopClock(loop)
        rng = random.Random()  # noqa: S311 - jitter and ids, not secrets
        self.recorder = Recorder(self.snapshot, self.clock, stream)
        if self.snapshot.tracing.enabled:
            self.recorder.tracer = Tracer(self.snapshot)
        if self.snapshot.log_export.enabled:
            self.recorder.book.logs = LogShipper(self.snapshot)
        self._open_fault_store()
        self.alerts = AlertCenter(self.snapshot, self.clock, self.recorder)
        self.runtime = Runtime(self.snapshot, self.clock, rng, self.recorder)
        self.recorder.watch(self.runtime)
        self._discoveries = Discoveries(self.runtime, self.clock, rng)
        self.readiness = Readiness()
        self.readiness.hold(NotReady.STARTING, "starting")
        self._monitor = ApplicationMonitor(
            self.runtime, self.recorder, self.readiness, rng
        )
        self.acceptors = [
            Acceptor(listener.name, self.runtime)
            for listener in self.snapshot.listeners
        ]
        self.reloader = Reloader(
            config,
            self.runtime,
            self.recorder,
            _adapted,
            self._on_reload,
            seen=seen,
            prepare=self._discoveries.prepare,
            follow=self._discoveries.follow,
        )
        self.addresses: dict[str, tuple[str, int]] = {}
        self.servers: Servers | None = None
        self.has_started = False
        self._is_asked_to_end = False
        self.end_cause = ""  # Why it ends, once it does.
        self._signals = asyncio.Queue[str]()
        self._sweeper: Timer | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._is_closed = False

    async def start(self) -> None:
        """Bind every address; find the endpoints in between, or give up soon.

        Raises:
            ListenError: One is taken, or not ours. Nothing is left behind.
        """
        from sidecar.admin.servers import Servers  # noqa: PLC0415 - aiohttp is heavy

        self.servers = Servers(self)
        if self.recorder.book.logs is not None:
            self.recorder.book.logs.listen(self._loop.call_soon_threadsafe)
        try:
            await self.servers.start()  # First: probes are answered meanwhile.
            await self._discoveries.prepare(self.snapshot)
            for acceptor, listener in zip(
                self.acceptors, self.snapshot.listeners, strict=True
            ):
                bound = await acceptor.listen(listener.host, listener.port)
                self.addresses[listener.name] = bound
        except ListenError:
            await self.close()
            raise
        self.addresses["health"] = self.servers.health_address
        self.addresses["admin"] = self.servers.admin_address
        self.runtime.own_ports.update(port for _, port in self.addresses.values())
        self.recorder.start()
        self.alerts.start()
        self.recorder.event("start", self.snapshot.service, self.snapshot.source)
        self._sweep()
        self.has_started = True
        if self.snapshot.awaits_application:
            self._on_application("the application is not known to listen yet")
            self._keep(watch_port(lambda: self.snapshot, self._on_application))
        if self.snapshot.follows_application:
            self._keep(self._end_with_application())
        self._monitor.follow(self.snapshot)
        self.readiness.release(NotReady.STARTING)

    @property
    def not_ready_reason(self) -> str:
        """Why no traffic should come; empty when it should."""
        return self.readiness.reason

    def _open_fault_store(self) -> None:
        """Keep the records of failures on disk, if that is wanted and possible."""
        snapshot, book = self.snapshot, self.recorder.book
        if snapshot.fault_store is None:
            return
        limits = StoreLimits(
            snapshot.fault_store,
            snapshot.fault_store_age_s,
            snapshot.fault_store_max_bytes,
        )
        try:
            book.use_store(FaultStore(limits, self.clock))
        except StoreError as error:
            book.store_problem = str(error)
            _log.error("%s; records of failures are kept in memory alone", error)

    def heed_signals(self) -> None:
        """Take signals from now on; until then the kernel does, or drops them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.ask_to_end, number.name)
        if self.reloader.has_file:  # Else it is a terminal that is gone.
            self._loop.add_signal_handler(signal.SIGHUP, self.ask_to_reload)

    async def start_unless_ended(self) -> bool:
        """Start, unless a signal comes before that is done; tell whether it is.

        Raises:
            ListenError: As `start`.
        """
        starting = self._loop.create_task(self.start())
        signalled = self._loop.create_task(self._signals.get())
        await asyncio.wait((starting, signalled), return_when=asyncio.FIRST_COMPLETED)
        if signalled.done():
            self.end_cause = signalled.result()
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self.close(_HURRY_S)
            return False
        signalled.cancel()
        starting.result()
        return True

    async def run(self, *, is_watching: bool = False) -> None:
        """Serve until a signal, drain, and end.

        Args:
            is_watching: Reload when the file has changed, too.
        """
        self.heed_signals()
        if is_watching:
            self._keep(self.reloader.watch())
        self.end_cause = await self._signals.get()
        _log.info("%s: draining; a second signal ends at once", self.end_cause)
        self.readiness.hold(NotReady.DRAINING, "draining")
        self._monitor.stop()
        self.recorder.event("drain", self.snapshot.service, self.end_cause)
        self.recorder.book.hub.close()  # Who listens would hold the drain up.
        drain = self._loop.create_task(Drain(self.runtime, self.acceptors).run())
        hurry = self._loop.create_task(self._signals.get())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        is_hurried = hurry.done()
        for task in (drain, hurry):
            task.cancel()
        for result in await asyncio.gather(drain, hurry, return_exceptions=True):
            if isinstance(result, Exception):
                _log.error("draining failed", exc_info=result)
        await self.close(_HURRY_S if is_hurried else _FLUSH_S)

    def ask_to_end(self, cause: str) -> None:
        """Begin to drain, because of `cause`; asked again, end at once."""
        self._is_asked_to_end = True
        self._signals.put_nowait(cause)

    def ask_to_drain(self, cause: str) -> None:
        """Begin to drain, unless it was asked for already."""
        if not self._is_asked_to_end:
            self.ask_to_end(cause)

    def ask_to_reload(self) -> None:
        """Read the file again."""
        self._keep(self.reloader.reload("SIGHUP"))

    async def close(self, flush_s: float = _FLUSH_S) -> None:
        """End now; take `flush_s` at most to write logs and spans."""
        if self._is_closed:
            return
        self._is_closed = True
        self.readiness.hold(NotReady.ENDED, "ended")
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.recorder.stop()
        alerts = self._loop.create_task(self.alerts.close(flush_s))  # Beside the rest.
        if self.recorder.book.logs is not None:
            self.recorder.book.logs.listen_no_more()
        await self._end_tasks()
        await self._monitor.close()
        await self._discoveries.close()
        await self._cut()
        self.runtime.close()
        flushed = self._loop.run_in_executor(None, self.recorder.close, flush_s)
        if self.servers is not None:
            await self.servers.close()
        await flushed
        await alerts
        self.runtime.abort()
        await asyncio.sleep(0)  # For the loop to let go of what that was.

    async def _cut(self) -> None:
        """End every connection, and let the requests on them be recorded."""
        for acceptor in self.acceptors:
            acceptor.cut()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if self.runtime.is_idle:
                break
        for acceptor in self.acceptors:
            await acceptor.close()

    def _on_application(self, reason: str) -> None:
        """The application listens, or does not."""
        if not reason:
            self.readiness.release(NotReady.AWAITING)
            _log.info("the application listens")
            return
        self.readiness.hold(NotReady.AWAITING, reason)
        _log.info("not ready: %s", reason)

    async def _end_with_application(self) -> None:
        if not await asyncio.to_thread(processes):
            _log.warning(
                "drain.follow_application: no other process is to be seen: the pod "
                "needs shareProcessNamespace, or the application has not started yet"
            )
        await until_gone()
        self.ask_to_drain("the application is gone")

    def _keep(self, work: Coroutine[None, None, object]) -> None:
        """Let something of our own run beside the traffic."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task beside the traffic failed", exc_info=error)

    async def _end_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_reload(self, loaded: Loaded, snapshot: Snapshot) -> None:
        """Another configuration is in force: tell who keeps something of it."""
        if snapshot.log_level != self.snapshot.log_level:
            logging.getLogger("sidecar").setLevel(snapshot.log_level.upper())
        self.snapshot, self.settings = snapshot, loaded.settings
        self.alerts.use(snapshot)
        for acceptor in self.acceptors:
            acceptor.on_reload()
        if self.has_started and not self.end_cause:
            self._monitor.follow(snapshot)

    def _sweep(self) -> None:
        """Close what has been idle for long; when memory is short, all that is."""
        self.runtime.sweep()
        if self.recorder.is_memory_short:
            self.runtime.close()
        self._sweeper = self.clock.call_at(self.clock.now_s() + _SWEEP_S, self._sweep)


def _adapted(loaded: Loaded) -> Snapshot:
    """Return the configuration as it can be in force here."""
    snapshot = with_environment(loaded, os.environ)
    return capacity.fitted(snapshot, Cgroup().memory_limit_bytes())


def with_environment(loaded: Loaded, environ: Mapping[str, str]) -> Snapshot:
    """Return the configuration, its gaps about OTLP filled by OTEL_* variables."""
    snapshot, written = loaded.snapshot, loaded.settings.telemetry
    given = written.tracing.model_fields_set
    tracing = environment.from_environment(snapshot.tracing, given, environ)
    given = written.logs.model_fields_set
    logs = environment.logs_from_environment(snapshot.log_export, given, environ)
    return replace(snapshot, tracing=tracing, log_export=logs)
