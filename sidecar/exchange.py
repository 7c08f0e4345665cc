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

from sidecar.accept.request_body import RequestBody
from sidecar.accept.response import ResponseWriter
from sidecar.attempt import Try
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import (
    classify_answer,
    classify_timeout,
    classify_unexpected,
)
from sidecar.faults.render import ReplyRequest, render, tag_fields
from sidecar.model import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Attempt,
    Fault,
    Fields,
    Origin,
    Outcome,
    Phase,
    Processed,
    TimeoutKind,
)
from sidecar.policy.countdown import Countdown
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
from sidecar.rendezvous import Rendezvous
from sidecar.route import rewrite
from sidecar.settings.snapshot import FieldEdits
from sidecar.wire import trace_context
from sidecar.wire.fields import Hop, request_section, response_section

if TYPE_CHECKING:
    import asyncio

    from sidecar.accept.client import ClientConnection
    from sidecar.faults.spec import FaultSpec
    from sidecar.model import RequestHead, ResponseHead
    from sidecar.route.table import Found
    from sidecar.runtime import RouteState, Runtime
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import Endpoint

_log = logging.getLogger(__name__)

_SWITCHING = 101
_FIRST_FAILURE = 400  # Below it there is nothing to decide.
_CLIENT_GONE = 499
_NO_EDITS = FieldEdits()
_MAX_REQUEST_ID_BYTES = 128
_STREAMS = (b"text/event-stream", b"application/grpc")


class Exchange:
    """One request and its response. `run` it once."""

    __slots__ = (
        "_attempts",
        "_body",
        "_budget_taken",
        "_client",
        "_countdown",
        "_deadline_s",
        "_fault",
        "_found",
        "_has_slot",
        "_head",
        "_is_rested",
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
        self._runtime = runtime
        self._client = client
        self._head = head
        self._meeting: Rendezvous[None] = Rendezvous(client.loop)
        self._start_s = runtime.clock.now_s()
        self._start_wall_ns = runtime.clock.wall_ns()
        self._countdown = Countdown()
        self._body = (
            None if head.body_bytes == NO_BODY else RequestBody(head.body_bytes, client)
        )
        self._writer = ResponseWriter(
            client.transport, head.minor, keep_alive=head.keep_alive
        )
        self._trace = trace_context.begin(
            head.named, runtime.rng, runtime.snapshot.tracing.sample_ratio
        )
        self._request_id = self._kept_or_new_id()
        self._route: RouteState | None = None
        self._found: Found | None = None
        self._section = b""
        self._deadline_s: float | None = None  # When the caller gives up.
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
        retries = 0
        while True:
            attempt = Try(retries + 1, self._runtime, route, self, self._body)
            self._try = attempt
            fault = None
            try:
                await self._make(attempt)
            except ProxyFault as error:
                fault = error
                attempt.fault = attempt.fault or error
            if fault is None and self._is_final(attempt):
                await self._respond(attempt)
                return
            decision = self._decide(attempt, fault, retries)
            if not isinstance(decision, Retry):
                self._retry_skipped = decision.value
                if fault is not None:
                    raise self._exhausted(fault, retries)
                await self._respond(attempt)
                return
            self._end_try(attempt)
            retries += 1
            self._runtime.recorder.retried(
                route.route.name, route.route.upstream, _reason(attempt)
            )
            await self._wait_s(decision.delay_s)

    def _match(self) -> RouteState:
        """Find the route."""
        runtime, head = self._runtime, self._head
        found = runtime.tables[self._client.listener].find(head)
        if found is None:
            method, path = head.method, head.path.decode("latin-1")
            msg = f"no route for {method} {path} at host {head.host.decode('latin-1')}"
            raise ProxyFault(FaultCode.ROUTE_NOT_FOUND, msg)
        self._found = found
        self._route = route = runtime.state_of(found.route)
        route.in_flight += 1
        if runtime.via in head.named.get(b"via", b""):
            msg = "this request came from this very proxy"
            raise ProxyFault(FaultCode.PROXY_LOOP, msg)
        return route

    def _admit(self, route: RouteState) -> None:
        """Refuse early, before anything is touched; start the clocks."""
        runtime, head, settings = self._runtime, self._head, route.route
        if runtime.is_draining and self._client.listener == "inbound":
            self._writer.keep_alive = False
            msg = "this proxy is going away"
            raise ProxyFault(FaultCode.DRAINING, msg)
        left_s = self._caller_left_s()
        if left_s is not None:
            self._deadline_s = self._start_s + left_s
            self._countdown.limit_request(TimeoutKind.DEADLINE, self._start_s, left_s)
            if left_s <= 0:
                raise classify_timeout(TimeoutKind.DEADLINE, Phase.REQUEST, left_s)
        upstream = route.upstream
        if not upstream.pool.endpoints:
            msg = f"upstream {settings.upstream} has no endpoint"
            raise ProxyFault(FaultCode.UPSTREAM_UNHEALTHY, msg)
        if not upstream.requests.try_enter():
            msg = f"upstream {settings.upstream}: {upstream.requests.count} in flight"
            raise ProxyFault(FaultCode.POOL_EXHAUSTED, msg, retry_after_s=1.0)
        self._has_slot = True
        upstream.budget.request_started(self._start_s)
        if self._body is not None:
            keep_bytes = settings.retry.body_buffer_bytes
            self._body.limit(keep_bytes, settings.body_max_bytes, head.body_bytes)
        self._section = self._head_lines(route)
        if self._body is None or self._body.is_complete:
            self._start_request_clock(self._start_s)
        else:
            self._watch_upload()

    async def _make(self, attempt: Try) -> None:
        """Make one attempt, up to the head of its response."""
        if self._client.is_gone:
            raise self._client_left()
        attempt.admit(self._head.method)
        await self._connect(attempt)
        attempt.send(self._head, self._attempt_head(attempt))
        self._sent(attempt)
        while attempt.head is None:
            await self._meeting.wait()

    async def _connect(self, attempt: Try) -> None:
        """Get a connection: an idle one, a new one, or wait for one."""
        upstream = attempt.route.upstream
        tried = {record.endpoint for record in self._attempts}
        endpoints = upstream.pool.endpoints
        skip = [i for i, e in enumerate(endpoints) if e.name in tried] if tried else ()
        endpoint = endpoints[upstream.balancer.pick(len(endpoints), skip)]
        max_idle_s = self._max_idle_s(attempt)
        while True:
            connect = attempt.take_idle(endpoint, max_idle_s)
            if attempt.connection is not None:
                return
            if connect is not None:
                await self._open(attempt, endpoint)
                return
            await self._queue(attempt, endpoint)

    async def _open(self, attempt: Try, endpoint: Endpoint) -> None:
        """Open a connection while the alarm and the client can interrupt."""
        timeouts = attempt.route.route.timeouts
        upstream, clock = attempt.route.upstream, self._runtime.clock
        attempt.phase = Phase.CONNECT
        task = self._client.loop.create_task(
            upstream.connector.connect(endpoint, timeouts.dns_s)
        )
        task.add_done_callback(lambda _: self._meeting.deliver(None))
        now_s = clock.now_s()
        self._countdown.limit_step(TimeoutKind.CONNECT, now_s, timeouts.connect_s)
        self._limit_attempt(attempt, now_s)
        try:
            while not task.done():
                await self._meeting.wait()
            attempt.connection = task.result()
        except BaseException:
            task.cancel()
            task.add_done_callback(_close_unused)
            upstream.pool.give_up(endpoint)
            raise
        finally:
            self._countdown.step_due_s = float("inf")

    async def _queue(self, attempt: Try, endpoint: Endpoint) -> None:
        """Wait in line for a connection."""
        pool = attempt.route.upstream.pool
        waiter: asyncio.Future[None] = self._client.loop.create_future()
        waiter.add_done_callback(lambda _: self._meeting.deliver(None))
        if not pool.enqueue(endpoint, waiter):
            msg = f"{pool.open_connections} connections, {pool.pending} wait for one"
            raise ProxyFault(
                FaultCode.POOL_EXHAUSTED, msg, phase=Phase.QUEUE, retry_after_s=1.0
            )
        self._arm()
        try:
            while not waiter.done():
                await self._meeting.wait()
        except BaseException:
            pool.leave(endpoint, waiter)
            raise

    def _is_final(self, attempt: Try) -> bool:
        """Tell at once, for nearly all responses, that there is nothing to retry."""
        head = attempt.head
        assert head is not None  # noqa: S101 - for the type checker
        if attempt.status == _SWITCHING and self._head.upgrade is None:
            raise ProxyFault(
                FaultCode.PROTO_UPSTREAM,
                "101 to a request without Upgrade",
                phase=Phase.HEADERS,
                processed=Processed.YES,
            )
        return head.status < _FIRST_FAILURE and b"x-316-code" not in head.named

    def _decide(
        self, attempt: Try, fault: ProxyFault | None, retries: int
    ) -> Retry | StopReason:
        """Ask the retry policy, then the budget."""
        trial = self._trial(attempt, fault, retries)
        route = attempt.route
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

    def _trial(self, attempt: Try, fault: ProxyFault | None, retries: int) -> Trial:
        """Gather what the retry policy looks at."""
        runtime, head, route = self._runtime, self._head, attempt.route
        answer = None if fault is not None else attempt.head
        named = {} if answer is None else answer.named
        return Trial(
            head.method,
            retries,
            None if fault is None else fault.code,
            0 if answer is None else answer.status,
            self._processed(attempt, fault),
            self._countdown.request_due_s - runtime.clock.now_s(),
            is_body_replayable=self._body is None or self._body.is_replayable,
            is_upgrade=head.upgrade is not None,
            is_client_gone=self._client.is_gone,
            has_response_started=self._writer.has_begun,
            has_idempotency_key=b"idempotency-key" in head.named,
            is_marked_retry=self._client.is_trusted
            and head.named.get(b"x-316-attempt", b"1") != b"1",
            has_other_endpoint=len(route.upstream.pool.endpoints)
            > len({record.endpoint for record in self._attempts} | {_name(attempt)}),
            app_code=named.get(b"x-316-code", b"").decode("latin-1"),
            retry_after_s=parse_retry_after(
                named[b"retry-after"], runtime.clock.wall_ns() / 1e9
            )
            if b"retry-after" in named
            else None,
        )

    def _processed(self, attempt: Try, fault: ProxyFault | None) -> Processed:
        """Tell whether the application may have acted on this attempt."""
        if fault is not None:
            return fault.processed
        head = attempt.head
        assert head is not None  # noqa: S101 - for the type checker
        settings = attempt.route.upstream.settings
        is_peer_word = settings.is_peer and head.named.get(b"x-316-processed") == b"no"
        if is_peer_word or is_refusal(
            head.status, is_first_on_reused=attempt.is_reused
        ):
            return Processed.NO
        return Processed.UNKNOWN

    async def _respond(self, attempt: Try) -> None:
        """Send the client what the attempt brought, as it comes."""
        head = attempt.head
        assert head is not None  # noqa: S101 - for the type checker
        self._status = head.status
        writer, via = self._writer, b"1.1 " + self._runtime.via
        edits = attempt.route.route.response_edits
        if head.status == _SWITCHING:
            section = response_section(head, via, edits, [])
            writer.upgrade(section, head.named.get(b"upgrade", b""))
            await self._tunnel_through(attempt)
            return
        if self._body is not None and not self._body.is_complete:
            writer.keep_alive = False  # What is left of it would be in the way.
        if self._runtime.is_draining and self._client.listener == "inbound":
            writer.keep_alive = False
        section = response_section(head, via, edits, self._tags(head))
        writer.begin(section, head, self._head.method, attempt.relay_to(writer))
        if not attempt.is_ended:
            self._watch_download(head, attempt)
            while not attempt.is_ended:
                await self._meeting.wait()
        writer.end(attempt.trailers)

    async def _tunnel_through(self, attempt: Try) -> None:
        """Be a pipe until both sides have said all (RFC 9110, 7.8)."""
        connection = attempt.connection
        assert connection is not None  # noqa: S101 - for the type checker
        self._countdown.request_due_s = float("inf")
        self._countdown.attempt_due_s = float("inf")
        self._tunnel = connection
        self._limit_idle(attempt)
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
        attempt = self._try
        if attempt is not None and attempt.fault is None and attempt.head is None:
            attempt.fault = fault
        self._fault = self._named(
            fault.spec,
            fault.detail,
            fault.phase,
            fault.processed,
            timeout=fault.timeout,
            retry_after_s=fault.retry_after_s,
        )
        writer, head = self._writer, self._head
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
        if fault.code in (FaultCode.RETRY_EXHAUSTED, FaultCode.RETRY_BUDGET):
            reply.fields.append((b"x-316-retry", b"exhausted"))
        self._status = reply.status
        writer.reply(reply, head.method, self._runtime.via)

    def _exhausted(self, fault: ProxyFault, retries: int) -> ProxyFault:
        """Name the failure of the whole, where that is not its last attempt."""
        reason = self._retry_skipped
        if reason == StopReason.BUDGET.value:
            code = FaultCode.RETRY_BUDGET
        elif retries and reason == StopReason.EXHAUSTED.value:
            code = FaultCode.RETRY_EXHAUSTED
        else:
            return fault
        return ProxyFault(
            code,
            f"{retries + 1} attempts, the last: {fault}",
            phase=fault.phase,
            processed=fault.processed,
            timeout=fault.timeout,
            retry_after_s=fault.retry_after_s,
            status=fault.status,
        )

    def _tags(self, head: ResponseHead) -> Fields:
        """Name the failure that an application's answer tells of, if it does."""
        spec = classify_answer(head.status, head.named.get(b"x-316-code"))
        if spec is None:
            return []
        is_exhausted = self._retry_skipped == StopReason.EXHAUSTED.value
        if is_exhausted and self._attempts:
            spec = FaultCode.RETRY_EXHAUSTED.spec
        elif self._retry_skipped == StopReason.BUDGET.value:
            spec = FaultCode.RETRY_BUDGET.spec
        detail = f"the application answered {head.status}"
        self._fault = self._named(
            spec, detail, Phase.BODY, Processed.YES, origin=Origin.UPSTREAM
        )
        fields = tag_fields(self._fault, head.status)
        if is_exhausted:
            fields.append((b"x-316-retry", b"exhausted"))
        return fields

    def _named(
        self,
        spec: FaultSpec,
        detail: str,
        phase: Phase,
        processed: Processed,
        *,
        timeout: TimeoutKind | None = None,
        retry_after_s: float | None = None,
        origin: Origin | None = None,
    ) -> Fault:
        """Return the fault of the whole, which no attempt's proof can narrow."""
        for record in self._attempts:
            if record.processed is not Processed.NO and processed is Processed.NO:
                processed = record.processed
        return Fault(
            spec,
            self._runtime.new_fault_id(),
            origin or spec.origin,
            phase,
            processed,
            detail,
            timeout,
            retry_after_s,
        )

    def _client_left(self) -> ProxyFault:
        attempt = self._try
        phase = Phase.REQUEST if attempt is None else attempt.phase
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
        self._countdown.attempt_due_s = float("inf")

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
        given = self._head.named.get(b"x-request-id")
        if given and len(given) <= _MAX_REQUEST_ID_BYTES:
            return given
        return b"%032x" % self._runtime.rng.getrandbits(128)

    def _head_lines(self, route: RouteState) -> bytes:
        """Return request line and fields, the same for every attempt."""
        head, client, found = self._head, self._client, self._found
        assert found is not None  # noqa: S101 - for the type checker
        settings = route.route
        hop = Hop(
            b"1.%d %b" % (head.minor, self._runtime.via),
            client.peer_bytes,
            b"http",
            client.is_trusted,
            self._request_id,
        )
        host = settings.rewrite.host
        if host is None and head.named.get(b"host") != head.authority:
            host = head.authority  # Of the absolute form (RFC 9112, 3.2.2).
        if host == b"":
            host = route.upstream.pool.endpoints[0].name.encode()
        line = b"%b %b HTTP/1.1\r\n" % (
            head.method.encode(),
            rewrite.target(head, settings.rewrite, found.prefix_bytes),
        )
        return line + request_section(head, hop, host, settings.request_edits)

    def _attempt_head(self, attempt: Try) -> bytes:
        """Add what differs from attempt to attempt."""
        trace = self._trace
        lines = b"traceparent: %b\r\nx-316-attempt: %d\r\n" % (
            trace_context.traceparent(
                trace.trace_id, attempt.span_id, sampled=trace.sampled
            ),
            attempt.n,
        )
        if trace.state:
            lines += b"tracestate: %b\r\n" % trace.state
        left_s = self._countdown.request_due_s - attempt.start_s
        if left_s != float("inf"):
            lines += b"x-316-deadline-ms: %d\r\n" % max(1, int(left_s * 1000))
        return self._section + lines + b"\r\n"

    def _max_idle_s(self, attempt: Try) -> float:
        """Return how long a connection may have been idle to be taken.

        What cannot be sent twice does not risk the keep-alive race, and a retry
        does not meet a second connection that is dead in the same way.
        """
        if attempt.n > 1:
            return -1.0
        if self._head.method in IDEMPOTENT:
            return float("inf")
        return attempt.route.upstream.settings.fresh_after_s

    # Time.

    def _caller_left_s(self) -> float | None:
        named = self._head.named
        value = named.get(b"x-316-deadline-ms") if self._client.is_trusted else None
        parse = parse_deadline_ms
        if value is None:
            value = named.get(b"grpc-timeout")
            parse = parse_grpc_timeout
        if value is None:
            return None
        left_s = parse(value)
        if left_s is None:
            msg = "x-316-deadline-ms or grpc-timeout cannot be read"
            raise ProxyFault(FaultCode.PROTO_CONTROL_HEADER, msg)
        return left_s

    def _start_request_clock(self, now_s: float) -> None:
        """The request has been read: from now on its time runs."""
        route = self._route
        assert route is not None  # noqa: S101 - for the type checker
        limit_s = route.route.timeouts.request_s
        if limit_s is not None:
            self._countdown.limit_request(TimeoutKind.REQUEST, now_s, limit_s)

    def _limit_attempt(self, attempt: Try, now_s: float) -> None:
        if self._body is None or self._body.is_complete:
            per_try_s = attempt.route.route.timeouts.per_try_s
            self._countdown.limit_attempt(now_s, per_try_s)
        self._arm()

    def _sent(self, attempt: Try) -> None:
        """The head is sent: the attempt's time runs, unless a body is to come."""
        if self._countdown.attempt_due_s == float("inf"):
            self._limit_attempt(attempt, attempt.start_s)

    def _watch_upload(self) -> None:
        route = self._route
        assert route is not None  # noqa: S101 - for the type checker
        self._countdown.limit_idle(
            TimeoutKind.REQUEST_BODY_IDLE,
            self._runtime.clock.now_s(),
            route.route.timeouts.request_body_idle_s,
        )

    def _watch_download(self, head: ResponseHead, attempt: Try) -> None:
        """From the head on, what counts is that bytes move."""
        countdown = self._countdown
        countdown.attempt_due_s = float("inf")
        kind = head.named.get(b"content-type", b"")
        if head.body_bytes in (CHUNKED, UNTIL_CLOSE) or kind.startswith(_STREAMS):
            countdown.unlimit_request()
        self._limit_idle(attempt)

    def _limit_idle(self, attempt: Try) -> None:
        """Let bytes of the response, or of the tunnel, come in time."""
        timeouts, now_s = attempt.route.route.timeouts, self._runtime.clock.now_s()
        if self._tunnel is not None:
            kind, limit_s = TimeoutKind.TUNNEL_IDLE, timeouts.tunnel_idle_s
        elif timeouts.per_try_idle_s is not None:
            kind, limit_s = TimeoutKind.PER_TRY_IDLE, timeouts.per_try_idle_s
        else:
            kind, limit_s = TimeoutKind.STREAM_IDLE, timeouts.stream_idle_s
        self._countdown.limit_idle(kind, now_s, limit_s)
        self._arm()

    async def _wait_s(self, delay_s: float) -> None:
        """Wait before the next attempt; whoever leaves ends the wait."""
        if delay_s <= 0:
            return
        clock = self._runtime.clock
        self._is_rested = False
        timer = clock.call_at(clock.now_s() + delay_s, self._end_rest)
        self._arm()
        try:
            while not self._is_rested:
                await self._meeting.wait()
        finally:
            timer.cancel()

    def _end_rest(self) -> None:
        self._is_rested = True
        self._meeting.deliver(None)

    def _arm(self) -> None:
        self._client.alarm.set(self._countdown.next_due_s())

    def on_alarm(self) -> None:
        """A limit of time may be reached."""
        now_s = self._runtime.clock.now_s()
        expired = self._countdown.expired(now_s)
        if expired is None:
            self._arm()
            return
        attempt = self._try
        phase = Phase.REQUEST if attempt is None else attempt.phase
        self._meeting.interrupt(classify_timeout(expired[0], phase, expired[1]))

    # What the client does (called by its connection).

    def on_client_data(self, data: bytes) -> bytes:
        """Take body or tunnel bytes; return what belongs to the next request."""
        self._countdown.active_s = self._runtime.clock.now_s()
        if self._tunnel is not None:
            self._tunnel.write(data)
            return b""
        body = self._body
        if body is None or body.is_complete:
            return data
        try:
            body.feed(data)
        except ProxyFault as fault:
            self._writer.keep_alive = False
            self._meeting.interrupt(fault)
            return b""
        if body.is_complete:
            self._uploaded()
        return body.rest

    def on_client_end(self) -> None:
        """The client sends no more."""
        if self._tunnel is not None:
            self._tunnel.write_eof()
            self._meeting.deliver(None)
        elif self._body is not None and not self._body.is_complete:
            self._meeting.interrupt(self._client_left())

    def on_client_gone(self) -> None:
        """The client has left."""
        self._meeting.interrupt(self._client_left())

    def pause_response(self) -> None:
        """The client reads slowly: so does the proxy."""
        attempt = self._try
        if attempt is None or attempt.connection is None:
            return
        attempt.connection.pause_reading()
        if self._writer.has_begun:
            limit_s = attempt.route.route.timeouts.downstream_write_s
            now_s = self._runtime.clock.now_s()
            self._countdown.limit_idle(TimeoutKind.DOWNSTREAM_WRITE, now_s, limit_s)
            self._arm()

    def resume_response(self) -> None:
        """It reads again."""
        attempt = self._try
        if attempt is None or attempt.connection is None:
            return
        attempt.connection.resume_reading()
        if self._writer.has_begun:
            self._limit_idle(attempt)

    def _uploaded(self) -> None:
        now_s = self._runtime.clock.now_s()
        if self._route is None or not self._has_slot:
            return
        self._countdown.limit_idle(TimeoutKind.STREAM_IDLE, now_s, None)
        self._start_request_clock(now_s)
        attempt = self._try
        if attempt is not None and not self._writer.has_begun:
            self._limit_attempt(attempt, now_s)

    # What the attempt tells (`Story`).

    def wake(self) -> None:
        """Go on with the story."""
        self._meeting.deliver(None)

    def interrupt(self, fault: ProxyFault) -> None:
        """Go on with the story, which has taken a turn."""
        self._meeting.interrupt(fault)

    def moved(self) -> None:
        """Bytes moved."""
        self._countdown.active_s = self._runtime.clock.now_s()

    def forward_interim(self, head: ResponseHead) -> None:
        """Hand a 1xx response on."""
        section = response_section(head, b"1.1 " + self._runtime.via, _NO_EDITS, [])
        self._writer.interim(section)

    def pause_request(self) -> None:
        """The upstream takes no more for now."""
        self._client.pause_reading()
        route = self._route
        if route is not None and self._body is not None and not self._writer.has_begun:
            limit_s = route.route.timeouts.stream_idle_s
            now_s = self._runtime.clock.now_s()
            self._countdown.limit_idle(TimeoutKind.UPSTREAM_WRITE, now_s, limit_s)
            self._arm()

    def resume_request(self) -> None:
        """It takes more."""
        self.moved()
        self._client.resume_reading()
        if self._body is not None and not self._writer.has_begun:
            if self._body.is_complete:
                self._countdown.limit_idle(TimeoutKind.STREAM_IDLE, 0.0, None)
            else:
                self._watch_upload()


def _name(attempt: Try) -> str:
    return "" if attempt.endpoint is None else attempt.endpoint.name


def _reason(attempt: Try) -> str:
    """Return why another attempt is made, as a label."""
    return str(attempt.status) if attempt.fault is None else attempt.fault.spec.code


def _close_unused(task: asyncio.Task[UpstreamConnection]) -> None:
    """Close a connection that came when nobody wanted it any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()
