"""The composition root: builds everything from a snapshot, starts it, ends it.

The end (SIGTERM), in the order of a pod's:

    ready answers 503     the endpoint is taken out everywhere; still accepting
    after `drain.lead`    listeners close, idle connections close, each response
                          says `Connection: close`
    in-flight 0, or out of grace: what is left is cut; logs and spans flushed

A second signal skips the waiting.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from typing import TYPE_CHECKING

from sidecar.accept.listener import Acceptor, ListenError
from sidecar.clock import Clock, LoopClock
from sidecar.record.recorder import Recorder
from sidecar.record.tracing import Tracer
from sidecar.runtime import Runtime

if TYPE_CHECKING:
    from typing import TextIO

    from sidecar.admin.servers import Servers
    from sidecar.settings.load import Loaded

__all__ = ["App", "ListenError"]

_log = logging.getLogger(__name__)

_SWEEP_S = 1.0
_LAG_S = 0.1
_FLUSH_S = 3.0  # Of the grace: to write what is left.


class App:
    """One sidecar."""

    def __init__(
        self,
        loaded: Loaded,
        clock: Clock | None = None,
        stream: TextIO | None = None,
    ) -> None:
        self.snapshot = loaded.snapshot
        self.settings = loaded.settings
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.clock: Clock = clock or LoopClock(loop)
        rng = random.Random()  # noqa: S311 - jitter and ids, not secrets
        self.recorder = Recorder(self.snapshot, self.clock, stream)
        if self.snapshot.tracing.enabled:
            self.recorder.tracer = Tracer(self.snapshot)
        self.runtime = Runtime(self.snapshot, self.clock, rng, self.recorder)
        self.acceptors = [
            Acceptor(listener.name, self.runtime)
            for listener in self.snapshot.listeners
        ]
        self.addresses: dict[str, tuple[str, int]] = {}
        self.servers: Servers | None = None
        self.not_ready_reason = "starting"
        self._signals = asyncio.Queue[None]()
        self._timers: set[asyncio.TimerHandle] = set()
        self._is_closed = False

    async def start(self) -> None:
        """Bind every address.

        Raises:
            ListenError: One is taken, or not ours. Nothing is left behind.
        """
        from sidecar.admin.servers import Servers  # noqa: PLC0415 - aiohttp is heavy

        self.servers = Servers(self)
        try:
            for acceptor, listener in zip(
                self.acceptors, self.snapshot.listeners, strict=True
            ):
                bound = await acceptor.listen(listener.host, listener.port)
                self.addresses[listener.name] = bound
            await self.servers.start()
        except ListenError:
            await self.close()
            raise
        self.addresses["health"] = self.servers.health_address
        self.addresses["admin"] = self.servers.admin_address
        self.not_ready_reason = ""
        self._sweep()
        self._measure_lag(self.clock.now_s())

    async def run(self) -> None:
        """Serve until a signal, drain, and end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.ask_to_end)
        await self._signals.get()
        _log.info("draining; a second signal ends at once")
        drain = self._loop.create_task(self._drain())
        hurry = self._loop.create_task(self._signals.get())
        await asyncio.wait((drain, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (drain, hurry):
            task.cancel()
        await asyncio.gather(drain, hurry, return_exceptions=True)
        await self.close()

    def ask_to_end(self) -> None:
        """Begin to drain; asked again, end at once."""
        self._signals.put_nowait(None)

    async def close(self) -> None:
        """End now."""
        if self._is_closed:
            return
        self._is_closed = True
        self.not_ready_reason = "ended"
        for timer in self._timers:
            timer.cancel()
        for acceptor in self.acceptors:
            await acceptor.close()
        await asyncio.sleep(0)  # Let the connections hear of it.
        self.runtime.close()
        if self.servers is not None:
            await self.servers.close()
        await self._loop.run_in_executor(None, self.recorder.close, _FLUSH_S)

    async def _drain(self) -> None:
        """Let the others notice, then finish what is under way."""
        began_s = self.clock.now_s()
        self.not_ready_reason = "draining"
        await asyncio.sleep(self.snapshot.drain_lead_s)
        self.runtime.is_draining = True
        inbound = [a for a in self.acceptors if a.name == "inbound"]
        outbound = [a for a in self.acceptors if a.name == "outbound"]
        for acceptor in inbound:
            acceptor.drain()
        left_s = self.snapshot.drain_grace_s - _FLUSH_S
        while any(acceptor.connections for acceptor in inbound):
            if self.clock.now_s() - began_s > left_s:
                _log.warning("out of grace: cutting what is still under way")
                break
            await asyncio.sleep(0.05)
        for acceptor in outbound:  # The application may need it to the end.
            acceptor.drain()

    def _sweep(self) -> None:
        self.runtime.sweep()
        self._later(_SWEEP_S, self._sweep)

    def _measure_lag(self, due_s: float) -> None:
        now_s = self.clock.now_s()
        self.recorder.loop_lag_s = max(0.0, now_s - due_s)
        self._later(_LAG_S, self._measure_lag, now_s + _LAG_S)

    def _later(self, delay_s: float, callback: object, *arguments: object) -> None:
        def call() -> None:
            self._timers.discard(timer)
            callback(*arguments)  # type: ignore[operator]  # One of two methods.

        timer = self._loop.call_later(delay_s, call)
        self._timers.add(timer)
