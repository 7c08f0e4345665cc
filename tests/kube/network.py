"""Two hosts of a test's own: a client and a pod, each a network namespace, one cable.

    client 10.31.6.1 fd31:6::1 ----- 10.31.6.2 fd31:6::2 pod

What is done `inside` runs in a thread that has entered the namespace, as a user of
its own where asked: a socket stays where, and whose, it was when it was made.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sidecar.kube.rules import PROXY_USER, Family, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
APP_USER = 1000
CLIENT = {Family.IPV4: "10.31.6.1", Family.IPV6: "fd31:6::1"}
POD = {Family.IPV4: "10.31.6.2", Family.IPV6: "fd31:6::2"}
LOOPBACK = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
ANY = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}
PATIENCE_S = 20
COMMAND = (sys.executable, "-m", "sidecar", "iptables")

# Of <linux/netfilter_ipv4.h> and <linux/netfilter_ipv6/ip6_tables.h>.
_SO_ORIGINAL_DST = 80
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_SAVERS = ("iptables", "ip6tables")
_NUMBERS = itertools.count()
_PROGRAMS = {Format.IPTABLES: "iptables", Format.NFT: "nft"}


def why_not(tool: Format) -> str:
    """Return why networks with this tool cannot be had here; empty when they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", _PROGRAMS[tool]):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    try:
        with namespace() as name:
            for command in _PROBES[tool]:
                inside(name, partial(run, *command))
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", "") or str(error)
        return f"this kernel does not allow it: {' '.join(words.split())}"
    return ""


_PROBES = {
    Format.IPTABLES: (("iptables", "-tnat", "-L"), ("ip6tables", "-tnat", "-L")),
    Format.NFT: (("nft", "list", "ruleset"),),
}


def run(*command: str, text: str = "") -> str:
    """Return what a command prints.

    Raises:
        CalledProcessError: It failed.
    """
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    return done.stdout


@contextmanager
def namespace() -> Iterator[str]:
    """Yield the name of a new network namespace; it is removed in any case."""
    name = f"sidecar-test-{os.getpid()}-{next(_NUMBERS)}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "delete", name)


def inside(name: str, work: Callable[[], T], user: int = 0) -> T:
    """Return what `work` returns, done in a namespace, with files of a user."""

    def enter_and_work() -> T:
        with Path("/run/netns", name).open() as file:
            if _LIBC.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        _LIBC.setfsuid(user)
        return work()

    # Its thread ends with it: nothing else runs in the namespace, or as the user.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(enter_and_work).result()


def original_of(taken: socket.socket) -> tuple[str, int]:
    """Return where a connection was addressed to before it was redirected."""
    if taken.family == socket.AF_INET6:
        raw = taken.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        _, port, _, address = struct.unpack("!HHI16s4x", raw)
        return socket.inet_ntop(socket.AF_INET6, address), port
    raw = taken.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, 16)
    _, port, address = struct.unpack("!HH4s8x", raw)
    return socket.inet_ntoa(address), port


class _Handler(socketserver.BaseRequestHandler):
    """Tells who took the connection, and returns every byte that comes."""

    server: Listener

    def handle(self) -> None:
        greeting = self.server.title
        if self.server.tells_original:
            address, port = original_of(self.request)
            greeting += f" {address} {port}"
        with contextlib.suppress(ConnectionError):
            self.request.sendall(f"{greeting}\n".encode())
            while data := self.request.recv(4096):
                self.request.sendall(data)


class Listener(socketserver.ThreadingTCPServer):
    """Takes connections on one address, each in a thread."""

    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], title: str) -> None:
        is_ipv6 = ":" in address[0]
        self.address_family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
        self.title = title
        self.tells_original = title == "proxy"
        self._taken: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._taken.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        self._taken.discard(request)

    def server_close(self) -> None:
        for taken in list(self._taken):  # Else whoever forgot to close holds a thread.
            with contextlib.suppress(OSError):
                taken.shutdown(socket.SHUT_RDWR)
        super().server_close()


class Network:
    """A client and a pod; what listens on them ends with it."""

    def __init__(self, client: str, pod: str, stack: ExitStack) -> None:
        self.client = client
        self.pod = pod
        self._stack = stack

    def listen(
        self, where: str, title: str, user: int, *places: tuple[str, int]
    ) -> None:
        """Let `title` greet whoever connects to one of the places."""
        for place in places:
            server = inside(where, partial(Listener, place, title), user)
            self._stack.enter_context(server)
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.01}
            )
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(server.shutdown)

    def connect(self, where: str, user: int, address: str, port: int) -> socket.socket:
        """Return a new connection; closed with the network at the latest."""
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = self._socket(where, user, kind, socket.SOCK_STREAM)
        made.connect((address, port))
        return made

    def datagrams(self, where: str, family: Family) -> socket.socket:
        """Return a new UDP socket; closed with the network at the latest."""
        kind = socket.AF_INET if family is Family.IPV4 else socket.AF_INET6
        return self._socket(where, 0, kind, socket.SOCK_DGRAM)

    def _socket(
        self, where: str, user: int, family: socket.AddressFamily, kind: int
    ) -> socket.socket:
        made = inside(where, partial(socket.socket, family, kind), user)
        made.settimeout(PATIENCE_S)
        return self._stack.enter_context(made)

    def ask(self, where: str, user: int, address: str, port: int) -> str:
        """Return how whoever takes a connection greets; "refused" when nobody does."""
        try:
            with self.connect(where, user, address, port) as connection:
                return greeting_of(connection)
        except ConnectionRefusedError:
            return "refused"

    def from_client(self, address: str, port: int) -> str:
        """Return how the client is greeted."""
        return self.ask(self.client, 0, address, port)

    def from_app(self, address: str, port: int, user: int = APP_USER) -> str:
        """Return how a process of the pod is greeted."""
        return self.ask(self.pod, user, address, port)

    def in_pod(self, *command: str, text: str = "") -> str:
        """Return what a command prints in the pod."""
        return inside(self.pod, lambda: run(*command, text=text))

    def iptables(self, *options: str, prefix: tuple[str, ...] = ()) -> str:
        """Run `sidecar iptables` in the pod."""
        return self.in_pod(*prefix, *COMMAND, *options)

    def saved(self) -> str:
        """Return the rules of iptables in the pod, without times."""
        found = [self.in_pod(f"{word}-save", "-t", "nat") for word in _SAVERS]
        lines = "\n".join(found).splitlines()
        return "\n".join(line for line in lines if not line.startswith("#"))

    def ruleset(self) -> str:
        """Return all that nft shows of the pod, without counters."""
        return self.in_pod("nft", "--stateless", "list", "ruleset")

    def rules(self, tool: Format) -> str:
        """Return the rules of the pod as their tool shows them."""
        return self.saved() if tool is Format.IPTABLES else self.ruleset()


def greeting_of(connection: socket.socket) -> str:
    """Return the first line that comes."""
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(1)
        assert data, "closed without a greeting"
        line += data
    return line.decode().rstrip()


@contextmanager
def network() -> Iterator[Network]:
    """Yield two hosts that see each other."""
    with ExitStack() as stack:
        client, pod = (stack.enter_context(namespace()) for _ in range(2))
        run(
            *("ip", "-n", client, "link", "add", "eth0", "type", "veth"),
            *("peer", "name", "eth0", "netns", pod),
        )
        for name, addresses in ((client, CLIENT), (pod, POD)):
            lines = [
                f"address add {addresses[Family.IPV4]}/24 dev eth0",
                f"address add {addresses[Family.IPV6]}/64 dev eth0 nodad",
                "link set eth0 up",
            ]
            run("ip", "-n", name, "-batch", "-", text="\n".join(lines))
        yield Network(client, pod, stack)


@contextmanager
def populated() -> Iterator[Network]:
    """Yield a network where a proxy, an application and other services listen.

    The application greets on 8080 and 9090 of the pod, and on 8081 of its loopback;
    the client's host has services on 80 and 443.
    """
    with network() as made:
        for family in Family:
            made.listen(
                made.pod, "proxy", PROXY_USER, (ANY[family], 15006),
                (LOOPBACK[family], 15001),
            )  # fmt: skip
            made.listen(
                made.pod, "app", APP_USER, (ANY[family], 8080), (ANY[family], 9090),
                (LOOPBACK[family], 8081), (ANY[family], 15020),
            )  # fmt: skip
            made.listen(
                made.client, "service", 0, (ANY[family], 80), (ANY[family], 443)
            )
        yield made
