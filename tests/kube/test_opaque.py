"""What is not HTTP passes the sidecar as if it were not there, to its very end.

The application of a pod speaks to a service on the client's host.
"""

from __future__ import annotations

import signal
import socket
import struct
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sidecar.kube.rules import Family
from tests.kube.network import APP_USER, CLIENT, PATIENCE_S, Network, inside, run
from tests.kube.programs import metric, sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 7000
OPEN = "sidecar_opaque_open"
FAULTS = "app_316_fault_total"
HELLO = b"\x16 hello"  # Not HTTP.
LIMITS = "defaults: {timeouts: {tunnel_idle: 300ms, connect: 300ms}}\n"
MANY = 40


DROP = f"""table ip test {{
  chain input {{
    type filter hook input priority 0
    tcp dport {PORT} drop
  }}
}}"""


def listening(net: Network, family: Family = Family.IPV4) -> socket.socket:
    """Return a service's socket."""
    kind = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
    address = CLIENT[family], PORT
    make = partial(socket.create_server, address, family=kind, backlog=MANY)
    made: socket.socket = inside(net.client, make)
    made.settimeout(PATIENCE_S)
    return made


@pytest.fixture
def service(net: Network) -> Iterator[socket.socket]:
    with listening(net) as made:
        yield made


def by_app(net: Network, family: Family = Family.IPV4) -> socket.socket:
    return net.connect(net.pod, APP_USER, CLIENT[family], PORT)


def accepted(service: socket.socket) -> socket.socket:
    server, _ = service.accept()
    server.settimeout(PATIENCE_S)
    return server


def both(net: Network, service: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Return the ends of a connection that has been used."""
    app = by_app(net)
    app.sendall(HELLO)
    server = accepted(service)
    assert server.recv(100) == HELLO
    return app, server


def read_all(made: socket.socket) -> bytes:
    return b"".join(iter(lambda: made.recv(65536), b""))


def reset(made: socket.socket) -> None:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("is_app_first", [True, False])
def test_who_has_said_all_still_hears_the_other(
    net: Network, config: str, family: Family, *, is_app_first: bool
) -> None:
    with listening(net, family) as service, sidecar(net, "-c", config):
        app = by_app(net, family)
        app.sendall(HELLO)
        with accepted(service) as server:
            first, last = (app, server) if is_app_first else (server, app)
            assert server.recv(100) == HELLO
            first.sendall(b"that is all")
            first.shutdown(socket.SHUT_WR)
            assert read_all(last) == b"that is all"
            last.sendall(b"an answer")
            last.close()
            assert read_all(first) == b"an answer"


@pytest.mark.parametrize("is_app", [True, False])
def test_a_reset_arrives_as_one(
    net: Network, service: socket.socket, config: str, *, is_app: bool
) -> None:
    with sidecar(net, "-c", config):
        app, server = both(net, service)
        lost, other = (app, server) if is_app else (server, app)
        reset(lost)
        with other, pytest.raises(ConnectionResetError):
            other.recv(1)


def test_limits_of_time_hold(net: Network, service: socket.socket, config: str) -> None:
    """Without a byte; and to connect, where packets are lost."""
    with Path(config).open("a", encoding="utf-8") as file:
        file.write(LIMITS)
    with sidecar(net, "-c", config):
        app, server = both(net, service)
        for end in (app, server):
            with end, pytest.raises(ConnectionResetError):
                end.recv(1)
        assert metric(net, FAULTS, "316-TIMEOUT-IDLE") == 1
        inside(net.client, partial(run, "nft", "-f", "-", text=DROP))
        with by_app(net) as app:
            app.sendall(HELLO)
            with pytest.raises(ConnectionResetError):
                app.recv(1)
        assert metric(net, FAULTS, "316-CONN-TIMEOUT") == 1


def test_a_sidecar_that_is_to_end_waits_for_what_the_application_has_open(
    net: Network, service: socket.socket, config: str
) -> None:
    with sidecar(net, "-c", config) as proxy:
        app, server = both(net, service)
        proxy.send_signal(signal.SIGTERM)
        for _ in range(3):
            app.sendall(HELLO)
            assert server.recv(100) == HELLO
        app.close()
        assert read_all(server) == b""
        server.close()
        assert proxy.wait(PATIENCE_S) == 0


def test_what_is_excluded_goes_past_it(
    net: Network, service: socket.socket, config: str
) -> None:
    net.iptables(
        *("--apply", "--format", "nft", "--outbound"),
        *("--exclude-outbound-ports", str(PORT)),
    )
    with sidecar(net, "-c", config):
        app, server = both(net, service)
        assert server.getpeername() == app.getsockname()
        assert metric(net, OPEN) == 0
        server.close()


def test_many_at_once_leave_nothing_behind(
    net: Network, service: socket.socket, config: str
) -> None:
    with sidecar(net, "-c", config) as proxy:
        folder = Path(f"/proc/{proxy.pid}/fd")
        both_ends = both(net, service)
        for end in both_ends:
            end.close()
        until_none_is_open(net)
        before = count_in(folder)
        with ExitStack() as stack:
            for _ in range(MANY):
                for end in both(net, service):
                    stack.enter_context(end)
            assert metric(net, OPEN) == MANY
        until_none_is_open(net)
        while count_in(folder) > before:
            pass  # A test has a limit of time.


def until_none_is_open(net: Network) -> None:
    """Return when the sidecar has no such connection."""
    while metric(net, OPEN):
        pass


def count_in(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def sent_until_full(made: socket.socket) -> int:
    """Return how many bytes were sent until nobody took more; 256 MiB at most."""
    sent_bytes = 0
    with suppress(TimeoutError):
        while sent_bytes < 256 * 1024 * 1024:
            sent_bytes += made.send(bytes(65536))
    return sent_bytes


def test_who_does_not_read_stops_who_sends(
    net: Network, service: socket.socket, config: str
) -> None:
    with sidecar(net, "-c", config):
        app, server = both(net, service)
        server.settimeout(0.5)
        sent_bytes = sent_until_full(server)
        assert sent_bytes < 32 * 1024 * 1024  # The kernel's: the sidecar has 64 KiB.
        server.close()
        assert len(read_all(app)) == sent_bytes


def test_one_that_the_rules_do_not_let_go_is_refused_on_ipv6_too(
    net: Network, config: str
) -> None:
    with listening(net, Family.IPV6), sidecar(net, "-c", config, user=APP_USER):
        with (
            by_app(net, Family.IPV6) as app,
            pytest.raises((ConnectionResetError, BrokenPipeError)),
        ):
            read_all(app)
        assert metric(net, FAULTS, "316-PROXY-LOOP") >= 1
