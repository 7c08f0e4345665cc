"""Any conversation, held whole and in pieces: both ends get the same.

Two wires stand side by side and are told the same, step by step: clients connect,
ask in parts, end their half, leave; origins answer in parts, break off, close; either
stops reading for a while; time passes; the proxy drains. On one wire each part is sent
whole, on the other byte by byte or in small pieces. After each step both must have
got the same, and each response belongs to its request, in the order of the requests.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.ends import End

# More of them on demand; this many take some seconds.
EXAMPLES = int(os.environ.get("SIDECAR_EXAMPLES", "150"))
STEPS = 40
RETRY = {"preset": "idempotent", "backoff": {"base": "0s"}}
VARYING = re.compile(  # Ids made by chance; a time that is told if it runs already.
    rb"\r\n(x-request-id|traceparent|x-316-deadline-ms|x-316-fault-id): [^\r]*",
    re.IGNORECASE,
)
ASKED = re.compile(rb"(GET|HEAD|POST) /([0-9]+) HTTP/1\.1\r\n")
NUMBER = re.compile(rb"\r\nX-N: ([0-9]+)\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n")
NO_CONTENT = (204, 304)

FILL = st.sampled_from([b"", b"x", b"\r\n", b"0\r\n\r\n", b"y" * 40, b"z" * 300])
CUTS = st.lists(st.integers(0, 400), max_size=3)
PIECES = st.sampled_from([1, 1, 2, 7, 50])
PICK = st.sampled_from(range(8))
SELDOM = 6  # Of a pick: what ends much is not done each time.
WAITS_S = [0.01, 0.01, 0.1, 0.1, 0.3, 1.0, 4.0, 16.0, 70.0, 400.0]
REQUESTS = (
    "get", "get", "head", "post", "post", "chunked", "chunked", "expect", "upgrade",
    "last", "old",
)  # fmt: skip
RESPONSES = (
    "length", "length", "chunked", "chunked", "until close", "none", "not modified",
    "hints", "continue", "unavailable", "last",
)  # fmt: skip
ANSWERS = st.sampled_from(RESPONSES)
TUNNEL_FOR = ("length", "chunked", "hints")  # To who asks for an upgrade.


def chunks(fill: bytes, trailers: bytes = b"") -> bytes:
    """Return `fill` as two chunks."""
    halves = [half for half in (fill[:3], fill[3:]) if half]
    body = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
    return body + b"0\r\n" + trailers + b"\r\n"


def request(number: int, kind: str, fill: bytes) -> bytes:
    """Return a request that can be told from all others."""
    method = {"get": b"GET", "upgrade": b"GET", "last": b"GET", "old": b"GET"}
    start = b"%b /%d HTTP/1.%d\r\nHost: a\r\n" % (
        b"HEAD" if kind == "head" else method.get(kind, b"POST"),
        number,
        0 if kind == "old" else 1,
    )
    length = b"Content-Length: %d\r\n\r\n%b" % (len(fill), fill)
    return start + {
        "post": length,
        "expect": b"Expect: 100-continue\r\n" + length,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n" + chunks(fill, b"X-T: 1\r\n"),
        "upgrade": b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        "last": b"Connection: close\r\n\r\n",
    }.get(kind, b"\r\n")


def response(number: int, kind: str, fill: bytes, *, is_head: bool) -> bytes:
    """Return a response that names its request."""
    status = {
        "none": b"204 No Content", "not modified": b"304 Not Modified",
        "unavailable": b"503 Service Unavailable", "upgrade": b"101 Switching",
    }  # fmt: skip
    head = b"HTTP/1.1 %b\r\nX-N: %d\r\n" % (status.get(kind, b"200 OK"), number)
    content = b"" if is_head else fill
    length = b"Content-Length: %d\r\n\r\n%b" % (len(fill), content)
    if kind in ("none", "not modified"):
        return head + b"\r\n"
    if kind == "chunked":
        body = b"" if is_head else chunks(fill, b"X-T: 2\r\n")
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + body
    if kind == "until close":
        return head + b"\r\n" + content
    if kind == "upgrade":
        return head + b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    before = {
        "hints": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        "continue": b"HTTP/1.1 100 Continue\r\n\r\n",
    }
    if kind == "last":
        length = b"Connection: close\r\n" + length
    return before.get(kind, b"") + head + length


def split(raw: bytes, cuts: list[int]) -> list[bytes]:
    """Return `raw` in parts, none of them empty."""
    ends = sorted({cut for cut in cuts if 0 < cut < len(raw)} | {len(raw)})
    starts = [0, *ends[:-1]]
    return [raw[start:end] for start, end in zip(starts, ends, strict=True)]


class Message(NamedTuple):
    """A request or response as far as it has come."""

    start: bytes
    head: bytes  # Without what chance has made; empty: it says what failed.
    content: bytes
    is_whole: bool

    @property
    def status(self) -> int:
        return int(self.start[9:12])

    @property
    def number(self) -> int | None:
        """Return that of the request which a response says it answers."""
        named = NUMBER.search(self.head)
        return int(named[1]) if named else None


def read(raw: bytes, methods: list[bytes] | None = None) -> list[Message]:
    """Read a stream of requests, or of responses to requests of these methods."""
    messages: list[Message] = []
    finals = 0
    while raw:
        head, mark, rest = raw.partition(b"\r\n\r\n")
        start, _, _ = head.partition(b"\r\n")
        head = VARYING.sub(b"", head + b"\r\n")
        if not mark:
            return [*messages, Message(b"", raw, b"", is_whole=False)]
        if methods is None:
            content, raw, is_whole = body(head, rest, is_request=True)
        else:
            status = int(start[9:12])
            is_bare = status < 200 or status in NO_CONTENT
            is_bare |= finals < len(methods) and methods[finals] == b"HEAD"
            finals += status >= 200
            if status == 101:
                content, raw, is_whole = rest, b"", False
            elif is_bare:
                content, raw, is_whole = b"", rest, True
            else:
                content, raw, is_whole = body(head, rest, is_request=False)
        messages.append(Message(start, head, content, is_whole))
    return messages


def body(head: bytes, rest: bytes, *, is_request: bool) -> tuple[bytes, bytes, bool]:
    """Return content, what follows it, and whether it is whole."""
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked\r\n" in lower:
        return dechunked(rest)
    length = LENGTH.search(lower)
    if length is None:
        return (b"", rest, True) if is_request else (rest, b"", False)
    size = int(length[1])
    return rest[:size], rest[size:], len(rest) >= size


def dechunked(raw: bytes) -> tuple[bytes, bytes, bool]:
    content = b""
    while True:
        line, mark, rest = raw.partition(b"\r\n")
        if not mark:
            return content, b"", False
        size = int(line, 16)
        if not size:
            break
        content, raw = content + rest[:size], rest[size + 2 :]
    trailers, mark, rest = (b"\r\n" + rest).partition(b"\r\n\r\n")
    return content + trailers, rest, bool(mark)


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


class Side:
    """One of the two wires."""

    def __init__(self, piece_bytes: int) -> None:
        self.piece_bytes = piece_bytes  # 0: whole.
        self.wire = FakeWire(
            retry=RETRY,
            circuit_breaker="off",  # Open, it answers at a head: before the body.
            top={"limits": {"buffer": "1KiB"}},
            upstream={"is_peer": True},
        )
        self.clients: list[End] = []

    def send(self, end: End, raw: bytes) -> None:
        end.send(raw, self.piece_bytes)

    def asked(self) -> Counter[int]:
        """Count how often each request has come to an origin."""
        return Counter(
            int(number)
            for origin in self.wire.origins
            for _, number in ASKED.findall(origin.received)
        )

    def origin_of(self, number: int) -> End | None:
        """Return the open connection whose last request is this one."""
        for origin in reversed(self.wire.origins):
            asked = ASKED.findall(origin.received)
            if asked and int(asked[-1][1]) == number:
                return None if origin.is_closed else origin
        return None


@dataclass
class Client:
    """What the model knows of a client."""

    asked: list[tuple[int, str]] = field(default_factory=list)
    to_come: list[bytes] = field(default_factory=list)  # Of the last request.
    has_ended: bool = False
    is_last: bool = False  # It asked for something after which nothing can be asked.

    @property
    def methods(self) -> list[bytes]:
        names = {"head": b"HEAD"}
        return [names.get(kind, b"GET") for _, kind in self.asked]


@dataclass
class Answer:
    """What the model knows of an answer that has begun."""

    to_come: list[bytes]
    closes: bool
    is_tunnel: bool
    is_uncut: bool  # If only its head is here, an attempt ends with its connection.


class Conversation(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.errors = Errors()
        logging.getLogger("sidecar").addHandler(self.errors)
        self.sides: tuple[Side, ...] = ()
        self.clients: list[Client] = []
        self.kinds: dict[int, str] = {}
        self.answers: dict[int, Answer] = {}
        self.begun: Counter[int] = Counter()
        self.stopped: list[tuple[str, int]] = []
        self.has_stopped = False
        self.is_draining = False

    @initialize(piece_bytes=PIECES)
    def begin(self, piece_bytes: int) -> None:
        self.sides = (Side(0), Side(piece_bytes))
        self.connect()
        self.connect()

    # What is possible now.

    def askers(self) -> list[int]:
        """Clients that may begin a request."""
        if self.is_draining:
            return []  # It is refused at its head: in pieces, before its body is here.
        return [
            index
            for index, client in enumerate(self.clients)
            if not (client.to_come or client.has_ended or client.is_last)
        ]

    def unfinished(self) -> list[int]:
        return [index for index, client in enumerate(self.clients) if client.to_come]

    def answerable(self) -> list[int]:
        """Requests that have come to an origin, on both wires, and wait there."""
        one, other = (side.asked() for side in self.sides)
        return [
            number
            for number in one
            if one[number] == other[number] > self.begun[number]
            and all(side.origin_of(number) for side in self.sides)
        ]

    def under_way(self) -> list[int]:
        """Requests with an answer that has begun, and is not whole."""
        return [
            number
            for number, answer in self.answers.items()
            if (answer.to_come or answer.closes)
            and all(side.origin_of(number) for side in self.sides)
        ]

    def tunnels(self) -> list[tuple[int, int]]:
        """Clients, and requests, that speak something else by now."""
        return [
            (index, number)
            for index, client in enumerate(self.clients)
            for number, _ in client.asked[-1:]
            if not client.has_ended
            and number in self.answers
            and self.answers[number].is_tunnel
            and not self.answers[number].to_come
            and all(side.origin_of(number) for side in self.sides)
        ]

    def both(self, act: Callable[[Side], Any]) -> None:
        for side in self.sides:
            act(side)

    def to_client(self, index: int, act: Callable[[Side, End], Any]) -> None:
        self.both(lambda side: act(side, side.clients[index]))

    def to_origin(self, number: int, act: Callable[[Side, End], Any]) -> None:
        for side in self.sides:
            origin = side.origin_of(number)
            if origin is not None:
                act(side, origin)

    # What clients do.

    @precondition(lambda self: len(self.clients) < 4 and not self.is_draining)
    @rule()
    def connect(self) -> None:
        self._tick()
        self.clients.append(Client())
        self.both(lambda side: side.clients.append(side.wire.client()))

    @precondition(lambda self: self.askers())
    @rule(
        pick=PICK,
        kinds=st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=2),
        fill=FILL,
        cuts=CUTS,
    )
    def ask(self, pick: int, kinds: list[str], fill: bytes, cuts: list[int]) -> None:
        """Begin a request, or two in one go; the rest of it may come later."""
        askers = self.askers()
        index = askers[pick % len(askers)]
        client = self.clients[index]
        raw = b""
        for kind in kinds:
            number = len(self.kinds) + 1
            self.kinds[number] = kind
            client.asked.append((number, kind))
            raw += request(number, kind, fill)
            if kind in ("upgrade", "last", "old"):
                client.is_last = True
                break
        client.to_come = split(raw, cuts)
        self._send_on(index)

    @precondition(lambda self: self.askers())
    @rule(pick=PICK, kind=st.sampled_from(REQUESTS), answer=ANSWERS, fill=FILL)
    def ask_and_answer(self, pick: int, kind: str, answer: str, fill: bytes) -> None:
        """What happens most of the time, if the client is not behind with another."""
        self.ask(pick, [kind], fill, [])
        number = len(self.kinds)
        if number in self.answerable():
            self._answer(number, answer, fill, [])

    @precondition(lambda self: self.unfinished())
    @rule(pick=PICK)
    def ask_on(self, pick: int) -> None:
        waiting = self.unfinished()
        self._send_on(waiting[pick % len(waiting)])

    def _send_on(self, index: int) -> None:
        self._tick()
        part = self.clients[index].to_come.pop(0)
        self.to_client(index, lambda side, end: side.send(end, part))

    def _tick(self) -> None:
        """Let no two limits fall due at the same time: their order means nothing."""
        self.both(lambda side: side.wire.clock.advance(0.001))

    @precondition(lambda self: self.clients and not self.stopped)
    @rule(pick=PICK, again=PICK, is_abrupt=st.booleans())
    def end_client(self, pick: int, again: int, *, is_abrupt: bool) -> None:
        """A client ends its half, or is gone."""
        index = pick % len(self.clients)
        client = self.clients[index]
        if client.has_ended or again < SELDOM:
            return
        client.has_ended, client.to_come = True, []
        if is_abrupt:
            self.to_client(index, lambda _, end: end.leave())
        else:
            self.to_client(index, lambda _, end: end.send_eof())

    # What origins do.

    @precondition(lambda self: self.answerable())
    @rule(pick=PICK, kind=ANSWERS, fill=FILL, cuts=CUTS)
    def answer(self, pick: int, kind: str, fill: bytes, cuts: list[int]) -> None:
        """Begin an answer, perhaps before all of the request is there."""
        numbers = self.answerable()
        self._answer(numbers[pick % len(numbers)], kind, fill, cuts)

    def _answer(self, number: int, kind: str, fill: bytes, cuts: list[int]) -> None:
        asked = self.kinds[number]
        if asked == "upgrade" and kind in TUNNEL_FOR:
            kind = "upgrade"
        raw = response(number, kind, fill, is_head=asked == "head")
        closes = kind in ("until close", "last")
        self.begun[number] += 1
        parts = split(raw, cuts)
        self.answers[number] = Answer(
            parts,
            closes,
            is_tunnel=kind == "upgrade",
            is_uncut=kind == "unavailable",
        )
        self._answer_on(number)

    @precondition(lambda self: self.under_way())
    @rule(pick=PICK)
    def answer_on(self, pick: int) -> None:
        numbers = self.under_way()
        self._answer_on(numbers[pick % len(numbers)])

    def _answer_on(self, number: int) -> None:
        self._tick()
        answer = self.answers[number]
        if answer.to_come:
            part = answer.to_come.pop(0)
            if answer.is_uncut:
                self.to_origin(number, lambda _, end: end.send(part))
            else:
                self.to_origin(number, lambda side, end: side.send(end, part))
        else:
            answer.closes = False
            self.to_origin(number, lambda _, end: end.send_eof())

    @precondition(lambda self: not self.stopped and any(self.begun_or_waiting()))
    @rule(pick=PICK, again=PICK, is_reset=st.booleans())
    def end_origin(self, pick: int, again: int, *, is_reset: bool) -> None:
        """An origin closes, or crashes, whatever it was doing."""
        if again < SELDOM - 2:
            return
        numbers = self.begun_or_waiting()
        number = numbers[pick % len(numbers)]
        self.begun[number] = self.sides[0].asked()[number]
        self.answers.pop(number, None)
        if is_reset:
            self.to_origin(number, lambda _, end: end.leave(ConnectionResetError()))
        else:
            self.to_origin(number, lambda _, end: end.send_eof())

    def begun_or_waiting(self) -> list[int]:
        return [
            number
            for number in self.kinds
            if all(side.origin_of(number) for side in self.sides)
        ]

    # What either does.

    @precondition(lambda self: self.tunnels())
    @rule(pick=PICK, is_client=st.booleans(), said=st.binary(min_size=1, max_size=20))
    def speak(self, pick: int, said: bytes, *, is_client: bool) -> None:
        """Say something through a tunnel."""
        index, number = self.tunnels()[pick % len(self.tunnels())]
        if is_client:
            self.to_client(index, lambda side, end: side.send(end, said))
        else:
            self.to_origin(number, lambda side, end: side.send(end, said))

    @precondition(lambda self: self.clients and not self.stopped)
    @rule(pick=PICK, is_client=st.booleans())
    def stop_taking(self, pick: int, *, is_client: bool) -> None:
        """Somebody does not read what comes."""
        self.has_stopped = True
        if is_client:
            index = pick % len(self.clients)
            self.stopped.append(("client", index))
            self.to_client(index, lambda _, end: end.stop_taking())
            return
        numbers = self.begun_or_waiting()
        if numbers:
            number = numbers[pick % len(numbers)]
            self.stopped.append(("origin", number))
            self.to_origin(number, lambda _, end: end.stop_taking())

    @precondition(lambda self: self.stopped)
    @rule()
    def take_on(self) -> None:
        self.stopped.clear()
        for side in self.sides:
            for end in (*side.clients, *side.wire.origins):
                if not end.transport.is_taking:
                    end.take_all()

    # What nobody does.

    @precondition(lambda self: not self.stopped)
    @rule(seconds=st.sampled_from(WAITS_S))
    def wait(self, seconds: float) -> None:
        self.both(lambda side: side.wire.clock.advance(seconds))

    @precondition(
        lambda self: not (self.stopped or self.is_draining or self.unfinished())
    )
    @rule(pick=PICK, again=PICK)
    def drain(self, pick: int, again: int) -> None:
        """Seldom, for not much is left to be seen after it."""
        if pick < SELDOM or again < SELDOM:
            return
        self.is_draining = True
        for side in self.sides:
            side.wire.runtime.is_draining = True
            for connection in list(side.wire.acceptor.connections):
                connection.drain()
            side.wire.turn()

    # What is true after each step.

    @invariant()
    def both_ends_got_the_same(self) -> None:
        if self.stopped or not self.sides:
            return
        one, other = (self.seen(side) for side in self.sides)
        assert one == other

    def seen(self, side: Side) -> tuple[Any, ...]:
        """Return what all ends of a wire have got, and which of them are closed."""
        clients = [
            (told(read(end.received, client.methods)), end.is_closed, end.has_eof)
            for end, client in zip(side.clients, self.clients, strict=True)
        ]
        origins = [read(origin.received) for origin in side.wire.origins]
        closed = [origin.is_closed for origin in side.wire.origins]
        if self.has_stopped:  # What waits may have gone on on another connection.
            messages = sorted(message for origin in origins for message in origin)
            return clients, messages
        return clients, origins, closed

    @invariant()
    def each_response_belongs_to_its_request(self) -> None:
        for side in self.sides:
            for end, client in zip(side.clients, self.clients, strict=True):
                got = read(end.received, client.methods)
                finals = [m for m in got if m.start and m.status not in (100, 103)]
                assert len(finals) <= len(client.asked)
                for message, (number, _) in zip(finals, client.asked, strict=False):
                    assert message.number in (None, number)

    @invariant()
    def what_is_not_idempotent_is_asked_once(self) -> None:
        for side in self.sides:
            for number, times in side.asked().items():
                is_safe = self.kinds[number] not in ("post", "chunked", "expect")
                assert times == 1 or (is_safe and times <= 4), (number, times)

    @invariant()
    def nothing_is_logged_as_an_error(self) -> None:
        assert not self.errors.records, self.errors.records

    def teardown(self) -> None:
        """All leave; then nothing may be left behind."""
        logging.getLogger("sidecar").removeHandler(self.errors)
        for side in self.sides:
            side.wire.end()
            assert "316-OP-FAIL" not in side.wire.codes


def told(messages: list[Message]) -> list[object]:
    """Return messages without what chance has made in our own answers."""
    return [
        message if message.number is not None or not message.start else message.status
        for message in messages
    ]


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None
)
