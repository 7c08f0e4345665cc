"""TLS towards an upstream: it works, or the failure says which part did not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.certificates import Authority
from tests.support.observe import fault_of, idle_connections
from tests.support.proxy import (
    Origin,
    Proxy,
    Talk,
    always_ok,
    body_of,
    header_of,
    proxied,
    status_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    Script = Callable[[Talk], Awaitable[None]]

ONCE = {"preset": "off"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@asynccontextmanager
async def before(
    context: ssl.SSLContext | None,
    tls: dict[str, Any],
    host: str = "127.0.0.1",
    script: Script = always_ok,
) -> AsyncIterator[tuple[Proxy, Origin]]:
    """Run a sidecar that speaks TLS to an origin that has `context`."""
    origin = Origin(script)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        async with proxied(
            endpoints=[f"{host}:{port}"], upstream={"tls": tls}, retry=ONCE
        ) as proxy:
            yield proxy, origin
    finally:
        server.close()
        await origin.end()


async def is_told(proxy: Proxy, code: str) -> dict[str, Any]:
    """Assert that GET and POST fail at once, by that name, in the TLS phase."""
    for answer in (await proxy.get(), await proxy.post()):
        assert status_of(answer) == 502
        assert header_of(answer, "x-316-code") == code
        assert header_of(answer, "x-316-processed") == "no"
    record = await fault_of(proxy)
    assert record["phase"] == "tls"
    return record


# What fits.


@pytest.mark.parametrize("name", ["127.0.0.1", "orders.test"])
async def test_who_can_prove_its_name_is_believed(
    authority: Authority, name: str
) -> None:
    context = authority.server_context(name)
    tls = {"ca_file": authority.ca_file, "server_name": name}
    async with before(context, tls) as (proxy, origin):
        for _ in range(3):
            assert body_of(await proxy.get()) == b"ok"
        assert status_of(await proxy.post(b"x" * 100_000)) == 200
        assert origin.connections == await idle_connections(proxy) == 1


async def test_without_a_name_of_its_own_the_endpoints_is_asked_for(
    authority: Authority,
) -> None:
    context = authority.server_context("localhost")
    tls = {"ca_file": authority.ca_file}
    async with before(context, tls, "localhost") as (proxy, _):
        assert status_of(await proxy.get()) == 200


# What does not.


async def test_an_unknown_authority(authority: Authority, tmp_path: Path) -> None:
    foreign = Authority(tmp_path / "foreign")
    context = foreign.server_context("127.0.0.1")
    async with before(context, {"ca_file": authority.ca_file}) as (proxy, origin):
        record = await is_told(proxy, "316-TLS-CERT")
        assert record["severity"] == "P0"
        assert origin.requests == []


async def test_the_authorities_of_the_system_do_not_know_it(
    authority: Authority,
) -> None:
    async with before(authority.server_context("127.0.0.1"), {}) as (proxy, _):
        await is_told(proxy, "316-TLS-CERT")


async def test_a_name_that_is_not_in_the_certificate(authority: Authority) -> None:
    context = authority.server_context("orders.test")
    tls = {"ca_file": authority.ca_file, "server_name": "billing.test"}
    async with before(context, tls) as (proxy, origin):
        await is_told(proxy, "316-TLS-CERT")
        assert origin.requests == []


async def test_who_does_not_want_to_know_is_not_told(authority: Authority) -> None:
    async with before(authority.server_context("x.test"), {"verify": False}) as (
        proxy,
        _,
    ):
        assert status_of(await proxy.get()) == 200


async def test_a_server_that_answers_in_plain_text(authority: Authority) -> None:
    async def complain(talk: Talk) -> None:
        await talk.reader.read(1)
        await talk.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    tls = {"ca_file": authority.ca_file}
    async with before(None, tls, script=complain) as (proxy, _):
        await is_told(proxy, "316-TLS-PROTO")


@contextmanager
def strict_server(context: ssl.SSLContext) -> Iterator[int]:
    """Serve handshakes on a thread; yield the port.

    With blocking sockets, for asyncio's own server hangs up on a failed handshake
    before its alert is sent.
    """

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # Closed: the test is over.
            shake_hands(context, client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def shake_hands(context: ssl.SSLContext, client: socket.socket) -> None:
    """Send an alert if it fails, and hear the client out: no reset overtakes it."""
    tls = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    try:
        tls.do_handshake()
    except ssl.SSLError:
        with socket.socket(fileno=tls.detach()) as plain:
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
    else:
        tls.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_server_that_wants_a_certificate_and_gets_none(
    authority: Authority, version: str
) -> None:
    """In TLS 1.3 its alert comes when the client believes to be connected."""
    context = authority.server_context("127.0.0.1")
    context.maximum_version = ssl.TLSVersion[version]
    authority.demand_from(context)
    tls = {"ca_file": authority.ca_file}
    with strict_server(context) as port:
        endpoints = [f"127.0.0.1:{port}"]
        async with proxied(
            endpoints=endpoints, upstream={"tls": tls}, retry=ONCE
        ) as proxy:
            for answer in (await proxy.get(), await proxy.post()):
                assert status_of(answer) == 502
                assert header_of(answer, "x-316-code") == "316-TLS-ALERT"


async def test_a_server_that_wants_a_certificate_and_gets_one(
    authority: Authority,
) -> None:
    context = authority.server_context("127.0.0.1")
    authority.demand_from(context)
    tls = {"ca_file": authority.ca_file, **authority.client_files("sidecar.test")}
    async with before(context, tls) as (proxy, _):
        assert status_of(await proxy.post()) == 200


async def test_a_server_that_says_nothing_to_a_handshake(
    authority: Authority,
) -> None:
    """It is bound by the limit of connecting, TLS included."""

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await quiet.wait()
        writer.close()

    quiet = asyncio.Event()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with proxied(
        endpoints=[f"127.0.0.1:{port}"],
        upstream={"tls": {"ca_file": authority.ca_file}},
        timeouts={"connect": "100ms"},
        retry=ONCE,
    ) as proxy:
        answer = await proxy.get()
        assert status_of(answer) == 504
        assert header_of(answer, "x-316-code") == "316-CONN-TIMEOUT"
        assert (await fault_of(proxy))["timeout_kind"] == "connect"
    quiet.set()
    server.close()
    await server.wait_closed()
