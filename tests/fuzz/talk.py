"""The target that is a whole proxy: a client and an origin that say anything."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import h11

from tests.support.wire import FakeWire

if TYPE_CHECKING:
    from tests.support.ends import End

_END_OF_STEP = b"\xff"  # What stands between the steps of an input.
_MAX_STEPS = 24
_MAX_BYTES = 1 << 20


def talk(data: bytes) -> None:
    """Whatever both ends say, h11 reads what origins get, and nothing is left behind.

    A step is a letter and what is sent: c by the client, o by the origin; C and O
    end, t lets time pass, n connects anew.
    """
    steps = data.split(_END_OF_STEP)[:_MAX_STEPS]
    for piece_bytes in (0, 1):
        _Talk(piece_bytes).hold(steps)


class _Errors(logging.Handler):
    """Raises what is logged as an error: nothing that is sent may be one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Talk:
    """One conversation, its messages whole or in pieces."""

    def __init__(self, piece_bytes: int) -> None:
        self._piece_bytes = piece_bytes
        self._wire = FakeWire()
        self._client = self._wire.client()
        self._ended: set[int] = set()  # Sides; all live as long as the wire.

    def hold(self, steps: list[bytes]) -> None:
        errors = _Errors()
        logging.getLogger("sidecar").addHandler(errors)
        try:
            for step in steps:
                self._do(step[:1], step[1:])
            self._wire.clock.advance(400.0)
            self._wire.end()
        finally:
            logging.getLogger("sidecar").removeHandler(errors)
        assert not errors.records, errors.records
        assert "316-OP-FAIL" not in self._wire.codes
        for client in self._wire.clients:
            assert client.received[:9] in (b"", b"HTTP/1.1 "), client.received
        for origin in self._wire.origins:
            check_readable(origin.received)

    def _do(self, kind: bytes, said: bytes) -> None:
        wire = self._wire
        origin = wire.origins[-1] if wire.origins else None
        side = self._client if kind in {b"c", b"C"} else origin
        if id(side) in self._ended and kind in {b"c", b"C", b"o", b"O"}:
            return  # Who has ended says no more: TCP would not let him.
        if kind in {b"C", b"O"} and side is not None:
            self._ended.add(id(side))
        if kind == b"c" and said:
            self._client.send(said, self._piece_bytes)
        elif kind == b"C":
            self._client.send_eof()
        elif kind == b"n":
            self._client = wire.client()
        elif kind == b"t":
            wire.clock.advance(float(len(said)))
        elif origin is not None and kind in (b"o", b"O"):
            _answer(origin, kind, said, self._piece_bytes)


def _answer(origin: End, kind: bytes, said: bytes, piece_bytes: int) -> None:
    if kind == b"O":
        origin.send_eof()
    elif said:
        origin.send(said, piece_bytes)


def check_readable(received: bytes) -> None:
    """All requests on a connection are such that h11 reads them, the last in part."""
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_BYTES)
    judge.receive_data(received)
    while True:
        event = judge.next_event()
        if event is h11.NEED_DATA or event is h11.PAUSED:
            if judge.our_state is not h11.SEND_RESPONSE or event is h11.NEED_DATA:
                return
            if judge.their_state is not h11.DONE:
                return  # A tunnel: what follows is not HTTP.
            judge.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            judge.send(h11.EndOfMessage())
            judge.start_next_cycle()
