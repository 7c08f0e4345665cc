"""An origin in a process of its own that ends idle connections as requests come.

    python -m tests.support.racing_origin SEED LOG

It prints its port, and ends with its standard input. The first request of a
connection is always served. After that each one either is, or the connection ends,
in one of the manners below, at a moment that a busy wait chooses. What it acted on,
and what it ended how, it writes down before it does so:

    acted METHOD PATH ATTEMPT
    ended MANNER before|behind      with a request unread in the socket, or none yet
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_MAX_OFFSET_S = 600e-6  # About the way of an answer to the client, and of the next.
_PATIENCE_S = 20.0
_IMPATIENCE_S = 0.05
_SWITCH_S = 50e-6  # A thread that waits busily gives way to the others after that.
_RESET = struct.pack("ii", 1, 0)


class Conversation:
    """One connection, on its own thread."""

    def __init__(self, sock: socket.socket, rng: Random, note: Note) -> None:
        self._sock = sock
        self._rng = rng
        self._note = note
        self._manners: tuple[Callable[[], bool], ...] = (
            self.serve, self.serve, self.serve, self.serve,
            self.fin, self.reset, self.half_close,
            self.leave_unread, self.leave_at_head, self.act_and_leave,
        )  # fmt: skip

    def run(self) -> None:
        goes_on = self.serve()
        while goes_on:
            goes_on = self._rng.choice(self._manners)()

    # Manners: each returns whether the connection goes on.

    def serve(self) -> bool:
        if not self._take():
            return False
        self._sock.sendall(OK)
        return True

    def fin(self) -> bool:
        """Close at some moment; what has come unread makes that a reset."""
        self._wait_busily()
        self._end("fin")
        return False

    def reset(self) -> bool:
        self._wait_busily()
        self._end("reset", _RESET)
        return False

    def half_close(self) -> bool:
        """Say that no more is sent, and act on what comes all the same."""
        self._wait_busily()
        self._tell("half-close")
        self._sock.shutdown(socket.SHUT_WR)
        self._sock.settimeout(_IMPATIENCE_S)
        with suppress(TimeoutError):
            self._take()
        return False

    def leave_unread(self) -> bool:
        """Close as soon as a request is there."""
        if select.select([self._sock], [], [], _PATIENCE_S)[0] and self._has_request():
            self._end("unread")
        return False

    def leave_at_head(self) -> bool:
        """Close right behind the head."""
        if self._has_request():
            head, _ = self._read_head()
            self._note(f"ended head {'behind' if head else 'before'}")
        return False

    def act_and_leave(self) -> bool:
        """Act, and close without a word."""
        if self._take():
            self._note("ended acted behind")
        return False

    # Parts.

    def _take(self) -> bool:
        """Read a whole request and act on it; False at the end of input."""
        head, rest = self._read_head()
        if not head:
            return False
        lines = head.decode("latin-1").split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        missing = int(named.get("content-length", "0")) - len(rest)
        while missing > 0:
            data = self._sock.recv(missing)
            if not data:
                return False
            missing -= len(data)
        method, path, _ = lines[0].split(" ")
        self._note(f"acted {method} {path} {named.get('x-316-attempt', '1')}")
        return True

    def _read_head(self) -> tuple[bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._sock.recv(65_536)
            if not more:
                return b"", b""
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        return head, rest

    def _wait_busily(self) -> None:
        end_s = time.perf_counter() + self._rng.uniform(0.0, _MAX_OFFSET_S)
        while time.perf_counter() < end_s:
            pass

    def _has_request(self) -> bool:
        """Wait for a request; False when the other side has closed."""
        return bool(self._sock.recv(1, socket.MSG_PEEK))

    def _tell(self, manner: str) -> bool:
        is_there = bool(select.select([self._sock], [], [], 0)[0])
        self._note(f"ended {manner} {'behind' if is_there else 'before'}")
        return is_there

    def _end(self, manner: str, linger: bytes = b"") -> None:
        self._tell(manner)
        if linger:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()


class Note:
    """Appends a line to a file; one system call, so lines do not mix."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def __call__(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())


def _converse(sock: socket.socket, rng: Random, note: Note) -> None:
    sock.settimeout(_PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock, suppress(OSError):
        Conversation(sock, rng, note).run()


def _accept(listener: socket.socket, seed: int, note: Note) -> None:
    number = 0
    while True:
        sock, _ = listener.accept()
        number += 1
        arguments = (sock, Random(seed * 1_000_003 + number), note)
        threading.Thread(target=_converse, args=arguments, daemon=True).start()


def main(seed: int, log: Path) -> None:
    """Serve until the standard input ends."""
    sys.setswitchinterval(_SWITCH_S)
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    arguments = (listener, seed, Note(log))
    threading.Thread(target=_accept, args=arguments, daemon=True).start()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)  # The threads wait in their sockets.


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
