"""How a client connection ends, so that its client can read all that is for it.

    linger   what it still sends is read and dropped for a while: a reset would
             take away the answer that it has not read yet (RFC 9112, 9.6)
    flush    it gets time to read what was written, again as long as it reads some

Both are bounded: a client cannot hold its connection by doing nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.model import Limit

if TYPE_CHECKING:
    from sidecar.accept.client import ClientConnection


async def linger(client: ClientConnection) -> None:
    """Read and drop for a while, so that the answer is not lost to a reset."""
    if client.has_ended or client.is_gone or client.is_leaving:
        return
    client.buffer = b""
    client.is_discarding = True
    client.resume_reading()
    if client.transport.can_write_eof():
        client.transport.write_eof()
    client.is_late = False
    runtime = client.acceptor.runtime
    client.alarm.set(runtime.clock.now_s() + runtime.snapshot.limits.linger_s)
    while not (client.has_ended or client.is_gone or client.is_late):
        await client.meeting


async def see_off(client: ClientConnection) -> None:
    """Let a client that is one too many read why."""
    await linger(client)
    close(client)


def close(client: ClientConnection) -> None:
    """Close when what was written is read, but do not wait for ever."""
    is_flushed = client.transport.get_write_buffer_size() == 0
    client.transport.close()
    if is_flushed:
        client.alarm.close()
    else:
        await_flush(client)


def await_flush(client: ClientConnection) -> None:
    """Give it time to read, and again as long as it reads some."""
    client.last_unsent_bytes = client.unsent_bytes()
    runtime = client.acceptor.runtime
    client.alarm.set(runtime.clock.now_s() + runtime.snapshot.limits.flush_s)


def has_read_some(client: ClientConnection) -> bool:
    """Tell whether it has taken anything since it was last given time."""
    return client.unsent_bytes() < client.last_unsent_bytes


def give_up_on(client: ClientConnection) -> None:
    """It does not read the end of what it asked for."""
    client.acceptor.runtime.recorder.limit_hit(Limit.DOWNSTREAM_WRITE)
    client.transport.abort()
