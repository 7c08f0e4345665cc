"""What the tests of retries say again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.wire import get, post

if TYPE_CHECKING:
    from tests.support.ends import End
    from tests.support.wire import FakeWire

IDEMPOTENT = {"preset": "idempotent", "backoff": {"base": "0s"}}
TWO = {"endpoints": ["10.0.0.1:80", "10.0.0.2:80"]}
REFUSAL = b"HTTP/1.1 503 No\r\nx-316-processed: no\r\nContent-Length: 0\r\n\r\n"
PEER = {"is_peer": True}
BOTH = pytest.mark.parametrize("request_", [get(), post()], ids=["GET", "POST"])


def answer(status: int, *lines: str) -> bytes:
    head = [f"HTTP/1.1 {status} X", "Content-Length: 4", *lines, "", "busy"]
    return "\r\n".join(head).encode()


def ask(wire: FakeWire, request: bytes) -> End:
    client = wire.client()
    client.send(request)
    return client


def go_on(wire: FakeWire) -> None:
    """Let the wait before the next attempt pass."""
    wire.clock.advance(0.3)
