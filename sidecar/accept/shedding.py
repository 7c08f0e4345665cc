"""Refusing work that there is no room for, at the least cost.

    ask       is this request refused, and for the sake of what
    answer    the bytes of the answer: made once a second, then only written
    sweep     connections that wait for too long to be accepted

The first refusal of a route and a cause in a second is recorded like any failure,
and the answers of that second carry its id; the others are only counted. A feed of
ten thousand records a second would be an overload of its own.

A refusal costs much less than a request, but not nothing: at five times of what can
be served, refusing alone could take all there is to serve with. Hence who is refused
because the loop is late loses the connection, and has to come back by way of the
queue of the socket, which is kept short then: the kernel drops what is beyond, for
nothing.

The loop takes one new connection a turn, so too many of them do not show as lag:
they wait in that queue, until their clients have given up. So that wait is watched
like lag, and who has waited for too long gets a short answer without being read.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sidecar import forwarding
from sidecar.accept.response import whole_reply
from sidecar.faults.catalogue import FaultCode
from sidecar.faults.render import ReplyRequest, render
from sidecar.model import Fault, Outcome, Phase, Processed, TraceContext
from sidecar.policy.overload import DESCRIPTORS, IN_FLIGHT, LAG, MEMORY, QUEUE
from sidecar.wire import trace_context

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.clock import Timer
    from sidecar.model import RequestHead
    from sidecar.route.table import Found
    from sidecar.runtime import Runtime

_TICK_S: Final = 0.1
_FAST_TICK_S: Final = 0.02  # While the loop is late.
_MEAN_OF_S: Final = 0.3  # For the mean of what is accepted.
_LEAST_SINCE_S: Final = 1e-3
_MOST_SWEPT: Final = 100  # At once: they cost, too, if little.
_RECORD_EVERY_S: Final = 1.0
_MOST_RECORDS: Final = 10  # A second, of one listener.
_MOST_ANSWERS: Final = 256  # Kept; clients may vary their Accept without end.
_RETRY_AFTER_S: Final = (1.0, 2.0, 3.0)  # In turn: not all come back at once.
_LEAST_BACKLOG: Final = 16
_READ_BYTES: Final = 16 * 1024
_TCP_INFO_BYTES: Final = 32
_UNACKED: Final = struct.Struct("24xI")  # tcpi_unacked: of a listener, who waits.
_LEVEL_FIRST: Final = 2
_WORDS: Final = {
    LAG: "the event loop of the proxy is late",
    MEMORY: "resident memory of the proxy is near or over its limit",
    DESCRIPTORS: "descriptors of the proxy are near or over their limit",
    QUEUE: "connections to the proxy wait for too long",
    IN_FLIGHT: "the proxy has as many requests as it may have",
}
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
    """Refuses requests of one listener.

    Attributes:
        accepted: Connections, since the last look at those that wait.
    """

    __slots__ = (
        "_alike",
        "_answers",
        "_backlog",
        "_flusher",
        "_found",
        "_listener",
        "_long_backlog",
        "_looked_s",
        "_name",
        "_per_s",
        "_runtime",
        "_ticker",
        "_turn",
        "accepted",
    )

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name = name
        self._runtime = runtime
        self._ticker: Timer | None = None
        self._flusher: Timer | None = None
        self._alike: dict[tuple[str, str], Alike] = {}
        self._answers: dict[tuple[object, ...], bytes] = {}
        self._turn = 0
        self._found: Found | None = None  # The route of the request asked about last.
        self._listener: socket.socket | None = None
        self._long_backlog = self._backlog = 0
        self._looked_s = 0.0
        self._per_s = 0.0  # Connections accepted, of late.
        self.accepted = 0

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Shedder {self._name} backlog={self._backlog}>"

    def ask(self, client: ClientConnection, head: RequestHead) -> str:
        """Return the resource for the sake of which a request is refused, or ""."""
        runtime = self._runtime
        found = self._found = runtime.tables[self._name].find(head)
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
            whole = self._answers[key] = self._rendered(
                alike.fault,
                accept,
                kind,
                head.method,
                head.minor,
                keep_alive=keep_alive,
            )
        return whole

    def watch(self, descriptor: int, backlog: int) -> None:
        """Watch how long new connections wait, and let them not wait for too long.

        Args:
            descriptor: Of the socket that listens.
            backlog: How many may wait, when all is well.
        """
        self._listener = socket.socket(fileno=os.dup(descriptor))
        self._listener.setblocking(False)
        self._long_backlog = self._backlog = backlog
        self._looked_s = self._runtime.clock.now_s()
        self._tick_at(self._looked_s + _TICK_S)

    def close(self) -> None:
        """Count what is not counted yet, answer who waits; take no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        if self._flusher is not None:
            self._flusher.cancel()
            self._flush()

    def _tick_at(self, when_s: float) -> None:
        self._ticker = self._runtime.clock.call_at(when_s, self.look)

    def look(self) -> None:
        """Look how long who connects now would wait."""
        listener, now_s = self._listener, self._runtime.clock.now_s()
        if listener is None:
            return
        admission, limit_s = self._runtime.admission, self._runtime.snapshot.overload
        since_s = max(now_s - self._looked_s, _LEAST_SINCE_S)
        share = min(1.0, since_s / _MEAN_OF_S)
        self._per_s += share * (self.accepted / since_s - self._per_s)
        self._looked_s, self.accepted = now_s, 0
        count, refused, is_full = waiting(listener), 0, False
        wait_s = count / max(self._per_s, 1.0)
        if admission.is_late:
            most = max(_LEAST_BACKLOG, int(self._per_s * limit_s.lag_s / 2))
            refused = self._sweep(listener, min(count - most, _MOST_SWEPT))
            is_full = count >= min(most, self._backlog)  # The kernel refuses, too.
            self._set_backlog(most)
        else:
            self._set_backlog(self._long_backlog)
        admission.observe_queue(now_s, wait_s, has_refused=refused > 0 or is_full)
        self._tick_at(now_s + (_TICK_S if not admission.is_late else _FAST_TICK_S))

    def _set_backlog(self, most: int) -> None:
        """Linux takes another length for a socket that listens already."""
        if self._listener is not None and most != self._backlog:
            self._backlog = most
            self._listener.listen(most)

    def _sweep(self, listener: socket.socket, count: int) -> int:
        """Refuse so many of the connections that have waited longest."""
        swept = 0
        answer = b""
        for _ in range(count):
            try:
                connection, address = listener.accept()
            except OSError:  # None is left, or no descriptor.
                break
            swept += 1
            answer = answer or self._swept_answer(str(address[0]))
            _refuse_unread(connection, answer)
        if swept:
            self._runtime.admission.count(QUEUE, "connection", swept)
            self._alike["", QUEUE].count += swept - 1
        return swept

    def _swept_answer(self, peer: str) -> bytes:
        """Count a connection, and return what it is told."""
        alike = self._alike.get(("", QUEUE))
        if alike is not None:
            alike.count += 1
        else:
            fault = self._fault(QUEUE)
            rng = self._runtime.rng
            trace = TraceContext(
                rng.getrandbits(128) or 1, 0, rng.getrandbits(64) or 1, False, b""
            )
            now_s, wall_ns = self._runtime.clock.now_s(), self._runtime.clock.wall_ns()
            alike = self._record("", QUEUE, fault, Outcome(
                self._name, "", "", "_OTHER", b"", "", b"", peer, fault.spec.status,
                fault, now_s, wall_ns, 0.0, 0, 0, (), "", trace, "", False,
            ))  # fmt: skip
        return self._rendered(alike.fault, b"", b"", "", 1, keep_alive=False)

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
        snapshot, via = self._runtime.snapshot, self._runtime.via_line
        asked = ReplyRequest(
            accept, content_type, snapshot.status_profile, snapshot.expose
        )
        reply = render(fault, fault.spec.status, asked)
        return whole_reply(reply, method, via, minor, keep_alive=keep_alive)


def is_marked_retry(head: RequestHead) -> bool:
    """Tell whether a request says that it was sent before (semantics: ours, Envoy's).

    gRPC counts what went before in grpc-previous-rpc-attempts.
    """
    named = head.named
    if _TRIES_BEFORE in named and named[_TRIES_BEFORE] != b"0":
        return True
    return any(named.get(name, _FIRST) != _FIRST for name in _TRIES)


def waiting(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted; 0 where nobody tells."""
    try:
        told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(_UNACKED.unpack_from(told)[0])
    except (OSError, AttributeError, struct.error):
        return 0


def _refuse_unread(connection: socket.socket, answer: bytes) -> None:
    """Answer and close; what came is read, or the close would be a reset."""
    with connection, suppress(OSError):  # It has gone, or has not sent anything yet.
        connection.setblocking(False)
        connection.send(answer, socket.MSG_NOSIGNAL)
        connection.recv(_READ_BYTES)
