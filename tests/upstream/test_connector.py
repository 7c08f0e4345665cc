"""Opening connections: name, TCP, TLS, each step with its limit and its fault."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from sidecar.clock import LoopClock
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Phase, TimeoutKind
from sidecar.settings.load import load_text
from sidecar.upstream.connector import Connector
from sidecar.upstream.pool import Endpoint
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.clock import Clock
    from sidecar.settings.snapshot import Timeouts, Upstream

YAML = """
upstreams: {app: {endpoints: ["%s"], %s}}
routes: [{name: all, upstream: app, timeouts: {connect: 50ms, dns: 50ms}}]
"""


def configured(address: str, more: str = "") -> tuple[Upstream, Timeouts]:
    snapshot = load_text(YAML % (address, more)).snapshot
    return snapshot.upstreams["app"], snapshot.routes[0].timeouts


async def connect_to(
    address: str, more: str = "", connector: Connector | None = None
) -> None:
    """Connect, and hang up."""
    upstream, timeouts = configured(address, more)
    made = connector or a_connector(upstream)
    connection = await made.connect(Endpoint(upstream.endpoints[0]), timeouts)
    connection.close()
    await asyncio.sleep(0)


def a_connector(upstream: Upstream, clock: Clock | None = None) -> Connector:
    clock = clock or LoopClock(asyncio.get_running_loop())
    return Connector(upstream, clock, lambda *_: None)


async def fault_of(address: str, more: str = "") -> ProxyFault:
    with pytest.raises(ProxyFault) as caught:
        await connect_to(address, more)
    return caught.value


@contextmanager
def full_backlog() -> Iterator[int]:
    """Listen on a port whose queue is full: the system drops what else comes."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_connection_that_nobody_takes_is_given_up() -> None:
    with full_backlog() as port:
        fault = await fault_of(f"127.0.0.1:{port}")
    assert fault.code is FaultCode.CONN_TIMEOUT
    assert (fault.timeout, fault.phase) == (TimeoutKind.CONNECT, Phase.CONNECT)


async def test_a_handshake_that_nobody_answers_is_given_up() -> None:
    """Within the same limit, and told from a port that takes nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fault = await fault_of(f"127.0.0.1:{port}", "tls: {verify: false}")
    assert fault.code is FaultCode.CONN_TIMEOUT
    assert (fault.timeout, fault.phase) == (TimeoutKind.CONNECT, Phase.TLS)


async def never(*_: Any, **__: Any) -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError


async def refuse(*_: Any, **__: Any) -> NoReturn:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def test_a_name_server_that_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    fault = await fault_of("app.example:80")
    assert fault.code is FaultCode.DNS_TIMEOUT
    assert (fault.timeout, fault.phase) == (TimeoutKind.DNS, Phase.DNS)


async def test_a_name_that_is_not_known_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse)
    fault = await fault_of("app.example:80")
    assert (fault.code, fault.phase) == (FaultCode.DNS_ERR, Phase.DNS)


def answering(*addresses: str) -> Any:
    async def answer(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, 0, 0, "", (address, 0)) for address in addresses]

    return answer


async def test_every_address_of_a_name_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`localhost` may be ::1 first, while the application is on 127.0.0.1 alone."""
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as there:
        port = there.getsockname()[1]
        answer = answering("127.0.0.2", "127.0.0.1")
        monkeypatch.setattr(loop, "getaddrinfo", answer)
        await connect_to(f"app.example:{port}")


async def test_a_known_address_outlives_its_name_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For a minute; then the name server is needed again."""
    loop, clock = asyncio.get_running_loop(), FakeClock()
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"app.example:{there.getsockname()[1]}"
        connector = a_connector(configured(address)[0], clock)
        monkeypatch.setattr(loop, "getaddrinfo", answering("127.0.0.1"))
        await connect_to(address, connector=connector)
        monkeypatch.setattr(loop, "getaddrinfo", refuse)
        clock.advance(59.0)
        await connect_to(address, connector=connector)
        clock.advance(2.0)
        with pytest.raises(ProxyFault):
            await connect_to(address, connector=connector)


async def test_what_is_not_wanted_any_more_is_closed() -> None:
    """Cancelled while under way: nobody is told, and nothing stays open."""
    told: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as there:
        upstream, timeouts = configured(f"127.0.0.1:{there.getsockname()[1]}")
        opening = a_connector(upstream).open(
            Endpoint(upstream.endpoints[0]), timeouts, told.append
        )
        await asyncio.sleep(0)
        opening.cancel()
        there.settimeout(5)
        client, _ = there.accept()
        with client:
            for _ in range(3):
                await asyncio.sleep(0)
            assert client.recv(1) == b""
    assert told == []
