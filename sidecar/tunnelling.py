"""After a 101: the connection is a pipe, whatever is spoken through it.

carry         bytes pass until both sides have said all
say_goodbye   to a WebSocket, when the proxy ends
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sidecar.attempt import Try
    from sidecar.exchange import Exchange

# A WebSocket's close frame, 1001: going away (RFC 6455, 7.4.1).
_GOING_AWAY: Final = b"\x88\x02\x03\xe9"


async def carry(exchange: Exchange, attempt: Try) -> None:
    """Be a pipe until both sides have said all (RFC 9110, 7.8)."""
    client = exchange.client
    tunnel = exchange.tunnel = attempt.connection
    exchange.limits.on_tunnel()
    attempt.on_switched(exchange.runtime.clock.now_s())
    held = attempt.relay_to(exchange.writer)
    if held:
        exchange.writer.write(held)
    if client.is_full:
        exchange.pause_response()
    client.open_tunnel()
    if tunnel is not None and tunnel.is_full:
        client.pause_reading()  # With what came before there was a tunnel.
    if client.has_ended and tunnel is not None:
        tunnel.write_eof()  # It said so before there was a tunnel.
    while not (attempt.is_ended and client.has_ended):
        await exchange.meeting
        if attempt.is_ended and not client.has_ended:
            client.write_eof()


def say_goodbye(exchange: Exchange) -> None:
    """Tell a client in words of its protocol that the proxy ends."""
    attempt = exchange.under_way
    is_websocket = exchange.is_tunnel and exchange.head.upgrade == b"websocket"
    if is_websocket and attempt is not None and not attempt.is_ended:
        exchange.writer.write(_GOING_AWAY)
