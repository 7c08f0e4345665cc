"""One client connection: the only file that touches a client's socket.

Its coroutine takes one request after the other, in order, also when several
came at once (pipelining): what follows a request waits in a buffer, and a
client that sends on and on is not read while its request is under way.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from sidecar.accept.head_size import check_size, malformed
from sidecar.accept.refusal import refuse, refuse_in_a_flood
from sidecar.accept.response import ResponseWriter
from sidecar.clock import Alarm
from sidecar.exchange import Exchange
from sidecar.faults.catalogue import ProxyFault
from sidecar.faults.classify import classify_timeout
from sidecar.model import NO_BODY, Limit, Phase, TimeoutKind
from sidecar.rendezvous import Rendezvous
from sidecar.time_limits import TimeLimits
from sidecar.transports import FarewellProbe, unsent_bytes
from sidecar.wire.fields import Hop
from sidecar.wire.head import HEAD_END, HeadError, parse_request

if TYPE_CHECKING:
    from sidecar.accept.listener import Acceptor
    from sidecar.accept.shedding import Shedder
    from sidecar.model import RequestHead
    from sidecar.runtime import Runtime
    from sidecar.settings.snapshot import Limits

_log = logging.getLogger(__name__)

_IN_A_ROW: Final = 16  # Requests of one client, before others get their turn.
_LINGER_BYTES: Final = 16 * 1024 * 1024  # Read and dropped for one that has its answer.


class ClientConnection(asyncio.Protocol):
    """HTTP/1.x with one client.

    Attributes:
        meeting: Where its coroutine waits, also for what happens upstream.
        limits: Of time, of the exchange under way.
        writer: Of its responses.
        hop: What this hop adds to its requests.
        is_gone: The client has left; nothing can be written.
        is_reading_paused: What it sends waits in its socket.
        has_ended: The client sends no more.
        is_trusted: What it says of itself in X-Forwarded-* is believed.
    """

    __slots__ = (
        "_acceptor",
        "_buffer",
        "_dropped_bytes",
        "_exchange",
        "_is_discarding",
        "_is_full",
        "_is_late",
        "_is_leaving",
        "_probe",
        "_served",
        "_unsent_bytes",
        "alarm",
        "has_ended",
        "hop",
        "is_gone",
        "is_reading_paused",
        "is_trusted",
        "limits",
        "listener",
        "meeting",
        "peer",
        "transport",
        "writer",
    )

    def __init__(self, acceptor: Acceptor) -> None:
        self._acceptor = acceptor
        self.listener = acceptor.name
        clock = acceptor.runtime.clock
        self.alarm = Alarm(clock, self._on_alarm)
        self.limits = TimeLimits(clock, self.alarm)
        self.meeting = Rendezvous()
        self._buffer = b""
        self._exchange: Exchange | None = None
        self._is_late = False
        self._is_leaving = False  # It ends with the request under way.
        self._is_full = False  # It does not read what is there for it.
        self.is_reading_paused = False
        self._served = 0
        self._is_discarding = False
        self._dropped_bytes = 0
        self._unsent_bytes = 0  # When last looked at.
        self._probe: FarewellProbe | None = None  # Since it sends no more.
        self.is_gone = False
        self.has_ended = False
        self.is_trusted = False
        self.peer = ""
        self.hop: Hop
        self.writer: ResponseWriter
        self.transport: asyncio.Transport

    def __repr__(self) -> str:
        """Return its state in a line."""
        doing = "idle" if self._exchange is None else "busy"
        return f"<ClientConnection {self.peer} {doing} served={self._served}>"

    # Its life.

    async def _serve(self) -> None:
        """Serve until either side has had enough; raises nothing."""
        runtime = self._acceptor.runtime
        most = runtime.snapshot.limits.requests_per_connection
        admission, shedder = runtime.admission, self._acceptor.shedder
        try:
            while (head := await self._next_head(runtime)) is not None:
                if admission.is_on and (why := shedder.ask(self, head)):
                    if await self._shed(shedder, head, why):
                        continue
                    break
                exchange = self._exchange = Exchange(runtime, self, head)
                if self._served + 1 == most and head.keep_alive:
                    self.writer.keep_alive = False
                    runtime.recorder.limit_hit(Limit.REQUESTS_PER_CONNECTION)
                if self._buffer:
                    data, self._buffer = self._buffer, b""
                    self._buffer = exchange.on_client_data(data)
                may_follow = await exchange.run()
                if not self._goes_on(may_follow):
                    if head.body_bytes and not may_follow:
                        await self._linger()
                    break
                del exchange, head  # They may be large, and the wait for more long.
                if self._buffer or self._is_full or self._served % _IN_A_ROW == 0:
                    await self._give_way()
        except Exception:  # noqa: BLE001 - below it a task would have been
            _log.exception("a client connection failed")
            self.transport.abort()
        finally:
            self._close()

    async def _shed(self, shedder: Shedder, head: RequestHead, why: str) -> bool:
        """Refuse a request; return whether another may follow."""
        keep_alive = head.keep_alive and not self._is_leaving and shedder.keeps(why)
        if head.body_bytes > 0 and len(self._buffer) >= head.body_bytes:
            self._buffer = self._buffer[head.body_bytes :]
        elif head.body_bytes != NO_BODY:
            keep_alive = False
        self.transport.write(shedder.answer(self, head, why, keep_alive=keep_alive))
        self._served += 1
        if not keep_alive:
            if head.body_bytes != NO_BODY or self._buffer:
                await self._linger()
            return False
        if self._buffer or self._is_full:
            await self._give_way()
        return not self.is_gone

    def _goes_on(self, may_follow: bool) -> bool:  # noqa: FBT001 - one answer
        """An exchange is over: tell whether another one may follow."""
        self._exchange = None
        self._served += 1
        return may_follow and not self.is_gone

    async def _give_way(self) -> None:
        """Between requests that came together: let others go first.

        And let the client read what it asked for, before more is done for it.
        """
        clock = self._acceptor.runtime.clock
        self._is_late = False
        is_break = self._served % _IN_A_ROW == 0
        if is_break:
            self.writer.marks.look()  # Each short answer was a short write.
        if self._is_full:
            self._await_flush()
            while self._is_full and not self._is_late and not self.is_gone:
                await self.meeting
                if self._is_late and self._has_read_some():
                    self._is_late = False
                    self._await_flush()
            if self._is_late:
                self._buffer = b""  # What it asked for behind that is not done.
                self._give_up_on()
        elif is_break and self._buffer:
            is_over = False

            def go_on() -> None:
                nonlocal is_over
                is_over = True
                self.meeting.deliver()

            clock.call_at(clock.now_s(), go_on)
            while not is_over:
                await self.meeting

    def _close(self) -> None:
        """Close when what was written is read, but do not wait for ever."""
        is_flushed = self.transport.get_write_buffer_size() == 0
        self.transport.close()
        if is_flushed:
            self.alarm.close()
        else:
            self._await_flush()

    def _await_flush(self) -> None:
        """Give it time to read, and again as long as it reads some."""
        self._unsent_bytes = self.unsent_bytes()
        runtime = self._acceptor.runtime
        self.alarm.set(runtime.clock.now_s() + runtime.snapshot.limits.flush_s)

    def _has_read_some(self) -> bool:
        return self.unsent_bytes() < self._unsent_bytes

    def _give_up_on(self) -> None:
        """It does not read the end of what it asked for."""
        self._acceptor.runtime.recorder.limit_hit(Limit.DOWNSTREAM_WRITE)
        self.transport.abort()

    async def _next_head(self, runtime: Runtime) -> RequestHead | None:
        """Return the next head, or None when no more will come or be served."""
        limits, clock = runtime.snapshot.limits, runtime.clock
        began_s = clock.now_s()
        idle_s = limits.keep_alive_s if self._served else limits.first_byte_s
        was_empty = True
        try:
            while True:
                head = self._take_head(limits) if self._buffer else None
                if head is not None:
                    return head
                if self.is_gone or self.has_ended:
                    return None
                if self._is_leaving and not self._buffer:
                    return None
                if self._buffer and was_empty:
                    was_empty, began_s = False, clock.now_s()
                limit_s = idle_s if was_empty else limits.request_headers_s
                self._is_late = False
                self.resume_reading()  # Not before what had come was served.
                self.alarm.set(began_s + limit_s)
                await self.meeting
                if self._is_late and not self._buffer:
                    kind = Limit.KEEP_ALIVE if self._served else Limit.FIRST_BYTE
                    runtime.recorder.limit_hit(kind)
                    return None
                if self._is_late and not was_empty:
                    raise classify_timeout(
                        TimeoutKind.REQUEST_HEADERS, Phase.REQUEST, limit_s
                    )
        except ProxyFault as fault:
            refuse(runtime, self, fault)
            await self._linger()
            return None

    def _take_head(self, limits: Limits) -> RequestHead | None:
        """Cut a whole head off the buffer, and read it.

        Raises:
            ProxyFault: It is malformed, or too large.
        """
        buffer = self._buffer
        empty_bytes = 0
        while buffer.startswith(b"\r\n", empty_bytes):  # RFC 9112, 2.2: may precede it.
            empty_bytes += 2
        if empty_bytes:
            buffer = self._buffer = buffer[empty_bytes:]
        end = buffer.find(HEAD_END)
        if end < 0 or end > limits.unchecked_bytes:
            check_size(buffer, end, limits)
            if end < 0:
                return None
        self._buffer = buffer[end + 4 :]
        try:
            return parse_request(buffer[: end + 4], limits.header_count)
        except HeadError as error:
            raise malformed(error) from None

    async def _linger(self) -> None:
        """Read and drop for a while, so that the answer is not lost to a reset."""
        if self.has_ended or self.is_gone or self._is_leaving:
            return
        self._buffer = b""
        self._is_discarding = True
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._is_late = False
        runtime = self._acceptor.runtime
        self.alarm.set(runtime.clock.now_s() + runtime.snapshot.limits.linger_s)
        while not (self.has_ended or self.is_gone or self._is_late):
            await self.meeting

    async def _see_off(self) -> None:
        """Let a client that is one too many read why."""
        await self._linger()
        self._close()

    @property
    def is_full(self) -> bool:
        """Tell whether it does not read what is there for it."""
        return self._is_full

    @property
    def is_busy(self) -> bool:
        """Tell whether a request is under way, or has begun to come."""
        if self._exchange is None:
            return bool(self._buffer)
        return not self._exchange.is_tunnel

    def unsent_bytes(self) -> int:
        """Return how much of what was written for it it has not taken."""
        return unsent_bytes(self.transport)

    def drain(self) -> None:
        """Close it if it is idle; else it ends with its request."""
        self._is_leaving = True
        if self._exchange is None and not self._buffer:
            self.meeting.deliver()

    def cut(self) -> None:
        """End it now, but answer what is under way."""
        self._is_leaving = True
        if self._exchange is not None:
            self._exchange.cut()
        else:
            self.transport.abort()

    # What the exchange does.

    def open_tunnel(self) -> None:
        """Hand over what came behind the head of an upgrade."""
        data, self._buffer = self._buffer, b""
        if data and self._exchange is not None:
            self._exchange.on_client_data(data)
        self.resume_reading()

    def write_eof(self) -> None:
        """Tell the client that nothing more comes."""
        if not self.is_gone and self.transport.can_write_eof():
            self.transport.write_eof()

    def pause_reading(self) -> None:
        """Let the socket fill up."""
        if not self.is_reading_paused and not self.transport.is_closing():
            self.is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take bytes again."""
        if self.is_reading_paused:
            self.is_reading_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start serving, or refuse when there are too many."""
        self.transport = transport  # type: ignore[assignment]  # A TCP one.
        buffer_bytes = self._acceptor.runtime.snapshot.limits.buffer_bytes
        self.writer = ResponseWriter(self.transport, buffer_bytes)
        address = transport.get_extra_info("peername") or ("", 0)
        self.peer = str(address[0])
        self.is_trusted = self._acceptor.is_trusted(self.peer)
        self.hop = Hop(
            self._acceptor.runtime.via,
            self.peer.encode("latin-1"),
            b"http",
            is_trusted=self.is_trusted,
        )
        refusal = self._acceptor.admit(self)
        if refusal is not None:
            if self._acceptor.may_linger(self):
                refuse(self._acceptor.runtime, self, refusal)
                self.meeting.run(self._see_off())
            else:
                refuse_in_a_flood(self._acceptor.runtime, self, refusal)
                self._close()
            return
        self.meeting.run(self._serve())

    def data_received(self, data: bytes) -> None:
        """Give bytes to whom they belong."""
        exchange = self._exchange
        if exchange is not None:
            rest = exchange.on_client_data(data)
            if rest:
                self._buffer += rest
                limits = self._acceptor.runtime.snapshot.limits
                if len(self._buffer) > limits.buffer_bytes:
                    self.pause_reading()
            if exchange.is_gathering:  # The rest is in its place: it may go on.
                self.meeting.deliver()
        elif self._is_discarding:
            self._discard(data)
        else:
            self._buffer += data
            if self._is_full:  # It is to read first.
                limits = self._acceptor.runtime.snapshot.limits
                if len(self._buffer) > limits.buffer_bytes:
                    self.pause_reading()
            self.meeting.deliver()

    def _discard(self, data: bytes) -> None:
        self._dropped_bytes += len(data)
        if self._dropped_bytes > _LINGER_BYTES and not self._is_late:
            self._is_late = True
            self.meeting.deliver()

    def eof_received(self) -> bool:
        """The client sends no more: it has left, or has only said all.

        Both look alike, see `FarewellProbe`. Without that, one that asked to close
        after this response is taken for one that waits for it.
        """
        self.has_ended = True
        self.meeting.deliver()
        exchange = self._exchange
        if exchange is None:
            return True
        exchange.on_client_end()
        runtime = self._acceptor.runtime
        mode = runtime.snapshot.limits.half_close
        if exchange.is_tunnel or self._exchange is not exchange:
            return True
        if mode == "abort" and not exchange.is_last:
            self._leave()
        elif mode == "probe":
            self._probe = FarewellProbe(self.transport, runtime.clock, self._on_left)
            self._probe.start()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        del error  # Why it went does not matter: the client left.
        self._acceptor.forget(self)
        self.alarm.close()
        if self._probe is not None:
            self._probe.stop()
        self._leave()

    def _leave(self) -> None:
        self.is_gone = self.has_ended = True
        if self._exchange is not None:
            self._exchange.on_client_gone()
        self.meeting.deliver()

    def _on_left(self) -> None:
        """It had closed, not only said all."""
        self.transport.abort()
        self._leave()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._is_full = True
        if self._exchange is not None:
            self._exchange.pause_response()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_full = False
        self.writer.marks.relax()
        if self._exchange is not None:
            self._exchange.resume_response()
        else:
            self.meeting.deliver()

    def _on_alarm(self) -> None:
        if self._exchange is not None:
            self._exchange.on_alarm()
            return
        if self.transport.is_closing():
            if self._has_read_some():
                self._await_flush()
            else:
                self._give_up_on()
            return
        self._is_late = True
        self.meeting.deliver()
