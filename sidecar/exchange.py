"""One request's journey, top to bottom.

    match      which route: all that follows is its
    admit      deadline, caps: refuse before anything is touched
    try        breaker, endpoint, connection, send, wait for a head
    try again  only if proven unprocessed, or listed and idempotent, and if
               time, body and budget allow; else tell why not
    respond    what the last attempt brought, or the fault by its code
    record     one Outcome, whatever happened

One coroutine tells it; callbacks (client, upstream, alarm) move the bytes and
wake it, so a response that streams for hours costs no wake-ups.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sidecar import (
    admission,
    forwarding,
    leaving,
    max_forwards,
    retrying,
    standing,
    telling,
    tunnelling,
)
from sidecar.accept.request_body import RequestBody
from sidecar.answering import answer, is_answered_here, tags_of
from sidecar.attempt import Try
from sidecar.checkout import Checkout
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import (
    BUSINESS_ERROR,
    classify_unexpected,
    processed_by,
)
from sidecar.model import (
    NO_BODY,
    Attempt,
    Fault,
    Limit,
    Phase,
    Processed,
)
from sidecar.policy.retry import IDEMPOTENT, Retry, StopReason
from sidecar.settings.snapshot import FieldEdits
from sidecar.upstream.pool import Connect
from sidecar.wire import trace_context
from sidecar.wire.fields import named_by_connection, response_section

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.model import Fields, RequestHead, ResponseHead
    from sidecar.route.table import Found
    from sidecar.runtime import RouteState, Runtime, UpstreamState
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import Endpoint

_log = logging.getLogger(__name__)

_SWITCHING: Final = 101
_FIRST_FAILURE: Final = 400  # Below it there is nothing to decide.
_TOLD_CHARS: Final = 100  # Of a path, in what is kept of a failure.
_CLIENT_GONE: Final = 499
_NO_EDITS: Final = FieldEdits()
_ANY_AGE_S: Final = float("inf")
_STOPPERS: Final = {  # What keeps a try from being made, if tries before did that.
    FaultCode.CIRCUIT_OPEN: StopReason.CIRCUIT_OPEN,
    FaultCode.UPSTREAM_UNHEALTHY: StopReason.NO_ENDPOINT,
}


class Exchange:
    """One request and its response. `run` it once."""

    __slots__ = (
        "_answered",
        "_body_fault",
        "_is_rested",
        "_last_fault",
        "_needs_fresh",
        "attempts",
        "body",
        "client",
        "common",
        "fault",
        "found",
        "has_slot",
        "head",
        "is_budget_taken",
        "is_uploading",
        "limits",
        "meeting",
        "request_id",
        "retry_skipped",
        "route",
        "runtime",
        "start_s",
        "start_wall_ns",
        "status",
        "trace",
        "tunnel",
        "under_way",
        "writer",
    )

    def __init__(
        self, runtime: Runtime, client: ClientConnection, head: RequestHead
    ) -> None:
        self.runtime = runtime
        self.client = client
        self.head = head
        self.writer = client.writer
        self.limits = client.limits
        self.body = (
            None
            if head.body_bytes == NO_BODY
            else RequestBody(
                head.body_bytes,
                client,
                named_by_connection(head.named.get(b"connection")),
            )
        )
        self.attempts: tuple[Attempt, ...] = ()
        self.is_budget_taken = False
        self.meeting = client.meeting
        self.start_s = runtime.clock.now_s()
        self.start_wall_ns = runtime.clock.wall_ns()
        self.trace = trace_context.begin(head.named, runtime.rng, runtime.sample_ratio)
        self.request_id = forwarding.request_id(head, self.trace, runtime.rng)
        self.route: RouteState | None = None
        self.found: Found | None = None
        self.common = b""  # Of the heads of all attempts.
        self.under_way: Try | None = None
        self._answered: Try | None = None  # The last attempt that brought an answer.
        self._last_fault: ProxyFault | None = None
        self._body_fault: ProxyFault | None = None  # The rest of it means nothing.
        self._needs_fresh = False
        self.tunnel: UpstreamConnection | None = None
        self.status = 0
        self.fault: Fault | None = None
        self.retry_skipped = ""
        self.has_slot = False
        self._is_rested = True
        self.is_uploading = False  # It has a place for a body that is still to come.
        self.limits.begin()
        self.writer.begin(head.minor, keep_alive=head.keep_alive)

    @property
    def is_last(self) -> bool:
        """Tell whether the client asked to close after this response."""
        return not self.head.keep_alive

    @property
    def is_gathering(self) -> bool:
        """Tell whether more of the body is awaited before anything is done."""
        return not self.has_slot and bool(self.common)

    @property
    def is_tunnel(self) -> bool:
        """Tell whether the connection has become a byte tunnel."""
        return self.tunnel is not None

    # The story.

    async def run(self) -> bool:
        """Answer the request; return whether another may follow."""
        try:
            await self._travel()
        except ProxyFault as fault:
            answer(self, fault)
        except Exception as error:  # noqa: BLE001 - the one net: a bug is an answer
            _log.exception("exchange failed")
            answer(self, classify_unexpected(error))
        finally:
            leaving.leave(self)
        return self.writer.keep_alive

    async def _travel(self) -> None:
        route = admission.match(self)
        if self.head.method in max_forwards.METHODS and is_answered_here(self):
            return
        admission.admit(self, route)
        if not self.has_slot:
            await admission.gather(self, route.upstream)
        while True:
            attempt = self._new_try(route)
            fault: ProxyFault | None = None
            try:
                await self._make(attempt)
            except ProxyFault as error:
                fault = error
                attempt.fault = attempt.fault or error
            if fault is None and self._is_final(attempt):
                await self._respond(attempt, [])
                return
            decision = retrying.ask(self, attempt, fault)
            if not isinstance(decision, Retry):
                await self._give_up(attempt, fault, decision)
                return
            await self._go_again(attempt, fault, decision)

    def _new_try(self, route: RouteState) -> Try:
        n = len(self.attempts) + 1
        start_s = self.start_s if n == 1 else self.runtime.clock.now_s()
        attempt = self.under_way = Try(n, route, self, self.meeting, self.body, start_s)
        return attempt

    def _begin(self, attempt: Try) -> Connect | None:
        """Ask whether it may be made, and for a connection; see `Pool.take`."""
        if self.client.is_gone:
            raise self._client_left()
        if self._body_fault is not None:
            raise self._body_fault
        body, upstream, now_s = self.body, attempt.route.upstream, attempt.start_s
        attempt.admit(self.head.method)
        is_body_to_come = body is not None and not body.is_complete
        self.limits.on_attempt(now_s, is_body_to_come=is_body_to_come)
        if not upstream.pool.endpoints:  # They were there when it was admitted.
            raise upstream.no_endpoint()
        endpoint = attempt.endpoint = self._pick(attempt, upstream)
        granted = upstream.pool.take(endpoint, now_s, self._max_idle_s(attempt))
        if granted is None or isinstance(granted, Connect):
            return granted
        attempt.connection = granted
        attempt.is_reused = True
        return None

    async def _make(self, attempt: Try) -> None:
        """Make one attempt, up to the head of its response."""
        granted = self._begin(attempt)
        if attempt.connection is None:
            way = Checkout(attempt, self.runtime.clock, self.meeting)
            await way.finish(granted, self._max_idle_s(attempt))
        raw = forwarding.head_of_attempt(
            self.common,
            self.request_id,
            self.trace,
            attempt.n,
            self.limits.left_s,
            is_grpc_timed=b"grpc-timeout" in self.head.named,
        )
        attempt.send(self.head.method, raw)
        while attempt.head is None:
            await self.meeting
        if attempt.status == _SWITCHING:
            forwarding.check_switch(self.head, attempt.head, self.body)

    def _pick(self, attempt: Try, upstream: UpstreamState) -> Endpoint:
        """Choose an endpoint, one that was not tried if there is such."""
        endpoints = upstream.pool.endpoints
        if len(endpoints) == 1:
            return endpoints[0]
        outlier = upstream.outlier
        if self.attempts or (outlier is not None and outlier.is_any_out):
            endpoint = standing.pick(self, attempt, upstream)
        else:
            endpoint = endpoints[upstream.balancer.pick(len(endpoints))]
        if outlier is not None:
            attempt.health = endpoint.health
        return endpoint

    def _is_final(self, attempt: Try) -> bool:
        """Tell at once, for nearly all responses, that there is nothing to decide."""
        head = attempt.head
        return (
            head is not None
            and head.status < _FIRST_FAILURE
            and head.status != BUSINESS_ERROR
            and b"x-316-code" not in head.named
        )

    async def _go_again(
        self, attempt: Try, fault: ProxyFault | None, decision: Retry
    ) -> None:
        """End an attempt that is to be made again, and wait as long as was decided."""
        names = attempt.route.route
        reason = str(attempt.status) if fault is None else fault.spec.code
        if attempt.is_ended:
            self._answered = attempt  # Real, if nothing better comes.
        self._last_fault = fault
        self._needs_fresh = decision.needs_fresh_connection
        leaving.end_try(self, attempt)
        self.runtime.recorder.retried(names.name, names.upstream, reason)
        await self._rest(decision.delay_s)

    async def _give_up(
        self, attempt: Try, fault: ProxyFault | None, reason: StopReason
    ) -> None:
        """Tell the client what all the attempts came to.

        Raises:
            ProxyFault: It is no answer of the application.
        """
        if (
            fault is not None
            and fault.code in _STOPPERS
            and self._last_fault is not None
        ):  # The tries before did it, and their cause is what is to be told.
            fault, reason = self._last_fault, _STOPPERS[fault.code]
        self.retry_skipped = reason.value
        answered = attempt if fault is None else self._answered
        if (
            answered is None
            or self.client.is_gone
            or (fault is not None and retrying.is_outdated(answered, fault))
        ):
            assert fault is not None  # noqa: S101 - for the type checker
            raise telling.of_all_tries(fault, attempt.n, reason.value)
        await self._respond(answered, tags_of(self, answered, attempt.n))

    async def _rest(self, delay_s: float) -> None:
        """Wait before the next attempt; whoever leaves ends the wait."""
        if delay_s <= 0:
            return
        clock = self.runtime.clock
        self._is_rested = False
        timer = clock.call_at(clock.now_s() + delay_s, self._end_rest)
        self.limits.on_wait()
        try:
            while not self._is_rested:
                await self.meeting
        finally:
            timer.cancel()

    def _end_rest(self) -> None:
        self._is_rested = True
        self.meeting.deliver()

    async def _respond(self, attempt: Try, tags: Fields) -> None:
        """Send the client what an attempt brought, as it comes, with our fields."""
        head, writer, runtime = attempt.head, self.writer, self.runtime
        assert head is not None  # noqa: S101 - for the type checker
        self.status = head.status
        edits = attempt.route.route.response_edits
        if head.status == _SWITCHING:
            section = response_section(head, runtime.via_line, edits, [])
            writer.upgrade(section, head.named.get(b"upgrade", b""))
            await tunnelling.carry(self, attempt)
            return
        body = self.body
        if body is not None and not body.is_complete:
            writer.keep_alive = False  # What is left of it would be in the way.
        if runtime.is_draining and self.client.listener == "inbound":
            writer.keep_alive = False
        via = runtime.via_line if b"date" in head.named else runtime.dated_via()
        section = response_section(head, via, edits, tags)
        if not attempt.is_ended:
            attempt.answered_s = runtime.clock.now_s()  # Now it is up to the client.
            self.limits.on_response(head)  # First: the client may be full at once.
        writer.start(section, head, self.head.method, attempt.relay_to(writer))
        if not attempt.is_ended and self.client.is_full:
            self.pause_response()  # It may be since a try before, and says it once.
        while not attempt.is_ended:
            await self.meeting
        if writer.is_chunked:
            writer.end(attempt.trailers)

    def _client_left(self) -> ProxyFault:
        phase = Phase.REQUEST if self.under_way is None else self.under_way.phase
        return ProxyFault(
            FaultCode.CLIENT_ABORT,
            f"the client left in phase {phase.value}",
            phase=phase,
            processed=Processed.UNKNOWN,
        )

    def _max_idle_s(self, attempt: Try) -> float:
        """Return how long a connection may have been idle to be taken.

        What cannot be sent twice does not risk the keep-alive race, and a retry
        does not meet a second connection that is dead in the same way.
        """
        if self._needs_fresh:
            return -1.0
        if self.head.method in IDEMPOTENT:
            return _ANY_AGE_S
        return attempt.route.upstream.settings.fresh_after_s

    # What the client does, and the alarm (called by the client's connection).

    def on_alarm(self) -> None:
        """A limit of time may be reached."""
        phase = Phase.REQUEST if self.under_way is None else self.under_way.phase
        is_read = not self.client.is_reading_paused
        fault = self.limits.expired(phase, is_client_read=is_read)
        if fault is not None:
            self.meeting.interrupt(fault)

    def on_client_data(self, data: bytes) -> bytes:
        """Take body or tunnel bytes; return what belongs to the next request."""
        if self.tunnel is not None:
            self.limits.on_bytes()
            self.tunnel.write(data)
            return b""
        body = self.body
        if body is None or body.is_complete:
            return data
        self.limits.on_bytes()
        try:
            body.feed(data)
        except ProxyFault as fault:
            self.writer.keep_alive = False
            if self.under_way is not None:  # A part of it may have been sent.
                fault.phase = self.under_way.phase
                fault.processed = processed_by(fault.phase)
            self._body_fault = fault
            self.meeting.interrupt(fault)
            return b""
        self._on_uploaded(body)
        return body.rest

    def _on_uploaded(self, body: RequestBody) -> None:
        """More of the body is here; maybe all of it."""
        if self.route is None or not self.common:
            return  # It came with the head.
        uploads = self.route.upstream.uploads
        if not body.is_complete:
            if not self.has_slot and not self.is_uploading:
                self.is_uploading = uploads.try_enter()
            return
        if self.is_uploading:
            self.is_uploading = False
            uploads.leave()
        if not self.writer.has_begun:
            if self.under_way is not None:
                self.under_way.asked_s = self.runtime.clock.now_s()
            self.limits.on_uploaded(is_attempt_under_way=self.under_way is not None)

    def cut(self) -> None:
        """The proxy ends: answer what can be answered still."""
        attempt = self.under_way
        tunnelling.say_goodbye(self)
        phase = Phase.REQUEST if attempt is None else attempt.phase
        self.meeting.interrupt(
            ProxyFault(
                FaultCode.DRAINING,
                "cut: the time to drain is over",
                phase=phase,
                processed=Processed.UNKNOWN,
            )
        )

    def on_client_end(self) -> None:
        """The client sends no more."""
        if self.tunnel is not None:
            self.tunnel.write_eof()
            self.meeting.deliver()
        elif self.body is not None and not self.body.is_complete:
            self.meeting.interrupt(self._client_left())

    def on_client_gone(self) -> None:
        """The client has left."""
        self.meeting.interrupt(self._client_left())

    def pause_response(self) -> None:
        """The client reads slowly: so does the proxy."""
        attempt = self.under_way
        if attempt is not None and attempt.connection is not None:
            attempt.connection.pause_reading()
            if self.writer.has_begun:
                self.limits.on_client_full(self.client.unsent_bytes)
                attempt.route.upstream.stalled.stalls(self)

    def resume_response(self) -> None:
        """It reads again."""
        attempt = self.under_way
        if attempt is None:
            return
        attempt.route.upstream.stalled.resumed(self)
        if attempt.connection is not None:
            attempt.connection.resume_reading()
            if self.tunnel is not None:
                self.limits.on_tunnel()
            elif self.writer.has_begun:
                self.limits.on_download()

    # What is asked while its client stalls (`Reader`).

    def unsent_bytes(self) -> int:
        """Return how much of the answer the client has not taken yet."""
        return self.client.unsent_bytes()

    def end_stalled(self, detail: str) -> None:
        """Others need the place: give it up."""
        phase = Phase.BODY if self.under_way is None else self.under_way.phase
        self.meeting.interrupt(
            ProxyFault(
                FaultCode.CLIENT_SLOW,
                detail,
                phase=phase,
                processed=processed_by(phase),
                limit=Limit.MAX_STALLED,
            )
        )

    # What the attempt tells (`Story`).

    def moved(self) -> None:
        """Bytes moved."""
        self.limits.on_bytes()

    def forward_interim(self, head: ResponseHead) -> None:
        """Hand a 1xx response on."""
        section = response_section(head, self.runtime.via_line, _NO_EDITS, [])
        self.writer.interim(section)
        if self.client.is_full:
            self.pause_response()  # It may be since a try before, and says it once.

    def pause_request(self) -> None:
        """The upstream takes no more for now."""
        body = self.body
        if self.tunnel is not None or body is None or not body.is_complete:
            self.client.pause_reading()  # Else it is read on, to notice that it left.
        attempt = self.under_way
        connection = None if attempt is None else attempt.connection
        if connection is not None and body is not None and not self.writer.has_begun:
            self.limits.on_upstream_full(connection.unsent_bytes)

    def resume_request(self) -> None:
        """It takes more."""
        self.limits.on_bytes()
        self.client.resume_reading()
        if self.body is not None and not self.writer.has_begun:
            if self.body.is_complete:
                self.limits.unlimit_idle()
            else:
                self.limits.on_upload()
