"""Connections to the admin and health servers: how many, and how long in silence.

aiohttp bounds neither; so each protocol of it stands behind a guest of ours:

    a whole request within 30 s of the last one, or the connection is cut: whoever
    sends byte by byte, sends nothing, or does not read what it asked for
    the door is full? the one that asked for nothing for longest goes: who comes
    with a request, as the kubelet does, is answered before its turn to go
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.web import RequestHandler

    from sidecar.clock import Clock, Timer

PATIENCE_S = 30.0  # Prometheus keeps a connection between scrapes, but needs not.
MAX_GUESTS = 128


class Door:
    """Lets connections in to one server.

    Args:
        clock: Time.
        make_protocol: Makes the protocol of a connection: the aiohttp server.
        max_guests: How many connections at once.
    """

    def __init__(
        self,
        clock: Clock,
        make_protocol: Callable[[], RequestHandler],
        max_guests: int = MAX_GUESTS,
    ) -> None:
        self.clock = clock
        self._make_protocol = make_protocol
        self._max_guests = max_guests
        self._guests: dict[object, Guest] = {}  # By protocol; longest silent first.

    def __len__(self) -> int:
        """Return how many are in."""
        return len(self._guests)

    def __call__(self) -> Guest:
        """Make the protocol of a new connection."""
        return Guest(self, self._make_protocol())

    def enter(self, guest: Guest) -> None:
        """Let one in; the one that is silent for longest makes room."""
        if len(self._guests) >= self._max_guests:
            next(iter(self._guests.values())).cut()
        self._guests[guest.inner] = guest

    def leave(self, guest: Guest) -> None:
        """Forget one."""
        self._guests.pop(guest.inner, None)

    def asked(self, protocol: object) -> None:
        """A whole head of a request came, or a piece of a long answer was taken."""
        guest = self._guests.pop(protocol, None)
        if guest is not None:
            self._guests[protocol] = guest
            guest.asked()


DOOR = web.AppKey("door", Door)  # For handlers whose answers last.


class Guest(asyncio.Protocol):
    """One connection, before the protocol of aiohttp that serves it."""

    def __init__(self, door: Door, inner: RequestHandler) -> None:
        self._door = door
        self.inner = inner
        self._transport: asyncio.Transport | None = None
        self._asked_s = door.clock.now_s()
        self._timer: Timer | None = None

    def asked(self) -> None:
        """It has a request: its time begins anew."""
        self._asked_s = self._door.clock.now_s()

    def cut(self) -> None:
        """End it now."""
        self._door.leave(self)
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Come in."""
        self._transport = transport  # type: ignore[assignment]  # Of a stream.
        self._door.enter(self)
        self._watch()
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on."""
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Hand on."""
        self.inner.eof_received()
        return None

    def pause_writing(self) -> None:
        """Hand on."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Hand on."""
        self.inner.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Go."""
        self._door.leave(self)
        if self._timer is not None:
            self._timer.cancel()
        self.inner.connection_lost(exc)

    def _watch(self) -> None:
        """Come back when the time may be over; it is not, if there was a request."""
        clock, end_s = self._door.clock, self._asked_s + PATIENCE_S
        if clock.now_s() >= end_s:
            self.cut()
        else:
            self._timer = clock.call_at(end_s, self._watch)
