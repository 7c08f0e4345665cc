"""A long body through a proxy, both ways: what does its memory do meanwhile?

The receiver takes a little and then pauses, with the sender still pushing: a
proxy without backpressure would by then hold what the sender has to give. Both
ends are plain sockets in this process. The kernel keeps the peak (VmHWM, reset
just before), so no growth is missed between two samples.
"""

from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

from benchmarks import procfs
from benchmarks.peers import PEERS, started
from benchmarks.plan import OURS
from benchmarks.processes import HOST, StartError
from benchmarks.report import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.plan import Plan

GROWTH_LIMIT_MIB = 16.0

_MIB = 1 << 20
_BLOCK = bytes(256 * 1024)
_PAUSE_AFTER_BYTES = _MIB
_PAUSE_S = 0.5
_SILENCE_LIMIT_S = 10.0  # No byte for so long: the stream has broken.


def run(plan: Plan) -> list[Figure]:
    """Return memory growth and speed of a download and of an upload."""
    figures: list[Figure] = []
    for name in plan.alone:
        for title, transfer in (("download", _download), ("upload", _upload)):
            what = f"{name}: {plan.stream_bytes // _MIB:,} MiB {title}"
            print(f"  {what}", flush=True)
            figures += _figures(what, name, transfer, plan)
    return figures


def _figures(
    what: str, name: str, transfer: Callable[[int, int], None], plan: Plan
) -> list[Figure]:
    limit = GROWTH_LIMIT_MIB if name == OURS else None
    growth = f"{what}, memory growth"
    try:
        grown_mib, taken_s, cpu_s = _measure(name, transfer, plan)
    except (StartError, OSError) as error:
        return [
            Figure(growth, None, "MiB", limit, is_limit_allowed=False, note=str(error))
        ]
    mib = plan.stream_bytes / _MIB
    return [
        Figure(growth, grown_mib, "MiB", limit, is_limit_allowed=False),
        Figure(f"{what}, speed", mib / taken_s, "MiB/s"),
        Figure(f"{what}, CPU", cpu_s / (mib / 1024), "s/GiB"),
    ]


def _measure(
    name: str, transfer: Callable[[int, int], None], plan: Plan
) -> tuple[float, float, float]:
    """Return MiB of growth, seconds without the pause, and seconds of CPU."""
    with (
        _far_end(plan.stream_bytes) as origin_port,
        started(PEERS[name], plan, origin_port) as proxy,
    ):
        pid = proxy.child.pid
        procfs.reset_peak(pid)
        before = procfs.memory(pid).resident_bytes
        cpu_before_s, start_s = procfs.cpu_s(pid), time.perf_counter()
        transfer(proxy.port, plan.stream_bytes)
        taken_s = time.perf_counter() - start_s - _PAUSE_S
        grown = procfs.memory(pid).peak_bytes - before
        return grown / _MIB, taken_s, procfs.cpu_s(pid) - cpu_before_s


def _download(port: int, count: int) -> None:
    with _connected(port) as client:
        client.sendall(_head("GET /stream HTTP/1.1", 0))
        received = _read_head(client)
        _read_slowly_at_first(client, count - len(received))


def _upload(port: int, count: int) -> None:
    with _connected(port) as client:
        client.sendall(_head("POST /stream HTTP/1.1", count))
        _send(client, count)
        _read_head(client)


@contextmanager
def _far_end(count: int) -> Iterator[int]:
    """Run an origin that gives `count` bytes at /stream, or takes what is sent."""
    with socket.create_server((HOST, 0)) as listener:
        server = Thread(target=_accept, args=(listener, count), daemon=True)
        server.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # Wakes the thread in accept().
            server.join(_SILENCE_LIMIT_S)


def _accept(listener: socket.socket, count: int) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # Shut down: the run is over.
            return
        Thread(target=_serve, args=(connection, count), daemon=True).start()


def _serve(connection: socket.socket, count: int) -> None:
    """Answer one request, and close; whoever breaks it off is heard elsewhere."""
    with connection:
        connection.settimeout(_SILENCE_LIMIT_S)
        try:
            _answer(connection, count)
        except OSError:
            return


def _answer(connection: socket.socket, count: int) -> None:
    head, _, body = _read_until_body(connection)
    if head.startswith(b"POST"):
        _read_slowly_at_first(connection, count - len(body))
        connection.sendall(_head("HTTP/1.1 200 OK", 0))
    elif b"/stream" in head.split(b"\r\n", 1)[0]:
        connection.sendall(_head("HTTP/1.1 200 OK", count))
        _send(connection, count)
    else:  # Someone asks whether the proxy is ready.
        connection.sendall(_head("HTTP/1.1 200 OK", 0))


def _connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=_SILENCE_LIMIT_S)


def _head(first_line: str, body_bytes: int) -> bytes:
    fields = f"Host: bench\r\nContent-Length: {body_bytes}\r\nConnection: close"
    return f"{first_line}\r\n{fields}\r\n\r\n".encode()


def _send(peer: socket.socket, count: int) -> None:
    left = count
    while left:
        peer.sendall(_BLOCK[:left])
        left -= min(left, len(_BLOCK))


def _read_head(client: socket.socket) -> bytes:
    """Read a successful head, and return what came of the body with it.

    Raises:
        ConnectionError: It is not one.
    """
    head, _, body = _read_until_body(client)
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        msg = f"the answer was {head[:80]!r}"
        raise ConnectionError(msg)
    return body


def _read_until_body(peer: socket.socket) -> tuple[bytes, bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = peer.recv(65536)
        if not piece:
            msg = f"closed after {received[:80]!r}"
            raise ConnectionError(msg)
        received += piece
    return received.partition(b"\r\n\r\n")


def _read_slowly_at_first(peer: socket.socket, count: int) -> None:
    """Take `count` bytes, with a pause near the start.

    Raises:
        ConnectionError: Fewer came.
    """
    buffer = bytearray(len(_BLOCK))
    left, has_paused = count, False
    while left > 0:
        if not has_paused and count - left >= _PAUSE_AFTER_BYTES:
            has_paused = True
            time.sleep(_PAUSE_S)
        received = peer.recv_into(buffer)
        if not received:
            msg = f"{left} of {count} bytes did not come"
            raise ConnectionError(msg)
        left -= received
