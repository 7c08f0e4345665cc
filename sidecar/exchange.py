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
from typing import TYPE_CHECKING

from sidecar import telling
from sidecar.accept.request_body import RequestBody
from sidecar.accept.response import ResponseWriter
from sidecar.attempt import Try
from sidecar.checkout import Checkout
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_timeout, classify_unexpected
from sidecar.faults.render import ReplyRequest, render, tag_fields
from sidecar.model import (
    NO_BODY,
    Attempt,
    Fault,
    Outcome,
    Phase,
    Processed,
    TimeoutKind,
)
from sidecar.policy.deadline import parse_deadline_ms, parse_grpc_timeout
from sidecar.policy.retry import (
    IDEMPOTENT,
    Retry,
    StopReason,
    Trial,
    decide,
    is_refusal,
    parse_retry_after,
)
from sidecar.route import rewrite
from sidecar.settings.snapshot import FieldEdits
from sidecar.time_limits import TimeLimits
from sidecar.upstream.connection import UpstreamConnection
from sidecar.wire import trace_context
from sidecar.wire.fields import request_section, response_section

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.model import Fields, RequestHead, ResponseHead
    from sidecar.route.table import Found
    from sidecar.runtime import RouteState, Runtime
    from sidecar.upstream.pool import Endpoint

_log = logging.getLogger(__name__)

_SWITCHING = 101
_FIRST_FAILURE = 400  # Below it there is nothing to decide.
_CLIENT_GONE = 499
_NO_EDITS = FieldEdits()
_MAX_REQUEST_ID_BYTES = 128
_ANY_AGE_S = float("inf")


class Exchange:
    """One request and its response. `run` it once."""

    __slots__ = (
        "_attempts",
        "_body",
        "_budget_taken",
        "_client",
        "_fault",
        "_found",
        "_has_slot",
        "_head",
        "_is_rested",
        "_limits",
        "_meeting",
        "_request_id",
        "_retry_skipped",
        "_route",
        "_runtime",
        "_section",
        "_start_s",
        "_start_wall_ns",
        "_status",
        "_trace",
        "_try",
        "_tunnel",
        "_writer",
    )

    def __init__(
        self, runtime: Runtime, client: ClientConnection, head: RequestHead
    ) -> None:
        clock = runtime.clock
        self._runtime = runtime
        self._client = client
        self._head = head
        self._meeting = client.meeting
        self._start_s = clock.now_s()
        self._start_wall_ns = clock.wall_ns()
        self._limits = TimeLimits(clock, client.alarm)
        self._body = (
            None if head.body_bytes == NO_BODY else RequestBody(head.body_bytes, client)
        )
        self._writer = ResponseWriter(
            client.transport, head.minor, keep_alive=head.keep_alive
        )
        self._trace = trace_context.begin(head.named, runtime.rng, runtime.sample_ratio)
        self._request_id = self._kept_or_new_id()
        self._route: RouteState | None = None
        self._found: Found | None = None
        self._section = b""
        self._try: Try | None = None
        self._attempts: list[Attempt] = []
        self._tunnel: UpstreamConnection | None = None
        self._status = 0
        self._fault: Fault | None = None
        self._retry_skipped = ""
        self._has_slot = False
        self._is_rested = True
        self._budget_taken = False

    @property
    def is_last(self) -> bool:
        """Tell whether the client asked to close after this response."""
        return not self._head.keep_alive

    @property
    def is_tunnel(self) -> bool:
        """Tell whether the connection has become a byte tunnel."""
        return self._tunnel is not None

    # The story.

    async def run(self) -> bool:
        """Answer the request; return whether another may follow."""
        try:
            await self._travel()
        except ProxyFault as fault:
            self._answer(fault)
        except Exception as error:  # noqa: BLE001 - the one net: a bug is an answer
            _log.exception("exchange failed")
            self._answer(classify_unexpected(error))
        finally:
            self._leave()
        return self._writer.keep_alive

    async def _travel(self) -> None:
        route = self._match()
        self._admit(route)
        while True:
            attempt = self._new_try(route)
            fault = None
            try:
                await self._make(attempt)
            except ProxyFault as error:
                fault = error
                attempt.fault = attempt.fault or error
            if fault is None and self._is_final(attempt):
                await self._respond(attempt)
                return
            decision = self._decide(attempt, fault)
            if not isinstance(decision, Retry):
                self._retry_skipped = decision.value
                if fault is not None:
                    raise telling.of_all_tries(fault, attempt.n, decision.value)
                await self._respond(attempt)
                return
            self._end_try(attempt)
            self._runtime.recorder.retried(
                route.route.name, route.route.upstream, _reason(attempt)
            )
            await self._rest(decision.delay_s)

    def _match(self) -> RouteState:
        """Find the route."""
        runtime, head, listener = self._runtime, self._head, self._client.listener
        found = runtime.tables[listener].find(head)
        if found is None:
            method, path = head.method, head.path.decode("latin-1")
            msg = f"no route for {method} {path} at host {head.host.decode('latin-1')}"
            raise ProxyFault(FaultCode.ROUTE_NOT_FOUND, msg)
        self._found = found
        self._route = route = runtime.states[listener][found.index]
        route.in_flight += 1
        named = head.named
        if b"via" in named and runtime.via in named[b"via"]:
            msg = "this request came from this very proxy"
            raise ProxyFault(FaultCode.PROXY_LOOP, msg)
        return route

    def _admit(self, route: RouteState) -> None:
        """Refuse early, before anything is touched; start the clocks."""
        if self._runtime.is_draining and self._client.listener == "inbound":
            self._writer.keep_alive = False
            msg = "this proxy is going away"
            raise ProxyFault(FaultCode.DRAINING, msg)
        self._heed_deadline()
        settings, upstream, now_s = route.route, route.upstream, self._start_s
        if not upstream.pool.endpoints:
            msg = f"upstream {settings.upstream} has no endpoint"
            raise ProxyFault(FaultCode.UPSTREAM_UNHEALTHY, msg)
        if not upstream.requests.try_enter():
            msg = f"upstream {settings.upstream}: {upstream.requests.count} in flight"
            raise ProxyFault(FaultCode.POOL_EXHAUSTED, msg, retry_after_s=1.0)
        self._has_slot = True
        upstream.budget.request_started(now_s)
        body = self._body
        if body is not None:
            keep_bytes = settings.retry.body_buffer_bytes
            body.limit(keep_bytes, settings.body_max_bytes, self._head.body_bytes)
        self._section = self._head_lines(route)
        is_body_to_come = body is not None and not body.is_complete
        self._limits.on_route(settings.timeouts, now_s, is_body_to_come=is_body_to_come)

    def _heed_deadline(self) -> None:
        """Take over what the caller says of its own limit (semantics: §2.1)."""
        named = self._head.named
        if b"x-316-deadline-ms" in named and self._client.is_trusted:
            left_s = parse_deadline_ms(named[b"x-316-deadline-ms"])
        elif b"grpc-timeout" in named:
            left_s = parse_grpc_timeout(named[b"grpc-timeout"])
        else:
            return
        if left_s is None:
            msg = "x-316-deadline-ms or grpc-timeout cannot be read"
            raise ProxyFault(FaultCode.PROTO_CONTROL_HEADER, msg)
        self._limits.on_deadline(self._start_s, left_s)
        if left_s <= 0:
            raise classify_timeout(TimeoutKind.DEADLINE, Phase.REQUEST, left_s)

    def _new_try(self, route: RouteState) -> Try:
        runtime, attempts = self._runtime, self._attempts
        start_s = runtime.clock.now_s() if attempts else self._start_s
        attempt = self._try = Try(
            len(attempts) + 1,
            route,
            self,
            self._body,
            start_s,
            trace_context.new_span_id(runtime.rng),
        )
        return attempt

    async def _make(self, attempt: Try) -> None:
        """Make one attempt, up to the head of its response."""
        client, head, body = self._client, self._head, self._body
        if client.is_gone:
            raise self._client_left()
        attempt.admit(head.method)
        self._limits.on_attempt(
            attempt.start_s, is_body_to_come=body is not None and not body.is_complete
        )
        pool, endpoint = attempt.route.upstream.pool, self._pick(attempt)
        max_idle_s = self._max_idle_s(attempt)
        granted = pool.take(endpoint, attempt.start_s, max_idle_s)
        if isinstance(granted, UpstreamConnection):
            attempt.use(granted, is_reused=True)
        else:
            way = Checkout(attempt, endpoint, self._runtime.clock, self._meeting)
            await way.finish(granted, max_idle_s)
        attempt.send(head.method, self._attempt_head(attempt))
        while attempt.head is None:
            await self._meeting.wait()

    def _pick(self, attempt: Try) -> Endpoint:
        """Choose an endpoint, one that was not tried if there is such."""
        upstream = attempt.route.upstream
        endpoints = upstream.pool.endpoints
        skip: tuple[int, ...] = ()
        if self._attempts:
            tried = {record.endpoint for record in self._attempts}
            skip = tuple(i for i, e in enumerate(endpoints) if e.name in tried)
        endpoint = endpoints[upstream.balancer.pick(len(endpoints), skip)]
        attempt.endpoint = endpoint
        return endpoint

    def _is_final(self, attempt: Try) -> bool:
        """Tell at once, for nearly all responses, that there is nothing to retry."""
        head = attempt.head
        assert head is not None  # noqa: S101 - for the type checker
        if head.status < _FIRST_FAILURE:
            if head.status == _SWITCHING and self._head.upgrade is None:
                raise ProxyFault(
                    FaultCode.PROTO_UPSTREAM,
                    "101 to a request without Upgrade",
                    phase=Phase.HEADERS,
                    processed=Processed.YES,
                )
            return b"x-316-code" not in head.named
        return False

    def _decide(self, attempt: Try, fault: ProxyFault | None) -> Retry | StopReason:
        """Ask the retry policy, then the budget."""
        route = attempt.route
        trial = self._trial(attempt, fault)
        decision = decide(route.route.retry, trial, self._runtime.rng)
        if not isinstance(decision, Retry):
            return decision
        if self._budget_taken:
            route.upstream.budget.retry_ended()
            self._budget_taken = False
        if not route.upstream.budget.try_withdraw(self._runtime.clock.now_s()):
            return StopReason.BUDGET
        self._budget_taken = True
        return decision

    def _trial(self, attempt: Try, fault: ProxyFault | None) -> Trial:
        """Gather what the retry policy looks at."""
        runtime, head, body = self._runtime, self._head, self._body
        named = attempt.head.named if attempt.head and fault is None else {}
        return Trial(
            head.method,
            attempt.n - 1,
            None if fault is None else fault.code,
            attempt.status if fault is None else 0,
            self._processed(attempt) if fault is None else fault.processed,
            self._limits.left_s,
            is_body_replayable=body is None or body.is_replayable,
            is_upgrade=head.upgrade is not None,
            is_client_gone=self._client.is_gone,
            has_response_started=self._writer.has_begun,
            has_idempotency_key=b"idempotency-key" in head.named,
            is_marked_retry=self._client.is_trusted
            and head.named.get(b"x-316-attempt", b"1") != b"1",
            has_other_endpoint=self._has_untried_endpoint(attempt),
            app_code=named.get(b"x-316-code", b"").decode("latin-1"),
            retry_after_s=parse_retry_after(
                named[b"retry-after"], runtime.clock.wall_ns() / 1e9
            )
            if b"retry-after" in named
            else None,
        )

    def _has_untried_endpoint(self, attempt: Try) -> bool:
        tried = {record.endpoint for record in self._attempts}
        if attempt.endpoint is not None:
            tried.add(attempt.endpoint.name)
        return len(attempt.route.upstream.pool.endpoints) > len(tried)

    def _processed(self, attempt: Try) -> Processed:
        """Tell whether the application may have acted, given its answer."""
        head, settings = attempt.head, attempt.route.upstream.settings
        assert head is not None  # noqa: S101 - for the type checker
        is_peer_word = settings.is_peer and head.named.get(b"x-316-processed") == b"no"
        if is_peer_word or is_refusal(
            head.status, is_first_on_reused=attempt.is_reused
        ):
            return Processed.NO
        return Processed.UNKNOWN

    async def _rest(self, delay_s: float) -> None:
        """Wait before the next attempt; whoever leaves ends the wait."""
        if delay_s <= 0:
            return
        clock = self._runtime.clock
        self._is_rested = False
        timer = clock.call_at(clock.now_s() + delay_s, self._end_rest)
        self._limits.on_wait()
        try:
            while not self._is_rested:
                await self._meeting.wait()
        finally:
            timer.cancel()

    def _end_rest(self) -> None:
        self._is_rested = True
        self._meeting.deliver()

    async def _respond(self, attempt: Try) -> None:
        """Send the client what the attempt brought, as it comes."""
        head, writer, runtime = attempt.head, self._writer, self._runtime
        assert head is not None  # noqa: S101 - for the type checker
        self._status = head.status
        edits = attempt.route.route.response_edits
        if head.status == _SWITCHING:
            section = response_section(head, runtime.via_line, edits, [])
            writer.upgrade(section, head.named.get(b"upgrade", b""))
            await self._tunnel_through(attempt)
            return
        body = self._body
        if body is not None and not body.is_complete:
            writer.keep_alive = False  # What is left of it would be in the way.
        if runtime.is_draining and self._client.listener == "inbound":
            writer.keep_alive = False
        tags = [] if head.status < _FIRST_FAILURE else self._tags(head, attempt.n)
        section = response_section(head, runtime.via_line, edits, tags)
        writer.begin(section, head, self._head.method, attempt.relay_to(writer))
        if not attempt.is_ended:
            self._limits.on_response(head)
            while not attempt.is_ended:
                await self._meeting.wait()
        writer.end(attempt.trailers)

    async def _tunnel_through(self, attempt: Try) -> None:
        """Be a pipe until both sides have said all (RFC 9110, 7.8)."""
        self._tunnel = attempt.connection
        self._limits.on_tunnel()
        held = attempt.relay_to(self._writer)
        if held:
            self._writer.write(held)
        self._client.open_tunnel()
        while not (attempt.is_ended and self._client.has_ended):
            await self._meeting.wait()
            if attempt.is_ended and not self._client.has_ended:
                self._client.write_eof()

    # When it does not go well.

    def _answer(self, fault: ProxyFault) -> None:
        """Tell the client of a failure, as far as it can still be told."""
        attempt, writer, head = self._try, self._writer, self._head
        if attempt is not None and attempt.fault is None and attempt.head is None:
            attempt.fault = fault
        fault_id = self._runtime.new_fault_id()
        self._fault = telling.of_fault(fault, self._attempts, fault_id)
        if self._client.is_gone or fault.spec.status == _CLIENT_GONE:
            writer.keep_alive = False
            self._status = self._status or _CLIENT_GONE
            return
        if writer.has_begun:
            writer.abort(at_once=fault.code is FaultCode.CLIENT_SLOW)
            return
        if self._body is not None and not self._body.is_complete:
            writer.keep_alive = False
        snapshot = self._runtime.snapshot
        asked = ReplyRequest(
            head.named.get(b"accept", b""),
            head.named.get(b"content-type", b""),
            snapshot.status_profile,
            snapshot.expose,
        )
        reply = render(self._fault, fault.status, asked)
        if telling.is_exhausting(fault.code):
            reply.fields.append(telling.EXHAUSTED)
        self._status = reply.status
        writer.reply(reply, head.method, self._runtime.via_line)

    def _tags(self, head: ResponseHead, tries: int) -> Fields:
        """Name the failure that an application's answer tells of, if it does."""
        reason = self._retry_skipped
        fault = telling.of_answer(head, tries, reason, self._runtime.new_fault_id)
        if fault is None:
            return []
        self._fault = fault
        fields = tag_fields(fault, head.status)
        if tries > 1 and reason == StopReason.EXHAUSTED.value:
            fields.append(telling.EXHAUSTED)
        return fields

    def _client_left(self) -> ProxyFault:
        phase = Phase.REQUEST if self._try is None else self._try.phase
        return ProxyFault(
            FaultCode.CLIENT_ABORT,
            f"the client left in phase {phase.value}",
            phase=phase,
            processed=Processed.UNKNOWN,
        )

    # The end.

    def _leave(self) -> None:
        """Give back all that was taken, and record."""
        self._client.alarm.clear()
        if self._try is not None:
            self._end_try(self._try)
        route = self._route
        if route is not None:
            route.in_flight -= 1
            if self._has_slot:
                route.upstream.requests.leave()
                route.upstream.budget.request_ended()
            if self._budget_taken:
                route.upstream.budget.retry_ended()
        if self._body is not None:
            self._body.discard()
        self._runtime.recorder.record(self._outcome())

    def _end_try(self, attempt: Try) -> None:
        now_s = self._runtime.clock.now_s()
        self._try = None
        self._attempts.append(attempt.record(now_s))
        attempt.close(now_s)
        self._meeting.forget()
        self._limits.on_attempt_over()

    def _outcome(self) -> Outcome:
        head, client, found = self._head, self._client, self._found
        now_s = self._runtime.clock.now_s()
        return Outcome(
            client.listener,
            "" if found is None else found.route.name,
            "" if found is None else found.route.upstream,
            head.method,
            head.path,
            "" if found is None else found.template,
            head.authority,
            client.peer,
            self._status,
            self._fault,
            self._start_s,
            self._start_wall_ns,
            now_s - self._start_s,
            0 if self._body is None else self._body.count_bytes,
            self._writer.count_bytes,
            tuple(self._attempts),
            self._retry_skipped,
            self._trace,
            self._request_id.decode("latin-1"),
            self._tunnel is not None,
        )

    # What is sent upstream.

    def _kept_or_new_id(self) -> bytes:
        """Return the caller's request id, or a new one."""
        named = self._head.named
        if b"x-request-id" in named:
            given = named[b"x-request-id"]
            if 0 < len(given) <= _MAX_REQUEST_ID_BYTES:
                return given
        trace = self._trace
        if not trace.parent_id:  # A trace that began here is this request's alone.
            return b"%032x" % trace.trace_id
        return b"%032x" % self._runtime.rng.getrandbits(128)

    def _head_lines(self, route: RouteState) -> bytes:
        """Return request line and fields, the same for every attempt."""
        head, client, found = self._head, self._client, self._found
        assert found is not None  # noqa: S101 - for the type checker
        settings = route.route
        host = settings.rewrite.host
        if host is None and head.named.get(b"host") != head.authority:
            host = head.authority  # Of the absolute form (RFC 9112, 3.2.2).
        if host == b"":
            host = route.upstream.pool.endpoints[0].name.encode()
        section = request_section(head, client.hop, host, settings.request_edits)
        return b"%b %b HTTP/1.1\r\n%bx-request-id: %b\r\n" % (
            head.method.encode(),
            rewrite.target(head, settings.rewrite, found.prefix_bytes),
            section,
            self._request_id,
        )

    def _attempt_head(self, attempt: Try) -> bytes:
        """Add what differs from attempt to attempt."""
        trace = self._trace
        state = b"tracestate: %b\r\n" % trace.state if trace.state else b""
        left_s = self._limits.request_due_s - attempt.start_s
        if left_s != _ANY_AGE_S:
            state += b"x-316-deadline-ms: %d\r\n" % max(1, int(left_s * 1000))
        return b"%btraceparent: %b\r\nx-316-attempt: %d\r\n%b\r\n" % (
            self._section,
            trace_context.traceparent(
                trace.trace_id, attempt.span_id, sampled=trace.sampled
            ),
            attempt.n,
            state,
        )

    def _max_idle_s(self, attempt: Try) -> float:
        """Return how long a connection may have been idle to be taken.

        What cannot be sent twice does not risk the keep-alive race, and a retry
        does not meet a second connection that is dead in the same way.
        """
        if attempt.n > 1:
            return -1.0
        if self._head.method in IDEMPOTENT:
            return _ANY_AGE_S
        return attempt.route.upstream.settings.fresh_after_s

    # What the client does, and the alarm (called by the client's connection).

    def on_alarm(self) -> None:
        """A limit of time may be reached."""
        phase = Phase.REQUEST if self._try is None else self._try.phase
        fault = self._limits.expired(phase)
        if fault is not None:
            self._meeting.interrupt(fault)

    def on_client_data(self, data: bytes) -> bytes:
        """Take body or tunnel bytes; return what belongs to the next request."""
        if self._tunnel is not None:
            self._limits.on_bytes()
            self._tunnel.write(data)
            return b""
        body = self._body
        if body is None or body.is_complete:
            return data
        self._limits.on_bytes()
        try:
            body.feed(data)
        except ProxyFault as fault:
            self._writer.keep_alive = False
            self._meeting.interrupt(fault)
            return b""
        if body.is_complete and self._has_slot:
            is_under_way = self._try is not None and not self._writer.has_begun
            self._limits.on_uploaded(is_attempt_under_way=is_under_way)
        return body.rest

    def on_client_end(self) -> None:
        """The client sends no more."""
        if self._tunnel is not None:
            self._tunnel.write_eof()
            self._meeting.deliver()
        elif self._body is not None and not self._body.is_complete:
            self._meeting.interrupt(self._client_left())

    def on_client_gone(self) -> None:
        """The client has left."""
        self._meeting.interrupt(self._client_left())

    def pause_response(self) -> None:
        """The client reads slowly: so does the proxy."""
        attempt = self._try
        if attempt is not None and attempt.connection is not None:
            attempt.connection.pause_reading()
            if self._writer.has_begun:
                self._limits.on_client_full()

    def resume_response(self) -> None:
        """It reads again."""
        attempt = self._try
        if attempt is not None and attempt.connection is not None:
            attempt.connection.resume_reading()
            if self._tunnel is not None:
                self._limits.on_tunnel()
            elif self._writer.has_begun:
                self._limits.on_download()

    # What the attempt tells (`Story`).

    def wake(self) -> None:
        """Go on with the story."""
        self._meeting.deliver()

    def interrupt(self, fault: ProxyFault) -> None:
        """Go on with the story, which has taken a turn."""
        self._meeting.interrupt(fault)

    def moved(self) -> None:
        """Bytes moved."""
        self._limits.on_bytes()

    def forward_interim(self, head: ResponseHead) -> None:
        """Hand a 1xx response on."""
        section = response_section(head, self._runtime.via_line, _NO_EDITS, [])
        self._writer.interim(section)

    def pause_request(self) -> None:
        """The upstream takes no more for now."""
        self._client.pause_reading()
        if self._body is not None and not self._writer.has_begun:
            self._limits.on_upstream_full()

    def resume_request(self) -> None:
        """It takes more."""
        self._limits.on_bytes()
        self._client.resume_reading()
        if self._body is not None and not self._writer.has_begun:
            if self._body.is_complete:
                self._limits.unlimit_idle()
            else:
                self._limits.on_upload()


def _reason(attempt: Try) -> str:
    """Return why another attempt is made, as a label."""
    return str(attempt.status) if attempt.fault is None else attempt.fault.spec.code
