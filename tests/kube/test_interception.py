"""Connections that the kernel has redirected reach whom they were meant for.

An nginx and a Redis that know nothing of it stand in a pod, the sidecar beside them as
the user that the rules let go; a client's host is on the other end of the cable.
"""

from __future__ import annotations

import shutil
from http.client import HTTPConnection, HTTPResponse
from typing import TYPE_CHECKING

import pytest

from sidecar.kube.rules import Family
from tests.kube.network import (
    ANY,
    APP_USER,
    CLIENT,
    COMMAND,
    POD,
    Network,
    greeting_of,
    inside,
    run,
)
from tests.kube.programs import metric, nginx, redis, sidecar, stop
from tests.support.nginx import needs_nginx

if TYPE_CHECKING:
    import socket
    from pathlib import Path

DECIDED = "sidecar_intercepted_connections_total"
FAULTS = "app_316_fault_total"

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


def asked(made: socket.socket, host: str = "") -> HTTPResponse:
    """Return the answer to a GET, its body read."""
    address, port, *_ = made.getpeername()
    connection = HTTPConnection(address, port, timeout=20)
    connection.sock = made
    connection.request("GET", "/", headers={"Host": host} if host else {})
    response = connection.getresponse()
    response.body = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def by_client(net: Network, address: str, port: int) -> HTTPResponse:
    return asked(net.connect(net.client, 0, address, port))


def by_app(net: Network, address: str, port: int, host: str = "") -> HTTPResponse:
    return asked(net.connect(net.pod, APP_USER, address, port), host)


@needs_nginx
def test_each_port_of_the_application_is_reached_by_itself(
    net: Network, folder: Path, config: str
) -> None:
    """Also one that it listens on at the pod's own address only."""
    listens = ("8080", "[::]:8080", "9090", f"{POD[Family.IPV4]}:9191")
    with nginx(net, folder, listens), sidecar(net, "-c", config):
        for family in Family:
            answer = by_client(net, POD[family], 8080)
            assert answer.status == 200
            assert answer.headers["x-route"] == "all"
            assert answer.headers["x-seen-for"] == CLIENT[family]
        other = by_client(net, POD[Family.IPV4], 9090)
        assert other.headers["x-route"] == "all"
        assert other.headers["x-seen-port"] == "9090"
        only_there = by_client(net, POD[Family.IPV4], 9191)
        assert only_there.headers["x-seen-port"] == "9191"
        closed = by_client(net, POD[Family.IPV4], 9292)
        assert closed.status == 502
        assert closed.headers["x-316-code"] in (
            "316-CONN-REFUSED",
            "316-RETRY-EXHAUSTED",
        )


@needs_nginx
def test_what_the_application_sends_gets_where_it_meant_with_the_policies_of_a_route(
    net: Network, folder: Path, config: str
) -> None:
    listens = ("80", "[::]:80", "8081")
    with nginx(net, folder, listens, net.client), sidecar(net, "-c", config):
        for family in Family:
            plain = by_app(net, CLIENT[family], 80)
            assert plain.status == 200
            assert "sidecar" in plain.headers["via"]
            assert plain.headers["x-route"] is None  # No route takes it: it passes.
            named = by_app(net, CLIENT[family], 80, "web.example")
            assert named.headers["x-route"] == "web"
        by_address = by_app(net, CLIENT[Family.IPV4], 8081)
        assert by_address.headers["x-route"] == "here"


@needs_redis
@pytest.mark.parametrize("port", [6379, 7000])
def test_a_redis_is_spoken_to_as_it_is(
    net: Network, folder: Path, config: str, port: int
) -> None:
    """On a port that is known to be opaque, and on one where that is found out."""
    with redis(net, folder, port), sidecar(net, "-c", config):
        with net.connect(net.client, 0, POD[Family.IPV4], port) as client:
            client.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n")
            assert client.recv(100) == b"+OK\r\n"
            client.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n")
            assert client.recv(100) == b"$1\r\nb\r\n"
            assert metric(net, "sidecar_opaque_open", "inbound") == 1
        by = "port" if port == 6379 else "client"
        assert metric(net, DECIDED, "inbound", "opaque", f'"{by}"') == 1
        moved = metric(net, "sidecar_opaque_bytes_total", "inbound", '"out"')
        assert moved == len(b"+OK\r\n$1\r\nb\r\n")


def test_a_server_that_speaks_first_is_heard_and_remembered(
    net: Network, config: str
) -> None:
    net.listen(net.client, "service", 0, (ANY[Family.IPV4], 2525))
    with sidecar(net, "-c", config):
        for by in ("server", "memory"):
            connection = net.connect(net.pod, APP_USER, CLIENT[Family.IPV4], 2525)
            assert greeting_of(connection) == "service"
            connection.sendall(b"and back")
            assert connection.recv(100) == b"and back"
            connection.close()
            assert metric(net, DECIDED, "outbound", "opaque", f'"{by}"') == 1


def test_a_database_that_is_not_there_has_its_code(net: Network, config: str) -> None:
    with sidecar(net, "-c", config):
        connection = net.connect(net.pod, APP_USER, CLIENT[Family.IPV4], 5432)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert metric(net, FAULTS, "316-DB-CONN-ERR") == 1


@needs_nginx
@pytest.mark.parametrize("port", [80, 2525])
def test_a_loop_ends_where_it_begins(
    net: Network, folder: Path, config: str, port: int
) -> None:
    """The sidecar runs as a user that the rules do not let go."""
    net.listen(net.client, "service", 0, (ANY[Family.IPV4], 2525))
    with (
        nginx(net, folder, ("80",), net.client),
        sidecar(net, "-c", config, user=APP_USER),
    ):
        if port == 80:
            answer = by_app(net, CLIENT[Family.IPV4], port)
            assert answer.status == 502
            assert answer.headers["x-316-code"] == "316-PROXY-LOOP"
        else:
            connection = net.connect(net.pod, APP_USER, CLIENT[Family.IPV4], port)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert metric(net, FAULTS, "316-PROXY-LOOP") >= 1


@needs_nginx
def test_one_that_asks_for_the_proxy_itself_is_told_so(
    net: Network, config: str
) -> None:
    with sidecar(net, "-c", config):
        answer = by_client(net, POD[Family.IPV4], 15006)
        assert answer.status == 502
        assert answer.headers["x-316-code"] == "316-PROXY-LOOP"


@needs_nginx
def test_application_and_sidecar_may_start_again(
    net: Network, folder: Path, config: str
) -> None:
    address = POD[Family.IPV4]
    listens = ("8080",)
    with nginx(net, folder, listens) as first, sidecar(net, "-c", config) as proxy:
        assert by_client(net, address, 8080).status == 200
        stop(first)
        assert by_client(net, address, 8080).status == 502
        with nginx(net, folder, listens):
            assert by_client(net, address, 8080).status == 200
            stop(proxy)
            with pytest.raises(ConnectionRefusedError):  # Nobody goes past it.
                by_client(net, address, 8080)
            with sidecar(net, "-c", config):
                assert by_client(net, address, 8080).status == 200


@needs_nginx
def test_from_pod_to_pod_two_sidecars_stand_between(
    net: Network, folder: Path, config: str
) -> None:
    """What the one sends is intercepted there, and what the other gets, here."""
    options = ("--apply", "--format", "nft", "--outbound")
    inside(net.client, lambda: run(*COMMAND, *options))
    with (
        nginx(net, folder, ("8080",)),
        sidecar(net, "-c", config),
        sidecar(net, "-c", config, where=net.client),
    ):
        made = net.connect(net.client, APP_USER, POD[Family.IPV4], 8080)
        answer = asked(made)
        assert answer.status == 200
        assert answer.headers.get_all("via") == ["1.1 sidecar", "1.1 sidecar"]
        assert CLIENT[Family.IPV4] in answer.headers["x-seen-for"]
