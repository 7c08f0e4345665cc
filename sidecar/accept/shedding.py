"""Refusing work that there is no room for, at the least cost.

    ask       is this request refused, and for the sake of what
    park      hold the answer back; one timer releases all that are due
    answer    the bytes of the answer: made once a second, then only written

The first refusal of a route and a cause in a second is recorded like any failure,
and the answers of that second carry its id; the others are only counted. A feed of
ten thousand records a second would be an overload of its own.

While the loop is late, connections that wait to be accepted are few, too: the
kernel drops what is beyond, for nothing, where each that is accepted costs.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final

from sidecar import forwarding
from sidecar.accept.response import whole_reply
from sidecar.faults.catalogue import FaultCode
from sidecar.faults.render import ReplyRequest, render
from sidecar.model import Fault, Outcome, Phase, Processed
from sidecar.policy.overload import DESCRIPTORS, IN_FLIGHT, LAG, MEMORY
from sidecar.wire import trace_context

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.clock import Timer
    from sidecar.model import RequestHead
    from sidecar.runtime import Runtime

_TICK_S: Final = 0.02
_RECORD_EVERY_S: Final = 1.0
_MOST_RECORDS: Final = 10  # A second, of one listener.
_MOST_ANSWERS: Final = 256  # Kept; clients may vary their Accept without end.
_RETRY_AFTER_S: Final = (1.0, 2.0, 3.0)  # In turn: not all come back at once.
_BACKLOG: Final = 64  # While the loop is late.
_LEVEL_FIRST: Final = 2
_WORDS: Final = {
    LAG: "the event loop of the proxy is late",
    MEMORY: "resident memory of the proxy is near or over its limit",
    DESCRIPTORS: "descriptors of the proxy are near or over their limit",
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
        parked: Clients whose refusals are held back, and since when.
    """

    __slots__ = (
        "_alike",
        "_answers",
        "_backlog_socket",
        "_flusher",
        "_long_backlog",
        "_name",
        "_runtime",
        "_ticker",
        "_turn",
        "parked",
    )

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name = name
        self._runtime = runtime
        self.parked: deque[tuple[float, ClientConnection]] = deque()
        self._ticker: Timer | None = None
        self._flusher: Timer | None = None
        self._alike: dict[tuple[str, str], Alike] = {}
        self._answers: dict[tuple[object, ...], bytes] = {}
        self._turn = 0
        self._backlog_socket: socket.socket | None = None
        self._long_backlog = 0

    def __repr__(self) -> str:
        """Return its state in a line."""
        return f"<Shedder {self._name} parked={len(self.parked)}>"

    def ask(self, client: ClientConnection, head: RequestHead) -> str:
        """Return the resource for the sake of which a request is refused, or ""."""
        runtime = self._runtime
        found = runtime.tables[self._name].find(head)
        if found is None or not found.route.is_shed:
            return ""
        is_retry = client.is_trusted and is_marked_retry(head)
        return runtime.admission.ask(runtime.in_flight, is_retry=is_retry)

    def park(self, client: ClientConnection) -> float:
        """Hold the refusal of a client back, if that is due; return since when."""
        now_s = self._runtime.clock.now_s()
        if self._runtime.admission.hold_s > 0:
            client.park()
            self.parked.append((now_s, client))
            if self._ticker is None:
                self._tick_at(now_s + _TICK_S)
        return now_s

    def left(self, since_s: float) -> None:
        """A client did not wait for its refusal."""
        self._runtime.admission.left(self._runtime.clock.now_s() - since_s)

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
                alike.fault, head, keep_alive=keep_alive
            )
        return whole

    def watch_backlog(self, descriptor: int, backlog: int) -> None:
        """Keep the queue of new connections short while the loop is late.

        Args:
            descriptor: Of the socket that listens.
            backlog: How long the queue is at other times.
        """
        self._backlog_socket = socket.socket(fileno=os.dup(descriptor))
        self._long_backlog = backlog
        self._runtime.admission.on_lag.append(self._set_backlog)

    def close(self) -> None:
        """Count what is not counted yet, answer who waits; take no more."""
        if self._backlog_socket is not None:
            self._runtime.admission.on_lag.remove(self._set_backlog)
            self._backlog_socket.close()
            self._backlog_socket = None
        while self.parked:
            self.parked.popleft()[1].release()
        for timer in (self._ticker, self._flusher):
            if timer is not None:
                timer.cancel()
        self._ticker = None
        if self._flusher is not None:
            self._flush()

    def _set_backlog(self) -> None:
        """Linux takes another length for a socket that listens already."""
        if self._backlog_socket is not None:
            is_late = self._runtime.admission.is_lag_high
            self._backlog_socket.listen(_BACKLOG if is_late else self._long_backlog)

    def _tick_at(self, when_s: float) -> None:
        self._ticker = self._runtime.clock.call_at(when_s, self._tick)

    def _tick(self) -> None:
        """Release whose time has come; the longest held are first."""
        now_s = self._runtime.clock.now_s()
        until_s = now_s - self._runtime.admission.hold_s
        parked = self.parked
        while parked and parked[0][0] <= until_s:
            parked.popleft()[1].release()
        self._ticker = None
        if parked:
            self._tick_at(now_s + _TICK_S)

    def _alike_of(self, client: ClientConnection, head: RequestHead, why: str) -> Alike:
        found = self._runtime.tables[self._name].find(head)
        route = "" if found is None else found.route.name
        alike = self._alike.get((route, why))
        if alike is None and len(self._alike) >= _MOST_RECORDS:
            alike = next(iter(self._alike.values()))
        if alike is not None:
            alike.count += 1
            return alike
        fault = self._fault(why)
        outcome = self._outcome(client, head, fault)
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
        runtime = self._runtime
        found = runtime.tables[self._name].find(head)
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

    def _rendered(self, fault: Fault, head: RequestHead, *, keep_alive: bool) -> bytes:
        snapshot = self._runtime.snapshot
        asked = ReplyRequest(
            head.named.get(b"accept", b""),
            head.named.get(b"content-type", b""),
            snapshot.status_profile,
            snapshot.expose,
        )
        reply = render(fault, fault.spec.status, asked)
        via, minor = self._runtime.via_line, head.minor
        return whole_reply(reply, head.method, via, minor, keep_alive=keep_alive)


def is_marked_retry(head: RequestHead) -> bool:
    """Tell whether a request says that it was sent before (semantics: ours, Envoy's).

    gRPC counts what went before in grpc-previous-rpc-attempts.
    """
    named = head.named
    if _TRIES_BEFORE in named and named[_TRIES_BEFORE] != b"0":
        return True
    return any(named.get(name, _FIRST) != _FIRST for name in _TRIES)
