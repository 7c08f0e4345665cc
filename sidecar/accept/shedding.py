"""Refusing work that there is no room for, at the least cost.

    ask       is this request refused, and for the sake of what
    answer    the bytes of the answer: made once a second, then only written

The first refusal of a route and a cause in a second is recorded like any failure,
and the answers of that second carry its id; the others are only counted. A feed of
ten thousand records a second would be an overload of its own.

A refusal costs much less than a request, but not nothing: at five times of what can
be served, refusing alone could take all there is to serve with. Hence who is refused
because the loop is late loses the connection, and has to come back by way of the
queue of the socket (`accept_queue.py`), which is kept short then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar import forwarding
from sidecar.accept.refusal import outcome_of_nobody
from sidecar.accept.response import whole_reply
from sidecar.faults.catalogue import FaultCode
from sidecar.model import Fault, Outcome, Phase, Processed
from sidecar.policy.overload import DESCRIPTORS, IN_FLIGHT, LAG, MEMORY, QUEUE
from sidecar.wire import trace_context

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.clock import Timer
    from sidecar.model import RequestHead
    from sidecar.route.table import Found
    from sidecar.runtime import Runtime

_RECORD_EVERY_S: Final = 1.0
_MOST_RECORDS: Final = 10  # A second, of one listener.
_MOST_ANSWERS: Final = 256  # Kept; clients may vary their Accept without end.
_RETRY_AFTER_S: Final = (1.0, 2.0, 3.0)  # In turn: not all come back at once.
_LEVEL_FIRST: Final = 2
_WORDS: Final = {
    LAG: "the event loop of the proxy is late",
    MEMORY: "resident memory of the proxy is near or over its limit",
    DESCRIPTORS: "descriptors of the proxy are near or over their limit",
    QUEUE: "connections to the proxy wait for too long",
    IN_FLIGHT: "the proxy has as many requests as it may have",
}
_UNREAD: Final = ("", QUEUE)
_FIRST: Final = b"1"
_TRIES: Final = (b"x-316-attempt", b"x-envoy-attempt-count")
_TRIES_BEFORE: Final = b"grpc-previous-rpc-attempts"


class Alike:
    """Refusals of one second for the same route and cause.

    Attributes:
        fault: Of the first one.
        outcome: Likewise; recorded.
        count: How many others there were.
    """

    __slots__ = ("count", "fault", "outcome")

    def __init__(self, fault: Fault, outcome: Outcome) -> None:
        self.fault = fault
        self.outcome = outcome
        self.count = 0


class Shedder:
    """Refuses requests of one listener."""

    __slots__ = (
        "_alike",
        "_answers",
        "_flusher",
        "_found",
        "_name",
        "_runtime",
        "_turn",
    )  # fmt: skip

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name = name
        self._runtime = runtime
        self._flusher: Timer | None = None
        self._alike: dict[tuple[str, str], Alike] = {}
        self._answers: dict[tuple[object, ...], bytes] = {}
        self._turn = 0
        self._found: Found | None = None  # The route of the request asked about last.

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Shedder {self._name} alike={len(self._alike)}>"

    def ask(self, client: ClientConnection, head: RequestHead) -> str:
        """Return the resource for the sake of which a request is refused, or ""."""
        runtime = self._runtime
        found = self._found = client.find_route(head)
        if found is None or not found.route.is_shed:
            return ""
        is_retry = client.is_trusted and is_marked_retry(head)
        return runtime.admission.ask(runtime.in_flight, is_retry=is_retry)

    def keeps(self, why: str) -> bool:
        """Tell whether who is refused may ask again on the same connection."""
        return why != LAG

    def answer(
        self, client: ClientConnection, head: RequestHead, why: str, *, keep_alive: bool
    ) -> bytes:
        """Return the whole answer to a request that is refused, and count it."""
        alike = self._alike_of(client, head, why)
        self._turn = (self._turn + 1) % len(_RETRY_AFTER_S)
        named = head.named
        accept, kind = named.get(b"accept", b""), named.get(b"content-type", b"")
        is_head = head.method == "HEAD"
        key = (id(alike), self._turn, accept, kind, is_head, head.minor, keep_alive)
        whole = self._answers.get(key)
        if whole is None:
            if len(self._answers) >= _MOST_ANSWERS:
                self._answers.clear()
            alike.fault.retry_after_s = _RETRY_AFTER_S[self._turn]
            method, minor = head.method, head.minor
            whole = self._answers[key] = self._rendered(
                alike.fault, accept, kind, method, minor, keep_alive=keep_alive
            )
        return whole

    def answer_unread(self, peer: str) -> bytes:
        """Return what a connection is told that is closed without being read."""
        alike = self._alike.get(_UNREAD)
        if alike is None:
            fault = self._fault(QUEUE)
            outcome = outcome_of_nobody(self._runtime, self._name, peer, fault)
            alike = self._record(*_UNREAD, fault, outcome)
            alike.count -= 1  # `count_unread` counts it.
        return self._rendered(alike.fault, b"", b"", "", 1, keep_alive=False)

    def count_unread(self, count: int) -> None:
        """Count connections that were told so."""
        self._runtime.admission.count(QUEUE, "connection", count)
        self._alike[_UNREAD].count += count

    def close(self) -> None:
        """Count what is not counted yet."""
        if self._flusher is not None:
            self._flusher.cancel()
            self._flush()

    def _alike_of(self, client: ClientConnection, head: RequestHead, why: str) -> Alike:
        found = self._found
        route = "" if found is None else found.route.name
        if len(self._alike) >= _MOST_RECORDS and (route, why) not in self._alike:
            route = ""  # All other routes of this second are one.
        alike = self._alike.get((route, why))
        if alike is not None:
            alike.count += 1
            return alike
        fault = self._fault(why)
        return self._record(route, why, fault, self._outcome(client, head, fault))

    def _record(self, route: str, why: str, fault: Fault, outcome: Outcome) -> Alike:
        """Record a refusal; others like it in this second are counted with it."""
        self._runtime.recorder.record(outcome)
        alike = self._alike[route, why] = Alike(fault, outcome)
        if self._flusher is None:
            clock = self._runtime.clock
            self._flusher = clock.call_at(clock.now_s() + _RECORD_EVERY_S, self._flush)
        return alike

    def _flush(self) -> None:
        """A second is over: count what was like its records, and begin anew."""
        self._flusher = None
        for alike in self._alike.values():
            if alike.count:
                self._runtime.recorder.count_alike(alike.outcome, alike.count)
        self._alike.clear()
        self._answers.clear()

    def _fault(self, why: str) -> Fault:
        code = FaultCode.MEM_PRESSURE if why == MEMORY else FaultCode.OVERLOAD
        return Fault(
            code.spec,
            self._runtime.new_fault_id(),
            code.spec.origin,
            Phase.REQUEST,
            Processed.NO,
            self._detail(why),
            None,
            _RETRY_AFTER_S[0],
        )

    def _detail(self, why: str) -> str:
        """Say what runs short, for the record and the answer."""
        level = self._runtime.admission.levels()[why]
        what = "retries are" if level < _LEVEL_FIRST else "requests are"
        return f"{_WORDS[why]}, {self._runtime.in_flight} in flight: {what} refused"

    def _outcome(
        self, client: ClientConnection, head: RequestHead, fault: Fault
    ) -> Outcome:
        runtime, found = self._runtime, self._found
        trace = trace_context.begin(head.named, runtime.rng, runtime.sample_ratio)
        return Outcome(
            self._name,
            "" if found is None else found.route.name,
            "" if found is None else found.route.upstream,
            head.method,
            head.path,
            "" if found is None else found.template,
            head.authority,
            client.peer,
            fault.spec.status,
            fault,
            runtime.clock.now_s(),
            runtime.clock.wall_ns(),
            0.0,
            0,
            0,
            (),
            "",
            trace,
            forwarding.request_id(head, trace, runtime.rng).decode("latin-1"),
            False,
            runtime.recorder.headers_of(head.named),
        )

    def _rendered(
        self,
        fault: Fault,
        accept: bytes,
        content_type: bytes,
        method: str,
        minor: int,
        *,
        keep_alive: bool,
    ) -> bytes:
        runtime = self._runtime
        reply = runtime.reply_to(fault, fault.spec.status, accept, content_type)
        return whole_reply(
            reply, method, runtime.via_line, minor, keep_alive=keep_alive
        )


def is_marked_retry(head: RequestHead) -> bool:
    """Tell whether a request says that it was sent before (semantics: ours, Envoy's).

    gRPC counts what went before in grpc-previous-rpc-attempts.
    """
    named = head.named
    if _TRIES_BEFORE in named and named[_TRIES_BEFORE] != b"0":
        return True
    return any(named.get(name, _FIRST) != _FIRST for name in _TRIES)
