"""What a hostile client makes us do and keep is in proportion to what it sends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.support.wire import OK, FakeWire, get

if TYPE_CHECKING:
    from tests.support.ends import End

TIMES = 8  # As much input,
MOST = 3 * TIMES  # so many times the work; its square would be 64.
A_LOT = [f"X-{n}: {'x' * 600}" for n in range(90)]


def cost_s(client: End, data: bytes) -> float:
    """Return the processor time that one piece of input takes."""
    start_s = time.process_time()
    client.send(data)
    return time.process_time() - start_s


def test_empty_lines_before_a_request_cost_in_proportion(wire: FakeWire) -> None:
    """RFC 9112, 2.2: they are ignored; a socket hands on 256 KB at once."""
    client = wire.client()
    few = min(cost_s(client, b"\r\n" * 16_000) for _ in range(3))
    many = min(cost_s(client, b"\r\n" * 16_000 * TIMES) for _ in range(3))
    assert many < MOST * few
    client.send(get())
    wire.origin().send(OK)
    assert client.take().endswith(b"ok")
