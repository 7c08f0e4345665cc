"""What a hostile client makes us do and keep is in proportion to what it sends."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

from sidecar.exchange import Exchange
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


def test_an_idle_connection_keeps_nothing_of_its_last_request(wire: FakeWire) -> None:
    """There may be 10,000, and a head of 60 KB cost each of them 300 KB."""
    client = wire.client()
    client.send(get("/", *A_LOT))
    wire.origin().send(OK)
    gc.collect()
    found = [o for o in gc.get_objects() if isinstance(o, Exchange)]
    assert not [exchange for exchange in found if exchange.runtime is wire.runtime]
    assert len(client.transport.protocol.hop.kept) < 4096
    origin = wire.origin().transport.protocol
    assert origin._head is None
