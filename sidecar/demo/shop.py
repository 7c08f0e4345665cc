"""The application of the demo (aiohttp): healthy, flaky, slow, streaming, resetting."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Address

_FAILS = 0.3
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for 0 s.
_TICKS = 5
_TICK_S = 0.18


async def start_shop(address: Address) -> web.AppRunner:
    """Serve the shop; `cleanup()` what is returned.

    Raises:
        OSError: The port is taken.
    """
    application = web.Application()
    add = application.router.add_route
    add("*", "/catalogue", _healthy)
    add("*", "/stock", _healthy)
    add("*", "/prices", _flaky)
    add("*", "/orders", _flaky)
    add("*", "/report", _slow)
    add("*", "/events", _stream)
    add("*", "/payments", _reset)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, address.host, address.port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner


async def _healthy(request: web.Request) -> web.Response:
    return web.json_response({"path": request.path, "ok": True})


async def _flaky(request: web.Request) -> web.Response:
    if random.random() < _FAILS:  # noqa: S311 - a demo
        headers = (
            {"x-316-code": "316-ORDER-SUBMIT-ERR"} if request.method == "POST" else {}
        )
        return web.json_response({"ok": False}, status=503, headers=headers)
    return web.json_response({"path": request.path, "ok": True})


async def _slow(_: web.Request) -> web.Response:
    await asyncio.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - a demo
    return web.json_response({"ok": True})


async def _stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    with contextlib.suppress(ConnectionError):  # Whoever listened has left.
        for number in range(1, _TICKS + 1):
            await response.write(f"data: tick {number} of {_TICKS}\n\n".encode())
            await asyncio.sleep(_TICK_S)
    return response


async def _reset(request: web.Request) -> web.Response:
    """Close with RST instead of an answer, as the kernel does for a crashed process."""
    transport = request.transport
    if transport is not None:
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        transport.abort()
    return web.Response()  # Goes nowhere.
