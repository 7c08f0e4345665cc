"""One try at one endpoint: where policy meets the socket.

    permit -> endpoint -> connection -> send -> head -> body -> end
    breaker   balancer    pool                        settle the permit

It hears what comes back (`ResponseSink`) and holds it until the exchange has
decided: `relay_to` lets it through to the client, `discard` throws it away.
Whatever happens, `close` gives back what was taken: connection, slot, permit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from sidecar import standing
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_loss, classify_malformed
from sidecar.model import Attempt, Phase, Processed
from sidecar.policy.breaker import Verdict
from sidecar.policy.retry import SAFE
from sidecar.upstream.pool import idle_limit_s

if TYPE_CHECKING:
    from sidecar.accept.request_body import RequestBody
    from sidecar.accept.response import ResponseWriter
    from sidecar.model import Fields, ResponseHead
    from sidecar.policy.breaker import Permit
    from sidecar.policy.outlier import Health
    from sidecar.rendezvous import Rendezvous
    from sidecar.runtime import RouteState
    from sidecar.upstream.connection import UpstreamConnection
    from sidecar.upstream.pool import Endpoint
    from sidecar.wire.framing import FramingError
    from sidecar.wire.head import HeadError

_CONNECTION_PHASES: Final = frozenset((Phase.DNS, Phase.CONNECT, Phase.TLS))
_FAILED: Final = frozenset(
    (502, 503, 504)
)  # An answer that speaks against its upstream.
_SWITCHING: Final = 101
_SERVER_ERROR: Final = 500
_NO_TRAILERS: Fields = []

# Members by module names: through the class, 3.11 takes ten times as long.
_QUEUE: Final = Phase.QUEUE
_WRITE: Final = Phase.WRITE
_WAIT: Final = Phase.WAIT
_HEADERS: Final = Phase.HEADERS
_BODY: Final = Phase.BODY
_TUNNEL: Final = Phase.TUNNEL
_GOOD: Final = Verdict.GOOD
_BAD: Final = Verdict.BAD
_NEUTRAL: Final = Verdict.NEUTRAL


class Story(Protocol):
    """The exchange, as an attempt sees it."""

    def moved(self) -> None:
        """Bytes of the response went to the client."""

    def forward_interim(self, head: ResponseHead) -> None:
        """A 1xx response is for the client."""

    def pause_request(self) -> None:
        """The upstream takes no more bytes for now."""

    def resume_request(self) -> None:
        """It takes them again."""


class Try:
    """One attempt. Made, admitted, connected, sent, decided upon, closed."""

    __slots__ = (
        "_body",
        "_held",
        "_meeting",
        "_permit",
        "_writer",
        "answered_s",
        "asked_s",
        "broken",
        "connection",
        "endpoint",
        "fault",
        "has_interim",
        "head",
        "health",
        "is_ended",
        "is_followed",
        "is_probe",
        "is_reused",
        "n",
        "phase",
        "route",
        "start_s",
        "status",
        "story",
        "trailers",
    )

    def __init__(  # noqa: PLR0917 - keywords would cost each request 0.2 us
        self,
        n: int,
        route: RouteState,
        story: Story,
        meeting: Rendezvous,
        body: RequestBody | None,
        start_s: float,
    ) -> None:
        self.n = n
        self.route = route
        self.story = story
        self._meeting = meeting
        self._body = body
        self.start_s = start_s
        self.asked_s = start_s  # When its request was whole,
        self.answered_s = 0.0  # and the head of its response here, if that streams.
        self.endpoint: Endpoint | None = None
        self.health: Health | None = None  # Its, if it is one of several.
        self.is_probe = False  # Of the endpoint, which was out.
        self.connection: UpstreamConnection | None = None
        self.broken: UpstreamConnection | None = None  # It could not be given back.
        self.phase = _QUEUE
        self.head: ResponseHead | None = None
        self.fault: ProxyFault | None = None
        self.has_interim = False  # A 1xx head came.
        self.is_ended = False
        self.is_followed = False  # By another attempt.
        self.is_reused = False
        self.status = 0
        self.trailers: Fields = _NO_TRAILERS
        self._permit: Permit | None = None
        self._held = b""
        self._writer: ResponseWriter | None = None

    # What the exchange does.

    def admit(self, method: str) -> None:
        """Ask the breaker.

        Raises:
            ProxyFault: The circuit is open; nothing was touched.
        """
        breaker = self.route.breaker
        if breaker is None:
            return
        self._permit = breaker.admit(self.start_s, is_safe=method in SAFE)
        if self._permit is None:
            raise ProxyFault(
                FaultCode.CIRCUIT_OPEN,
                f"upstream {self.route.route.upstream}: {breaker.cause}",
                retry_after_s=breaker.retry_after_s(self.start_s),
            )

    def send(self, method: str, head: bytes) -> None:
        """Send head and body; the rest of the body follows as it comes.

        Raises:
            ProxyFault: The connection was found closed; nothing was sent.
        """
        connection = self.connection
        assert connection is not None  # noqa: S101 - for the type checker
        if not connection.is_open or (self.is_reused and connection.has_input()):
            raise self._loss(connection.error, may_have_received=False)
        self.phase = _WRITE
        connection.begin(self, method, head)
        if self._body is not None:
            self._body.attach(connection)
        self.phase = _WAIT

    def relay_to(self, writer: ResponseWriter) -> bytes:
        """Let the body through from now on; return what came before."""
        self._writer = writer
        self.phase = _TUNNEL if self.status == _SWITCHING else _BODY
        held, self._held = self._held, b""
        if not self.is_ended and self.connection is not None:
            self.connection.resume_reading()
        return held

    def close(self, now_s: float) -> None:
        """Give back the connection, and tell the breaker how it went."""
        if self._body is not None:
            self._body.detach()
        connection, self.connection = self.connection, None
        if connection is not None and self.endpoint is not None:
            pool = self.route.upstream.pool
            is_sent = self._body is None or self._body.is_complete
            if self.is_ended and is_sent:
                connection.idle_limit_s = self._idle_limit_s()
                pool.give_back(self.endpoint, connection, now_s)
            else:
                self.broken = connection
                connection.close()
                pool.give_up(self.endpoint)
        self._settle(now_s)

    def on_switched(self, now_s: float) -> None:
        """It has become a tunnel: how that ends says nothing of the upstream."""
        self._settle(now_s)

    def _settle(self, now_s: float) -> None:
        is_good = self.fault is None and 0 < self.status < _SERVER_ERROR
        verdict = _GOOD if is_good else self._verdict()
        health, self.health = self.health, None
        if health is not None:
            if is_good and not health.is_marked:
                health.good += 1
            elif standing.settle(self, health, now_s):
                verdict = _NEUTRAL  # It says nothing of the upstream.
        permit, self._permit = self._permit, None
        if permit is not None and self.route.breaker is not None:
            self.route.breaker.settle(
                permit,
                verdict,
                now_s,
                is_connection_level=not is_good and self.has_lost_connection(),
                duration_s=(self.answered_s or now_s) - self.asked_s,
            )

    def record(self, now_s: float, span_id: int) -> Attempt:
        """Return what is to be told of it."""
        fault, broken = self.fault, self.broken
        return Attempt(
            self.n,
            "" if self.endpoint is None else self.endpoint.name,
            self.start_s,
            now_s - self.start_s,
            self.status,
            None if fault is None else fault.spec,
            self.phase if fault is None else fault.phase,
            Processed.YES if fault is None else fault.processed,
            self.is_reused,
            span_id,
            0.0 if broken is None else now_s - broken.opened_s,
            0 if broken is None else broken.served,
        )

    # What the connection tells (`ResponseSink`).

    def on_interim(self, head: ResponseHead) -> None:
        """Hand an interim response on."""
        self.has_interim = True
        self.story.forward_interim(head)

    def on_head(
        self, head: ResponseHead, content: bytes, trailers: Fields | None
    ) -> None:
        """Wake the exchange: it decides."""
        self.head = head
        self.status = head.status
        self.phase = _HEADERS
        self._held = content
        if trailers is not None:
            self.is_ended = True
            self.trailers = trailers
        self._meeting.deliver()

    def on_body(self, data: bytes) -> None:
        """Let bytes through, or hold them."""
        if self._writer is not None:
            self._writer.write(data)
            self.story.moved()
            return
        self._held += data
        if self.connection is not None:  # Nothing more until that is decided.
            self.connection.pause_reading()

    def on_end(self, trailers: Fields) -> None:
        """The response is whole."""
        self.is_ended = True
        self.trailers = trailers
        if self._writer is not None:
            self._meeting.deliver()

    def on_malformed(self, error: HeadError | FramingError) -> None:
        """The response is not HTTP."""
        self._fail(classify_malformed(error, self.phase, self._endpoint_name()))

    def on_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        connection = self.connection
        received = connection is None or connection.may_have_received
        self._fail(self._loss(error, may_have_received=received))

    def pause_writing(self) -> None:
        """The upstream reads slowly: so does the proxy."""
        self.story.pause_request()

    def resume_writing(self) -> None:
        """It reads again."""
        self.story.resume_request()

    # Inside.

    def _fail(self, fault: ProxyFault) -> None:
        self.fault = fault
        self._meeting.interrupt(fault)

    def _loss(self, error: Exception | None, *, may_have_received: bool) -> ProxyFault:
        connection = self.connection
        return classify_loss(
            error,
            self.phase,
            self._endpoint_name(),
            is_reused=self.is_reused and not self.has_interim,
            may_have_received=may_have_received,
            has_response_bytes=connection is not None and connection.has_response_bytes,
        )

    def _idle_limit_s(self) -> float:
        limit_s = self.route.upstream.settings.pool_idle_s
        if self.head is not None and b"keep-alive" in self.head.named:
            return idle_limit_s(limit_s, self.head.named[b"keep-alive"])
        return limit_s

    def has_lost_connection(self) -> bool:
        """Tell a connection that failed from an application that is slow."""
        fault = self.fault
        return (
            fault is not None
            and not self.status
            and (fault.timeout is None or fault.phase in _CONNECTION_PHASES)
        )

    def _verdict(self) -> Verdict:
        fault = self.fault
        if fault is not None:  # In the queue, nobody was asked anything.
            is_bad = fault.spec.blames_endpoint and fault.phase is not _QUEUE
            return _BAD if is_bad else _NEUTRAL
        if self.status in _FAILED:
            return _NEUTRAL if standing.is_refusal(self) else _BAD
        return _GOOD if self.status else _NEUTRAL

    def _endpoint_name(self) -> str:
        return "" if self.endpoint is None else self.endpoint.name
