"""A crowd of connections through a proxy, each with one side that does not read.

The other side sends until nobody takes any more. By then a proxy holds what it
ever will of them, and the system's socket buffers, which are kept small here,
hold the rest. Plain sockets, one thread for the sender, one that accepts.
"""

from __future__ import annotations

import select
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
PATH = "/stall"  # Any other is somebody who asks whether the proxy is ready.

_SOCKET_BYTES = 64 * 1024  # Of the system, for either direction of our own sockets.
_SILENCE_LIMIT_S = 10.0
_QUIET_S = 0.25  # Nobody took a byte for so long: all of them are full.
_MOST_BYTES = 32 << 20  # Of one connection: a proxy that takes these holds all.
_GET = f"GET {PATH} HTTP/1.1\r\nHost: bench\r\n".encode()
_POST = f"POST {PATH} HTTP/1.1\r\nHost: bench\r\n".encode()
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
_LONG = b"Content-Length: %d\r\n\r\n" % (1 << 40)
_UPGRADE = b"Connection: Upgrade\r\nUpgrade: echo\r\n\r\n"
_BLOCK = b"0123456789abcdef" * 4096
_HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </%b>\r\n\r\n" % (b"a" * 16_000)
_OTHER = b"GET /other HTTP/1.1\r\nHost: bench\r\n\r\n"
_SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Stall:
    """What is asked and answered first, and what is then sent without end.

    Attributes:
        name: As people read it.
        request: Head of the request.
        answer: What the origin sends at once; may be nothing.
        by_client: What the client sends on and on, if it does.
        by_origin: What the origin sends on and on, if it does.
        count: Connections at once.
        is_answered: Each request is, shortly, by any connection to the origin.
    """

    name: str
    request: bytes
    answer: bytes
    by_client: bytes = b""
    by_origin: bytes = b""
    is_answered: bool = False
    count: int = 100


_CHUNK = b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK)

STALLS = (
    Stall("downloads", _GET + b"\r\n", _OK + _LONG, by_origin=_BLOCK),
    Stall("chunked downloads", _GET + b"\r\n", _OK + _CHUNKED, by_origin=_CHUNK),
    Stall("uploads", _POST + _LONG, b"", by_client=_BLOCK),
    Stall("chunked uploads", _POST + _CHUNKED, b"", by_client=_CHUNK),
    Stall(
        "tunnels",
        _GET + _UPGRADE,
        b"HTTP/1.1 101 Switching Protocols\r\n" + _UPGRADE,
        by_client=_BLOCK,
        by_origin=_BLOCK,
    ),
    Stall("interim floods", _GET + b"\r\n", b"", by_origin=_HINT * 4, count=10),
    Stall(
        "pipelines",
        _OTHER,
        b"",
        by_client=_OTHER * 1000,
        is_answered=True,
    ),
)


@dataclass(slots=True)
class Pair:
    """Both ends of what goes through the proxy, and what each has sent so far."""

    client: socket.socket
    origin: socket.socket | None
    client_sent_bytes: int = 0
    origin_sent_bytes: int = 0


@contextmanager
def far_end() -> Iterator[tuple[int, SimpleQueue[socket.socket]]]:
    """Listen as the origin; yield the port, and where the connections come from.

    One that asks for something else than `PATH` is answered here.
    """
    waiting: SimpleQueue[socket.socket] = SimpleQueue()
    with socket.create_server((HOST, 0), backlog=512) as listener:
        _hold_little(listener)
        server = Thread(target=_accept, args=(listener, waiting), daemon=True)
        server.start()
        try:
            yield listener.getsockname()[1], waiting
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # Wakes the thread in accept().
            server.join(_SILENCE_LIMIT_S)


@contextmanager
def crowd(
    stall: Stall, port: int, waiting: SimpleQueue[socket.socket]
) -> Iterator[list[Pair]]:
    """Bring its connections through the proxy at `port` to where they stall.

    Raises:
        OSError: The proxy answers something else, or nothing.
    """
    with ExitStack() as stack:
        pairs = []
        for _ in range(stall.count):
            client = stack.enter_context(socket.socket())
            _hold_little(client)
            client.settimeout(_SILENCE_LIMIT_S)
            client.connect((HOST, port))
            client.sendall(stall.request)
            origin = None
            if not stall.is_answered:
                origin = stack.enter_context(waiting.get(timeout=_SILENCE_LIMIT_S))
                origin.sendall(stall.answer)
                origin.setblocking(False)
            if stall.answer or stall.is_answered:
                read_head(client)
            client.setblocking(False)
            pairs.append(Pair(client, origin))
        yield pairs


def push(stall: Stall, pairs: Sequence[Pair]) -> None:
    """Send what the stall is made of, until nobody takes any more."""
    poll = select.epoll()
    senders: dict[int, tuple[Pair, bool]] = {}
    for pair in pairs:
        ends: tuple[tuple[socket.socket | None, bool], ...]
        ends = ((pair.client, True), (pair.origin, False))
        for sock, is_client in ends:
            if sock and (stall.by_client if is_client else stall.by_origin):
                senders[sock.fileno()] = (pair, is_client)
                poll.register(sock, select.EPOLLOUT)
    with poll:
        while ready := poll.poll(_QUIET_S):
            for fd, _ in ready:
                if not _send_more(stall, *senders[fd]):
                    poll.unregister(fd)


def _send_more(stall: Stall, pair: Pair, is_client: bool) -> bool:  # noqa: FBT001
    """Send a piece from where it stopped; tell whether there may be more."""
    if is_client:
        sock: socket.socket | None = pair.client
        block, sent = stall.by_client, pair.client_sent_bytes
    else:
        sock = pair.origin
        block, sent = stall.by_origin, pair.origin_sent_bytes
    if sock is None:
        return False
    try:
        taken = sock.send(memoryview(block)[sent % len(block) :])
    except BlockingIOError:
        return True
    except OSError:
        return False  # It has been closed: what it brought, others count.
    if is_client:
        pair.client_sent_bytes += taken
    else:
        pair.origin_sent_bytes += taken
    return sent + taken < _MOST_BYTES


def read_head(sock: socket.socket) -> bytes:
    """Read a head to its end, byte by byte: what follows is to stay unread.

    Raises:
        ConnectionError: It ends before that.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            msg = f"it ended after {head[:80]!r}"
            raise ConnectionError(msg)
        head += byte
    return head


def _accept(listener: socket.socket, waiting: SimpleQueue[socket.socket]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # Shut down: the run is over.
            return
        connection.settimeout(_SILENCE_LIMIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Thread(target=_begin, args=(connection, waiting), daemon=True).start()


def _begin(connection: socket.socket, waiting: SimpleQueue[socket.socket]) -> None:
    """Hand a connection over, or answer what comes on it."""
    try:
        while f" {PATH} ".encode() not in read_head(connection).split(b"\r\n", 1)[0]:
            connection.sendall(_SHORT)
    except OSError:
        connection.close()
    else:
        waiting.put(connection)


def _hold_little(sock: socket.socket) -> None:
    """Keep the system's buffers small; what is accepted here inherits it."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
