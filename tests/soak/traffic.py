"""The clients: many connections, each kind of traffic with a check of its own.

Each request has an id that both sides write down. A worker does one thing after
the other; how each ended goes to the journal, as `ledger.Sent` reads it.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
)

from tests.soak.journal import Journal, Runs
from tests.soak.origin import get_content
from tests.soak.wire import CutError, Link, LostError, chunk, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from random import Random

    from tests.soak.wire import Head

    Receive = Callable[[Head, Runs], Awaitable[tuple[str, str]]]

_HANGS_S = 30.0  # Longer than any limit of the sidecar: nobody answers any more.
_REST_S = 0.02
_SIZES = (0, 20, 2_000, 70_000, 300_000)  # Below and above what can be sent again.
_PIPELINED = 6
_GET_RATIO = 0.7
_SHORT_BYTES = 20
_LINES = 300
_EVENTS = 60
_MESSAGES = 30
_FIRST_FAILURE = 400
_OUTS = {CutError: "cut", LostError: "lost", TimeoutError: "hung"}


@dataclass(slots=True)
class Task:
    """One request of a client, until it is noted."""

    id: str
    kind: str
    start_s: float
    sha: str = ""
    count: int = 0


class Traffic:
    """All clients; `stop` lets each finish what it is at."""

    def __init__(self, port: int, journal: Journal, rng: Random) -> None:
        self.port = port
        self.rng = rng
        self._journal = journal
        self._numbers = itertools.count(1)
        self._is_over = False
        self._is_refused = False  # The newest: as clients do, all go slower then.

    async def run(self, workers: int) -> None:
        """Send until it is told to stop."""
        self._is_over = False
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._work())

    def stop(self) -> None:
        self._is_over = True

    def new(self, kind: str, sha: str = "", count: int = 0) -> Task:
        name = f"{kind}-{next(self._numbers)}"
        return Task(name, kind, asyncio.get_running_loop().time(), sha, count)

    def note(self, task: Task, out: str, **more: Any) -> None:
        """Write down how a request ended."""
        self._is_refused = more.get("code") == "316-CIRCUIT-OPEN"
        self._journal.note(
            id=task.id,
            kind=task.kind,
            start_s=task.start_s,
            end_s=asyncio.get_running_loop().time(),
            out=out,
            sha=task.sha,
            count=task.count,
            **more,
        )

    async def hear(self, task: Task, link: Link, receive: Receive) -> bool:
        """Read an answer and note how it was; return whether another may follow."""
        runs = Runs()
        try:
            async with asyncio.timeout(_HANGS_S):
                head = await link.head()
                if head.status >= _FIRST_FAILURE:
                    self._note_failure(task, head, await link.rest(head))
                    return not head.is_last
                out, why = await receive(head, runs)
        except (CutError, LostError, TimeoutError) as error:
            self.note(task, _OUTS[type(error)], runs=runs.runs)
            return False
        self.note(task, out, runs=runs.runs, why=why)
        return not head.is_last

    def _note_failure(self, task: Task, head: Head, body: bytes) -> None:
        self.note(
            task,
            "code" if head.code else "wrong",
            code=head.code,
            processed=head.processed,
            why=f"{head.status} {body[:300].decode('utf-8', 'replace')}",
        )

    async def _work(self) -> None:
        worker = Worker(self)
        kinds: list[Callable[[], Awaitable[None]]] = [
            *(worker.get,) * 8,
            *(worker.post,) * 5,
            *(worker.chunked,) * 3,
            *(worker.lines, worker.events, worker.websocket, worker.pipeline),
            *(worker.leave, worker.leave_upload),
        ]
        try:
            while not self._is_over:
                await self.rng.choice(kinds)()
                rest_s = 20 * _REST_S if self._is_refused else _REST_S
                await asyncio.sleep(self.rng.uniform(0.0, rest_s))
        finally:
            worker.link.close()


class Worker:
    """One client."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._rng = traffic.rng
        self.link = Link(traffic.port)

    # Whole answers.

    async def get(self) -> None:
        task, size = self._traffic.new("get"), self._rng.choice(_SIZES)
        right = get_content(task.id, size)
        await self._ask(task, [request("GET", f"/get/{task.id}?n={size}")], right)

    async def post(self) -> None:
        body = self._rng.randbytes(self._rng.choice(_SIZES))
        task = self._traffic.new("post", _sha(body))
        raw = request("POST", f"/post/{task.id}", body)
        await self._ask(task, [raw], task.sha.encode())

    async def chunked(self) -> None:
        """Upload in pieces, with time between them."""
        pieces = [self._rng.randbytes(self._rng.choice(_SIZES[1:4])) for _ in range(4)]
        task = self._traffic.new("chunked", _sha(b"".join(pieces)))
        head = request("POST", f"/post/{task.id}", is_chunked=True)
        parts = [head, *map(chunk, pieces), b"0\r\n\r\n"]
        await self._ask(task, parts, task.sha.encode())

    async def pipeline(self) -> None:
        """Send several at once: the answers come in the order of the requests.

        POST among them, which a careful client would not do (RFC 9112, 9.3.2): all
        the more must none of them be acted on twice.
        """
        asked = [self._short() for _ in range(_PIPELINED)]
        self.link.close()
        await self.link.send(b"".join(raw for _, raw, _ in asked))
        is_over = False
        for task, _, right in asked:
            if is_over:
                self._traffic.note(task, "unanswered")
            else:
                is_over = not await self._read(task, right)
        self.link.close()

    def _short(self) -> tuple[Task, bytes, bytes]:
        """Return a short request, as bytes, too, and the right answer to it."""
        if self._rng.random() < _GET_RATIO:
            task = self._traffic.new("get")
            raw = request("GET", f"/get/{task.id}?n={_SHORT_BYTES}")
            return task, raw, get_content(task.id, _SHORT_BYTES)
        body = self._rng.randbytes(_SHORT_BYTES)
        task = self._traffic.new("post", _sha(body))
        return task, request("POST", f"/post/{task.id}", body), task.sha.encode()

    async def _ask(self, task: Task, parts: list[bytes], right: bytes) -> None:
        for number, part in enumerate(parts):
            if number:
                await asyncio.sleep(self._rng.uniform(0.0, 0.005))
            await self.link.send(part)
        if not await self._read(task, right):
            self.link.close()

    async def _read(self, task: Task, right: bytes) -> bool:
        """Read an answer of which every byte is known."""

        async def receive(head: Head, _: Runs) -> tuple[str, str]:
            content = await self.link.rest(head)
            if content == right:
                return "ok", ""
            return "wrong", f"{content[:60]!r} in place of {right[:60]!r}"

        return await self._traffic.hear(task, self.link, receive)

    # Streams.

    async def lines(self) -> None:
        await self._stream("lines", _LINES)

    async def events(self) -> None:
        await self._stream("events", _EVENTS)

    async def _stream(self, kind: str, count: int) -> None:
        """Take all of its lines."""

        async def receive(head: Head, runs: Runs) -> tuple[str, str]:
            async for number in numbers(task, self.link, head):
                runs.add(number)
            return "ok", ""

        task = self._traffic.new(kind, count=count)
        await self.link.send(request("GET", f"/{kind}/{task.id}?n={count}"))
        if not await self._traffic.hear(task, self.link, receive):
            self.link.close()

    async def leave(self) -> None:
        """Hang up in the middle of a stream."""

        async def receive(head: Head, runs: Runs) -> tuple[str, str]:
            async for number in numbers(task, link, head):
                runs.add(number)
                if number >= after:
                    break
            return "left", ""

        task, link = self._traffic.new("leave", count=_EVENTS), Link(self._traffic.port)
        after = self._rng.randrange(_EVENTS - 20)
        await link.send(request("GET", f"/events/{task.id}?n={_EVENTS}"))
        await self._traffic.hear(task, link, receive)
        self._hang_up(link)

    async def leave_upload(self) -> None:
        """Hang up in the middle of a body."""
        task, link = self._traffic.new("leave_upload"), Link(self._traffic.port)
        raw = request("POST", f"/post/{task.id}", b"x" * 50_000)
        await link.send(raw[: self._rng.randrange(100, len(raw))])
        await asyncio.sleep(self._rng.uniform(0.0, 0.05))
        self._hang_up(link)
        self._traffic.note(task, "left")

    def _hang_up(self, link: Link) -> None:
        if self._rng.random() < 0.5:
            link.close()
        else:
            link.abort()

    # WebSockets.

    async def websocket(self) -> None:
        """Send numbers and hear them again, some at a time."""
        task, runs = self._traffic.new("ws"), Runs()
        uri = f"ws://127.0.0.1:{self._traffic.port}/ws/{task.id}"
        note = self._traffic.note
        try:
            async with (
                asyncio.timeout(_HANGS_S),
                connect(uri, proxy=None, ping_interval=None) as socket,
            ):
                while task.count < _MESSAGES:
                    batch = self._rng.randrange(1, 6)
                    for _ in range(batch):
                        task.count += 1
                        await socket.send(str(task.count - 1))
                    for _ in range(batch):
                        runs.add(int(await socket.recv()))
        except InvalidStatus as error:
            fields = error.response.headers
            code, processed = fields.get("x-316-code"), fields.get("x-316-processed")
            note(task, "code", code=code or "", processed=processed or "")
        except ConnectionClosed as error:
            note(task, "cut", runs=runs.runs, why=str(error))
        except (InvalidHandshake, OSError, EOFError) as error:
            is_cut = _in_the_middle(error)
            note(task, "cut" if is_cut else "lost", why=repr(error.__cause__ or error))
        except TimeoutError:
            note(task, "hung", runs=runs.runs)
        else:
            note(task, "ok", runs=runs.runs)


async def numbers(task: Task, link: Link, head: Head) -> AsyncIterator[int]:
    """Yield the numbers of a stream's lines; -1 for a line of another stream."""
    rest = b""
    async for piece in link.body(head):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            name, _, number = line.partition(b":")
            yield int(number) if name == task.id.encode() else -1


def _in_the_middle(error: Exception) -> bool:
    """Tell an answer to a handshake that broke off from none at all."""
    return isinstance(error, InvalidMessage) and "status line" not in str(
        error.__cause__
    )


def _sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
