"""GET /application/CONTAINER/KIND: a probe of the application, asked for the kubelet.

It is asked where the kubelet would have: at the pod's address, which the question came
to. As for the kubelet, any status from 200 to 399 is a success, and redirects are not
followed (Kubernetes: "Configure Liveness, Readiness and Startup Probes").
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from yarl import URL

from sidecar.accept.client import peer_of

if TYPE_CHECKING:
    from sidecar.application_probes import ApplicationProbe

_SUCCESS: Final = range(200, 400)
_MARGIN_S: Final = 0.1  # For the kubelet to read why, rather than a timeout.


class ApplicationProbes:
    """The handler. At most one question of each kind is under way."""

    def __init__(self, probes: dict[str, ApplicationProbe]) -> None:
        self._probes = probes
        self._busy: set[str] = set()

    async def ask(self, request: web.Request) -> web.Response:
        """Ask the application, and hand on what it says."""
        name = request.match_info["name"]
        probe = self._probes.get(name)
        if probe is None:
            return web.Response(status=404, text=f"no probe {name!r} is known\n")
        if name in self._busy:
            return _failed("the probe before is still unanswered")
        self._busy.add(name)
        try:
            async with asyncio.timeout(max(_MARGIN_S, probe.timeout_s - _MARGIN_S)):
                return await _answer(probe, _own_address(request), request)
        except TimeoutError:
            return _failed(f"port {probe.port} has not answered in time")
        except (OSError, ClientError, ValueError) as error:
            return _failed(f"port {probe.port}: {error}")
        finally:
            self._busy.discard(name)


async def _answer(
    probe: ApplicationProbe, host: str, request: web.Request
) -> web.Response:
    if probe.http_get is None:
        _, writer = await asyncio.open_connection(host, probe.port)
        writer.transport.abort()
        return web.Response(text="somebody listens\n")
    fields = {"User-Agent": request.headers.get("User-Agent", "kube-probe/sidecar")}
    fields |= {field.name: field.value for field in probe.http_get.http_headers}
    path = probe.http_get.path
    url = URL.build(scheme="http", host=host, port=probe.port, path="/")
    url = url.join(URL(path if path.startswith("/") else f"/{path}", encoded=True))
    async with (
        ClientSession(timeout=ClientTimeout(None), auto_decompress=False) as session,
        session.get(url, headers=fields, allow_redirects=False) as answer,
    ):
        if answer.status not in _SUCCESS:
            return _failed(f"port {probe.port} answered {answer.status}")
        return web.Response(text=f"port {probe.port} answered {answer.status}\n")


def _own_address(request: web.Request) -> str:
    """Return the address that the kubelet meant: one of the pod's."""
    transport = request.transport
    name = None if transport is None else transport.get_extra_info("sockname")
    return peer_of(str(name[0])) if name else "127.0.0.1"


def _failed(reason: str) -> web.Response:
    return web.Response(status=503, text=f"{reason}\n")
