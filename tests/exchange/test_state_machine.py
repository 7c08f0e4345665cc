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
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tests.exchange.sides import Answer, Client, Errors, Side
from tests.exchange.spoken import read, request, response, split, told

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.ends import End

# More of them on demand; this many take some seconds.
EXAMPLES = int(os.environ.get("SIDECAR_EXAMPLES", "80"))
STEPS = 40
pytestmark = pytest.mark.timeout(5 * EXAMPLES)  # They take that on no machine.


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
        """Requests that have come to an origin, on both wires, and wait there.

        On both as far: an origin that does not take all may hold up one that comes
        in pieces, and an answer before the end of a request is another story.
        """
        one, other = (side.asked() for side in self.sides)
        return [
            number
            for number in one
            if one[number] == other[number] > self.begun[number]
            and self.sides[0].come(number) == self.sides[1].come(number) is not None
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


TestConversation = Conversation.TestCase
TestConversation.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None
)
