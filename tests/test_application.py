"""Where the application beside a sidecar is, and whether it is there."""

from __future__ import annotations

import socket

from sidecar.application import application_addresses, is_listening
from sidecar.settings.load import load_text
from sidecar.settings.snapshot import Address

MIXED = """
inbound: {listen: "127.0.0.1:15006"}
outbound: {listen: "127.0.0.1:15001"}
upstreams:
  app: {endpoints: ["127.0.0.1:8080", "localhost:8081"]}
  far: {endpoints: ["10.0.0.5:80"]}
  other: {endpoints: ["127.0.0.1:9999"]}
routes:
  - {name: in, upstream: app}
  - {name: in-far, upstream: far, matches: [{path: {value: /far}}]}
  - {name: out, upstream: other, listener: outbound}
"""


def test_the_application_is_where_inbound_goes_on_loopback() -> None:
    """Not another host, and not what only the application itself calls."""
    assert application_addresses(load_text(MIXED).snapshot) == {
        Address("127.0.0.1", 8080),
        Address("localhost", 8081),
    }


async def test_a_port_is_listened_on_until_it_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = Address("127.0.0.1", there.getsockname()[1])
        assert await is_listening(address)
    assert not await is_listening(address)
