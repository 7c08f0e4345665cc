"""A connection for an attempt, where the pool has no idle one: open it, or wait.

    pool full  -->  wait in line  -->  told  -->  take again
    room       -->  open: name, TCP, TLS   (upstream.connector, with its limits)

Whatever ends it, what was granted is given back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Phase
from sidecar.standing import sound
from sidecar.upstream.pool import Connect

if TYPE_CHECKING:
    from sidecar.attempt import Try
    from sidecar.clock import Clock
    from sidecar.rendezvous import Rendezvous
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import Endpoint

_RETRY_AFTER_S: Final = 1.0


class Checkout:
    """The way of one attempt to a connection; a `Waiter` of the pool."""

    __slots__ = ("_attempt", "_clock", "_endpoint", "_is_told", "_meeting", "_opened")

    def __init__(self, attempt: Try, clock: Clock, meeting: Rendezvous) -> None:
        assert attempt.endpoint is not None  # noqa: S101 - for the type checker
        self._attempt = attempt
        self._endpoint: Endpoint = attempt.endpoint
        self._clock = clock
        self._meeting = meeting
        self._is_told = False
        self._opened: UpstreamConnection | Exception | None = None

    async def finish(self, granted: Connect | None, max_idle_s: float) -> None:
        """Give the attempt a connection, given what the pool granted at first.

        Raises:
            ProxyFault: There is none to be had, or an interruption.
        """
        pool = self._attempt.route.upstream.pool
        connection: UpstreamConnection | Connect | None = granted
        is_first = False
        while connection is None:
            await self._queue(is_first=is_first)
            is_first = True  # It had its turn: nobody may come before it.
            now_s = self._clock.now_s()
            connection = pool.take(self._endpoint, now_s, max_idle_s, is_in_turn=True)
        if isinstance(connection, Connect):
            await self._open()
        else:
            self._attempt.connection = connection
            self._attempt.is_reused = True

    async def _queue(self, *, is_first: bool) -> None:
        pool = self._attempt.route.upstream.pool
        self._is_told = False
        if not pool.enqueue(self, is_first=is_first):
            msg = f"{pool.open_connections} connections, {pool.pending} wait for one"
            raise ProxyFault(
                FaultCode.POOL_EXHAUSTED,
                msg,
                phase=Phase.QUEUE,
                retry_after_s=_RETRY_AFTER_S,
            )
        try:
            while not self._is_told:
                await self._meeting
            self._turn_to_who_is_left()
        except BaseException:
            pool.leave(self)
            raise

    def _turn_to_who_is_left(self) -> None:
        """Go to another endpoint if this one was removed while we waited.

        Raises:
            ProxyFault: There is none.
        """
        if not self._endpoint.is_removed:
            return
        upstream = self._attempt.route.upstream
        if not upstream.pool.endpoints:
            raise upstream.no_endpoint()
        attempt = self._attempt
        if attempt.is_probe:  # Of the one that is gone: it asked nothing.
            attempt.is_probe = False
            self._endpoint.health.lease_until_s = 0.0
        endpoints = sound(upstream, self._clock.now_s())
        self._endpoint = endpoints[upstream.balancer.pick(len(endpoints))]
        attempt.endpoint = self._endpoint
        is_one_of_several = upstream.outlier is not None and len(endpoints) > 1
        attempt.health = self._endpoint.health if is_one_of_several else None

    async def _open(self) -> None:
        attempt = self._attempt
        attempt.phase = Phase.CONNECT
        upstream = attempt.route.upstream
        start_s = self._clock.now_s()
        opening = upstream.connector.open(
            self._endpoint, attempt.route.route.timeouts, self._on_opened
        )
        try:
            while self._opened is None:
                await self._meeting
        except BaseException:
            opening.cancel()
            upstream.pool.give_up(self._endpoint)
            raise
        if isinstance(self._opened, Exception):
            upstream.pool.give_up(self._endpoint)
            raise self._opened
        self._opened.opened_s = self._clock.now_s()
        upstream.connect_times.add(self._opened.opened_s - start_s)
        attempt.connection = self._opened

    def _on_opened(self, result: UpstreamConnection | Exception) -> None:
        self._opened = result
        self._meeting.deliver()

    def on_room(self) -> None:
        """Go on, but in a turn of its own: who gave room is not done yet."""
        self._clock.call_at(self._clock.now_s(), self._on_turn)

    def _on_turn(self) -> None:
        self._is_told = True
        self._meeting.deliver()
