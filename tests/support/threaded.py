"""An origin on threads: it races with the proxy for real.

One in the event loop of the proxy takes turns with it, so that the moments in
between, when a connection is ending and nobody knows yet, hardly ever occur.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Serve = Callable[[socket.socket], None]


@contextmanager
def threaded_origin(serve: Serve) -> Iterator[str]:
    """Call `serve` with each connection, on a thread; yield the endpoint."""

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # Closed: the test is over.
            thread = threading.Thread(target=answer, args=(client,))
            threads.append(thread)
            thread.start()

    def answer(client: socket.socket) -> None:
        client.settimeout(5)
        with client, suppress(OSError):
            serve(client)

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()


def read_head(client: socket.socket) -> bytes:
    """Return the head of the next request, with what came behind; empty at the end."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = client.recv(4096)
        if not data:
            return b""
        head += data
    return head
