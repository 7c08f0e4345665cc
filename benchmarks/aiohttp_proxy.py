"""A reverse proxy of aiohttp's server and client, as fast as those allow.

What a Python programmer would write first, without its usual brakes: uvloop,
no router, no access log, no cookies, no decompression, an unbounded pool of
kept-alive connections. A body of known and modest length is passed on in one
piece, any other as it comes.

Run as ``python -m benchmarks.aiohttp_proxy PORT ORIGIN_PORT``.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_HOST = "127.0.0.1"
_ONE_PIECE_BYTES = 64 * 1024
_HOP_BY_HOP = (
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)


class Proxy:
    """Hands every request to one origin."""

    def __init__(self, session: ClientSession, origin_port: int) -> None:
        self._session = session
        self._base = URL(f"http://{_HOST}:{origin_port}")

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Ask the origin and pass its answer on."""
        async with self._session.request(
            request.method,
            self._base.join(request.rel_url),
            headers=_end_to_end(request.headers),
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        ) as answer:
            fields = _end_to_end(answer.headers)
            length = answer.content_length
            if length is not None and length <= _ONE_PIECE_BYTES:
                body = await answer.read()
                return web.Response(status=answer.status, headers=fields, body=body)
            response = web.StreamResponse(status=answer.status, headers=fields)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _end_to_end(received: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    fields = CIMultiDict(received)
    for name in _HOP_BY_HOP:
        fields.popall(name, None)
    return fields


async def _serve(port: int, origin_port: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=60),
        auto_decompress=False,
    ) as session:
        server = web.Server(Proxy(session, origin_port).handle, access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, _HOST, port, shutdown_timeout=0.1).start()
        await stopped.wait()
        await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
