"""The keep-alive race, ten thousand times, each time at a moment that is known.

An origin ends an idle connection while a request is on its way to it. Where the
two meet decides what may be done: here every moment is played, by seeded chance,
with GET and POST, as an orderly end and as a reset; and now and then the fresh
connection of the second try is lost as well. What the origin acted on is counted.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING

from tests.support.proxy import header_of, status_of
from tests.support.scripts import AMPLE, QUICK
from tests.support.wire import OK, FakeWire, get, post

if TYPE_CHECKING:
    from tests.support.ends import End

SEED = 1
ROUNDS = 10_000
ROUNDS_OF_A_WIRE = 200
LARGE = "A: " + 100_000 * "x"  # More than a socket takes at once.
REFUSAL = b"HTTP/1.1 408 Too late\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Moment(Enum):
    """When the idle connection ends, in the order of a request's way."""

    TOLD = auto()  # Before the request, and the loop has said so.
    CLOSING = auto()  # Before it; the transport knows, the loop has not said so.
    UNREAD = auto()  # Before it; the end lies in the socket.
    HALF_A_HEAD = auto()  # The socket took a part of the head.
    UNTAKEN = auto()  # The socket took nothing yet of a small head.
    WRITTEN = auto()  # The socket took it; the origin never read it.
    READ = auto()  # The origin read a part, and did nothing.
    ACTED = auto()  # The origin acted, and said nothing.
    TOO_LATE = auto()  # It said 408 in place of an answer, as some do.
    PART_OF_HEAD = auto()
    HEAD = auto()
    PART_OF_BODY = auto()
    ANSWERED = auto()  # Behind the whole answer.


# Nothing that the origin can act on has left: any method may be sent again.
UNPROCESSED = {
    Moment.TOLD,
    Moment.CLOSING,
    Moment.HALF_A_HEAD,
    Moment.TOO_LATE,
}
ACTS = {
    Moment.ACTED,
    Moment.PART_OF_HEAD,
    Moment.HEAD,
    Moment.PART_OF_BODY,
    Moment.ANSWERED,
}
SAYS = {
    Moment.TOO_LATE: REFUSAL,
    Moment.PART_OF_HEAD: OK[:20],
    Moment.HEAD: OK[:-2],
    Moment.PART_OF_BODY: OK[:-1],
    Moment.ANSWERED: OK,
}
BROKEN_OFF = {Moment.HEAD, Moment.PART_OF_BODY}


class Race:
    """One wire after the other, and what the origins acted on."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.acted: Counter[str] = Counter()
        self.met: Counter[tuple[str, str]] = Counter()
        self.wire = FakeWire()
        self.client: End

    def new_wire(self) -> None:
        self.wire.end()
        self.wire = FakeWire(
            upstream={"retry_budget": AMPLE},
            top={"limits": {"headers": "256KiB"}},
            retry={"backoff": QUICK},
            circuit_breaker="off",
        )
        self.client = self.wire.client()

    def act(self, end: End) -> None:
        """Let an origin read all that came, and act on it."""
        for line in end.take().split(b"\r\n"):
            if line.endswith(b" HTTP/1.1"):
                self.acted[line.split(b" ")[1].decode()] += 1

    def warm(self) -> End:
        """Return a connection that has served, and is idle now."""
        if self.client.is_closed:
            self.client = self.wire.client()
        self.client.send(get("/warm"))
        origin = self.wire.origin()
        origin.send(OK)
        assert self.client.take().endswith(b"ok")
        origin.take()
        return origin

    def play(self, number: int) -> None:
        """Play one round."""
        rng = self.rng
        moment = rng.choice(list(Moment))
        method = rng.choice(["GET", "POST"])
        error = rng.choice([None, ConnectionResetError(), BrokenPipeError()])
        path = f"/{number}"
        lines = [LARGE] if moment is Moment.HALF_A_HEAD else []
        raw = get(path, *lines) if method == "GET" else post(b"data", path, *lines)
        idle = self.warm()
        self.before(idle, moment, error)
        known = len(self.wire.origins)
        self.client.send(raw)
        if len(self.wire.origins) == known and not idle.transport.is_lost:
            self.meet(idle, moment, error)
        self.wire.clock.advance(0.01)  # The backoff.
        is_lost_again = self.serve_again(known)
        self.judge(path, method, moment, is_lost_again=is_lost_again)

    def before(self, idle: End, moment: Moment, error: Exception | None) -> None:
        """End the connection before the request is there."""
        if moment is Moment.TOLD:
            idle.leave(error)
        elif moment is Moment.CLOSING:
            idle.transport.lose(error)
        elif moment is Moment.UNREAD:
            idle.leave_unread(b"x")
        elif moment in {Moment.HALF_A_HEAD, Moment.UNTAKEN}:
            idle.stop_taking()

    def meet(self, idle: End, moment: Moment, error: Exception | None) -> None:
        """End the connection with the request on its way, or behind it."""
        if moment in ACTS:
            self.act(idle)
        elif moment is Moment.READ:
            assert idle.take()
        if moment in SAYS:
            idle.send(SAYS[moment])
        idle.leave(error)

    def serve_again(self, known: int) -> bool:
        """Serve what is tried again; return whether that was lost in its turn."""
        is_lost = False
        while len(self.wire.origins) > known:
            known += 1
            fresh = self.wire.origin()
            self.act(fresh)
            if not is_lost and self.rng.random() < 0.1:
                is_lost = True
                fresh.leave()
                self.wire.clock.advance(0.01)
            else:
                fresh.send(OK)
        return is_lost

    def judge(
        self, path: str, method: str, moment: Moment, *, is_lost_again: bool
    ) -> None:
        """Hold the answer to what the origins did."""
        answer, acted = self.client.take(), self.acted[path]
        context = f"{method} {path} {moment} lost again: {is_lost_again}"
        if moment in BROKEN_OFF:
            assert self.client.is_closed, context  # Short, and seen to be.
            assert not answer.endswith(b"ok"), context
            assert acted == 1, context
            outcome = "broken off"
        elif method == "GET":
            assert status_of(answer) == 200, context
            assert answer.endswith(b"ok"), context
            assert 1 <= acted <= 3, context
            outcome = "200"
        elif status_of(answer) == 200:
            assert acted == 1, context
            outcome = "200"
        else:
            outcome = self.judge_lost_post(answer, acted, moment, context)
            assert not is_lost_again or moment in UNPROCESSED | {Moment.UNREAD}
        self.met[moment.name, f"{method} {outcome}"] += 1

    def judge_lost_post(
        self, answer: bytes, acted: int, moment: Moment, context: str
    ) -> str:
        code = header_of(answer, "x-316-code")
        assert status_of(answer) == 502, context
        assert acted <= 1, context
        assert header_of(answer, "x-316-processed") is None, context
        was_first = moment not in UNPROCESSED | {Moment.UNREAD}
        if was_first and moment is not Moment.PART_OF_HEAD:
            assert code == "316-CONN-STALE", context
        else:  # A part of an answer, or the fresh connection was lost.
            assert code == "316-CONN-TERMINATED", context
        return f"502 {code}"


def test_ten_thousand_races_cost_no_get_and_no_post_is_acted_on_twice() -> None:
    """What is proven unprocessed is sent again, whatever the method; else a code."""
    race = Race(SEED)
    for number in range(ROUNDS):
        if number % ROUNDS_OF_A_WIRE == 0:
            race.new_wire()
        race.play(number)
    race.wire.end()
    for moment in Moment:  # None was left out, and each ended as it must.
        outcomes = {out for name, out in race.met if name == moment.name}
        assert outcomes >= expected(moment), moment


def expected(moment: Moment) -> set[str]:
    """Return how GET and POST end when the second try goes well."""
    if moment in BROKEN_OFF:
        return {"GET broken off", "POST broken off"}
    if moment in UNPROCESSED | {Moment.UNREAD, Moment.ANSWERED}:
        return {"GET 200", "POST 200"}
    is_answer = moment is Moment.PART_OF_HEAD
    code = "316-CONN-TERMINATED" if is_answer else "316-CONN-STALE"
    return {"GET 200", f"POST 502 {code}"}
