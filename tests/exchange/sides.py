"""The two wires of a conversation, and what its model knows of who speaks."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.exchange.spoken import read
from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from tests.exchange.spoken import Message
    from tests.support.ends import End

RETRY = {"preset": "idempotent", "backoff": {"base": "0s"}}
ASKED = re.compile(rb"(GET|HEAD|POST) /([0-9]+) HTTP/1\.1\r\n")


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

    def come(self, number: int) -> Message | None:
        """Return a request as far as it has come; None if nobody waits for it."""
        origin = self.origin_of(number)
        return None if origin is None else read(origin.received)[-1]


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
