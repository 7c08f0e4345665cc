"""RFC 9112, 9.8: a TLS connection that ends without saying so was cut.

That of uvloop, with which the sidecar runs: the loop of asyncio takes both for an end.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import uvloop

from tests.support.certificates import Authority
from tests.support.proxy import body_of, header_of, proxied, status_of
from tests.support.threaded import read_head, threaded_origin

if TYPE_CHECKING:
    import socket
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\n"
GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


async def answer_over_tls(authority: Authority, raw: bytes, *, is_told: bool) -> bytes:
    """Return what a client gets of `raw`, behind which the connection ends.

    Args:
        authority: Signs for the origin.
        raw: What that sends.
        is_told: Its end is: by a close_notify, and not only by the end of TCP.
    """
    context = authority.server_context("127.0.0.1")

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as talk:
            read_head(talk)
            talk.sendall(raw)
            if is_told:
                talk.unwrap()

    tls = {"ca_file": authority.ca_file}
    with threaded_origin(serve) as endpoint:
        async with proxied(endpoints=[endpoint], upstream={"tls": tls}) as proxy:
            return await proxy.ask(GET)


@pytest.mark.parametrize("is_told", [True, False])
def test_only_a_closure_alert_ends_a_body_without_a_length(
    tmp_path: Path, *, is_told: bool
) -> None:
    """Else whoever is between could cut an answer short, and nobody would see it."""
    authority = Authority(tmp_path / "ca")
    answer = uvloop.run(answer_over_tls(authority, HEAD + b"\r\nabc", is_told=is_told))
    assert status_of(answer) == 200
    assert body_of(answer).startswith(b"3\r\nabc\r\n")
    assert answer.endswith(b"0\r\n\r\n") is is_told


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"Content-Length: 3\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_what_is_whole_by_its_own_count_needs_no_alert(
    tmp_path: Path, raw: bytes
) -> None:
    authority = Authority(tmp_path / "ca")
    answer = uvloop.run(answer_over_tls(authority, raw, is_told=False))
    assert status_of(answer) == 200
    assert header_of(answer, "connection") == "close"
    assert b"abc" in body_of(answer)


async def close_idle(authority: Authority) -> bytes:
    """Return what an origin reads when the sidecar ends with a connection idle."""
    context = authority.server_context("127.0.0.1")
    ends: list[bytes] = []

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(
            plain, server_side=True, suppress_ragged_eofs=False
        ) as talk:
            read_head(talk)
            talk.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
            ends.append(talk.recv(1))  # Without an alert, that is an error.
            talk.unwrap()

    tls = {"ca_file": authority.ca_file}
    with threaded_origin(serve) as endpoint:
        async with proxied(endpoints=[endpoint], upstream={"tls": tls}) as proxy:
            assert status_of(await proxy.ask(GET)) == 200
    (end,) = ends
    return end


def test_an_idle_connection_is_closed_with_an_alert(tmp_path: Path) -> None:
    assert uvloop.run(close_idle(Authority(tmp_path / "ca"))) == b""


async def end_with_a_deaf_peer(authority: Authority, is_over: threading.Event) -> None:
    """End a sidecar whose idle connection's peer does not answer the alert."""
    context = authority.server_context("127.0.0.1")

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as talk:
            read_head(talk)
            talk.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
            is_over.wait(30)

    tls = {"ca_file": authority.ca_file}
    with threaded_origin(serve) as endpoint:
        async with proxied(endpoints=[endpoint], upstream={"tls": tls}) as proxy:
            assert status_of(await proxy.ask(GET)) == 200
        assert proxy.app.runtime.upstreams["app"].pool.ending == 0
        is_over.set()


def test_a_peer_that_is_deaf_to_alerts_holds_nobody(tmp_path: Path) -> None:
    """Nor the end of the process: what is left is aborted then."""
    uvloop.run(end_with_a_deaf_peer(Authority(tmp_path / "ca"), threading.Event()))
