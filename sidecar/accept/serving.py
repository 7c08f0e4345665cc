"""The story of one client connection: a request after the other, in order.

    next_head    wait for a whole head, within its limits
    shed         refuse it unheard if the proxy has too much to do
    exchange     serve it, see there
    give_way     others come first now and then, and what was asked for is read first

Several requests may have come at once (pipelining): what follows the one under way
waits in the buffer of the connection.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sidecar.accept import farewell
from sidecar.accept.head_size import check_size, malformed
from sidecar.accept.refusal import refuse
from sidecar.exchange import Exchange
from sidecar.faults.catalogue import ProxyFault
from sidecar.faults.classify import classify_timeout
from sidecar.model import NO_BODY, Limit, Phase, TimeoutKind
from sidecar.wire.head import HEAD_END, HeadError, parse_request

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection
    from sidecar.accept.shedding import Shedder
    from sidecar.model import RequestHead
    from sidecar.runtime import Runtime
    from sidecar.settings.snapshot import Limits

_log = logging.getLogger(__name__)

# Who was new or served within this time may have a request on its way, when this
# process goes away: it is waited for, and told so. To close would be to reset it.
_NEXT_REQUEST_S: Final = 0.5
_IN_A_ROW: Final = 16  # Requests of one client, before others get their turn.


async def serve(client: ClientConnection) -> None:
    """Serve until either side has had enough; raises nothing."""
    runtime = client.acceptor.runtime
    most = runtime.snapshot.limits.requests_per_connection
    admission, shedder = runtime.admission, client.acceptor.shedder
    try:
        while (head := await _next_head(client, runtime)) is not None:
            is_short = admission.is_on or runtime.in_flight >= admission.crowded_from
            if is_short and (why := shedder.ask(client, head)):
                if await _shed(client, shedder, head, why):
                    continue
                break
            exchange = client.exchange = Exchange(runtime, client, head)
            if client.served + 1 == most and head.keep_alive:
                client.writer.keep_alive = False
                runtime.recorder.limit_hit(Limit.REQUESTS_PER_CONNECTION)
            if client.buffer:
                data, client.buffer = client.buffer, b""
                client.buffer = exchange.on_client_data(data)
            may_follow = await exchange.run()
            if not _goes_on(client, may_follow):
                if head.body_bytes and not may_follow:
                    await farewell.linger(client)
                break
            del exchange, head  # They may be large, and the wait for more long.
            if client.buffer or client.is_full or client.served % _IN_A_ROW == 0:
                await _give_way(client)
    except Exception:  # noqa: BLE001 - below it a task would have been
        _log.exception("a client connection failed")
        client.transport.abort()
    finally:
        farewell.close(client)


async def _next_head(client: ClientConnection, runtime: Runtime) -> RequestHead | None:
    """Return the next head, or None when no more will come or be served."""
    limits, clock = runtime.snapshot.limits, runtime.clock
    began_s = clock.now_s()
    was_empty = True
    try:
        while True:
            head = _take_head(client, limits) if client.buffer else None
            if head is not None:
                return head
            if client.is_gone or client.has_ended:
                return None
            idle_s = _idle_limit_s(client, limits)
            is_over = client.is_leaving and clock.now_s() >= began_s + idle_s
            if is_over and not client.buffer:
                return None
            if client.buffer and was_empty:
                was_empty, began_s = False, clock.now_s()
            limit_s = idle_s if was_empty else limits.request_headers_s
            client.is_late = False
            client.resume_reading()  # Not before what had come was served.
            client.alarm.set(began_s + limit_s)
            await client.meeting
            if client.is_late and not client.buffer and not client.is_leaving:
                kind = Limit.KEEP_ALIVE if client.served else Limit.FIRST_BYTE
                runtime.recorder.limit_hit(kind)
                return None
            if client.is_late and not was_empty:
                raise classify_timeout(
                    TimeoutKind.REQUEST_HEADERS, Phase.REQUEST, limit_s
                )
    except ProxyFault as fault:
        refuse(runtime, client, fault)
    # Not in the handler: compiled, whoever waits there leaves its exception behind as
    # the one that is handled, and all that come after hold it, and each other.
    await farewell.linger(client)
    return None


def _idle_limit_s(client: ClientConnection, limits: Limits) -> float:
    """Return how long it may say nothing, from when it was accepted or served."""
    if client.is_cut:
        return 0.0
    limit_s = limits.keep_alive_s if client.served else limits.first_byte_s
    return min(_NEXT_REQUEST_S, limit_s) if client.is_leaving else limit_s


def _take_head(client: ClientConnection, limits: Limits) -> RequestHead | None:
    """Cut a whole head off the buffer, and read it.

    Raises:
        ProxyFault: It is malformed, or too large.
    """
    buffer = client.buffer
    empty_bytes = 0
    while buffer.startswith(b"\r\n", empty_bytes):  # RFC 9112, 2.2: may precede it.
        empty_bytes += 2
    if empty_bytes:
        buffer = client.buffer = buffer[empty_bytes:]
    end = buffer.find(HEAD_END)
    if end < 0 or end > limits.unchecked_bytes:
        check_size(buffer, end, limits)
        if end < 0:
            return None
    client.buffer = buffer[end + 4 :]
    try:
        return parse_request(buffer[: end + 4], limits.header_count)
    except HeadError as error:
        raise malformed(error) from None


async def _shed(
    client: ClientConnection, shedder: Shedder, head: RequestHead, why: str
) -> bool:
    """Refuse a request; return whether another may follow."""
    keep_alive = head.keep_alive and not client.is_leaving and shedder.keeps(why)
    if head.body_bytes > 0 and len(client.buffer) >= head.body_bytes:
        client.buffer = client.buffer[head.body_bytes :]
    elif head.body_bytes != NO_BODY:
        keep_alive = False
    client.transport.write(shedder.answer(client, head, why, keep_alive=keep_alive))
    client.served += 1
    if not keep_alive:
        if head.body_bytes != NO_BODY or client.buffer:
            await farewell.linger(client)
        return False
    if client.buffer or client.is_full:
        await _give_way(client)
    return not client.is_gone


def _goes_on(client: ClientConnection, may_follow: bool) -> bool:  # noqa: FBT001 - one answer
    """An exchange is over: tell whether another one may follow."""
    client.exchange = None
    client.served += 1
    return may_follow and not client.is_gone


async def _give_way(client: ClientConnection) -> None:
    """Between requests that came together: let others go first.

    And let the client read what it asked for, before more is done for it.
    """
    clock = client.acceptor.runtime.clock
    client.is_late = False
    is_break = client.served % _IN_A_ROW == 0
    if is_break:
        client.writer.marks.look()  # Each short answer was a short write.
    if client.is_full:
        farewell.await_flush(client)
        while client.is_full and not client.is_late and not client.is_gone:
            await client.meeting
            if client.is_late and farewell.has_read_some(client):
                client.is_late = False
                farewell.await_flush(client)
        if client.is_late:
            client.buffer = b""  # What it asked for behind that is not done.
            farewell.give_up_on(client)
    elif is_break and client.buffer:
        is_over = False

        def go_on() -> None:
            nonlocal is_over
            is_over = True
            client.meeting.deliver()

        clock.call_at(clock.now_s(), go_on)
        while not is_over:
            await client.meeting
