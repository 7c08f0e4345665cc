"""GET /application/CONTAINER/KIND: a probe of the application, asked for the kubelet.

It is asked where the kubelet would have: at the pod's address, which the question came
to. As for the kubelet, any status from 200 to 399 is a success, redirects are not
followed, and a certificate is not verified (Kubernetes: "Configure Liveness, Readiness
and Startup Probes").
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

from sidecar.accept.client import peer_of

if TYPE_CHECKING:
    from sidecar.application_probes import ApplicationProbe, HttpGet

_SUCCESS: Final = range(200, 400)
_MARGIN_S: Final = 0.1  # For the kubelet to read why, rather than a timeout.
_KUBELET: Final = re.compile(r"kube-probe/[0-9.+]{1,16}")
_LEFT_IN_URLS: Final = "/%:@!$&'()*+,;=~?"

_Key = tuple[str, str]  # The probe, and the address that it is asked at.
_Answer = tuple[int, str]  # Status, and why.


class ApplicationProbes:
    """The handler. At most one question of each kind is under way, at each address.

    Its answer is for all who ask meanwhile: this port is open to the network, and
    nobody may keep the kubelet from its answer by asking, too.
    """

    def __init__(self, probes: dict[str, ApplicationProbe]) -> None:
        self._probes = probes
        self._asking: dict[_Key, asyncio.Task[_Answer]] = {}

    async def ask(self, request: web.Request) -> web.Response:
        """Ask the application, and hand on what it says."""
        name = request.match_info["name"]
        probe = self._probes.get(name)
        if probe is None:
            return web.Response(status=404, text=f"no probe {name!r} is known\n")
        key = name, _own_address(request)
        task = self._asking.get(key)
        if task is None:
            task = asyncio.create_task(_answer(probe, key[1], _agent(request)))
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key))
        status, reason = await asyncio.shield(task)  # Who asked first may go away.
        return web.Response(status=status, text=f"{reason}\n")

    async def close(self, _: web.Application) -> None:
        """Ask no more."""
        for task in [*self._asking.values()]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _answer(probe: ApplicationProbe, host: str, agent: str) -> _Answer:
    try:
        async with asyncio.timeout(max(_MARGIN_S, probe.timeout_s - _MARGIN_S)):
            if probe.http_get is None:
                return await _connect(host, probe.port)
            return await _get(probe.http_get, host, probe.port, agent)
    except TimeoutError:
        return 503, f"port {probe.port} has not answered in time"
    except (OSError, ClientError, ValueError) as error:
        return 503, f"port {probe.port}: {error}"


async def _connect(host: str, port: int) -> _Answer:
    _, writer = await asyncio.open_connection(host, port)
    writer.transport.abort()
    return 200, "somebody listens"


async def _get(asked: HttpGet, host: str, port: int, agent: str) -> _Answer:
    fields = CIMultiDict((field.name, field.value) for field in asked.http_headers)
    fields.setdefault("User-Agent", agent)
    async with (
        ClientSession(
            connector=TCPConnector(force_close=True, ssl=False),
            timeout=ClientTimeout(None),
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        ) as session,
        session.get(
            url_of(asked, host, port), headers=fields, allow_redirects=False
        ) as answer,
    ):
        status = 200 if answer.status in _SUCCESS else 503
        return status, f"port {port} answered {answer.status}"


def url_of(asked: HttpGet, host: str, port: int) -> URL:
    """Return what is asked: whatever the path is, it leads to no other host."""
    path = asked.path.partition("#")[0].removeprefix("/")
    base = URL.build(scheme=asked.scheme, host=host, port=port, path="/").origin()
    return URL(f"{base}{quote(f'/{path}', _LEFT_IN_URLS)}", encoded=True)


def _agent(request: web.Request) -> str:
    """Return what the kubelet calls itself; others have no say in what is asked."""
    given = request.headers.get("User-Agent", "")
    return given if _KUBELET.fullmatch(given) else "kube-probe/sidecar"


def _own_address(request: web.Request) -> str:
    """Return the address that the kubelet meant: one of the pod's."""
    transport = request.transport
    name = None if transport is None else transport.get_extra_info("sockname")
    return peer_of(str(name[0])) if name else "127.0.0.1"
