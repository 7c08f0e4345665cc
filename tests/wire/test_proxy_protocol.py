"""The PROXY protocol, versions 1 and 2, by example and cut anywhere."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.proxy_protocol import ProxyHeader, ProxyHeaderError, parse

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(source: str, command: int = 0x21, options: bytes = b"") -> bytes:
    address = ipaddress.ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    raw = address.packed + address.packed + struct.pack("!HH", 1, 2) + options
    return SIGNATURE + struct.pack("!BBH", command, family, len(raw)) + raw


@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n", "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", ""),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", ""),
        (v2("192.0.2.1"), "192.0.2.1"),
        (v2("2001:db8::1", options=b"\x04\x00\x02ab"), "2001:db8::1"),
        (v2("192.0.2.1", command=0x20), ""),  # A check of the balancer's own.
        (SIGNATURE + b"\x21\x31\x00\x02ab", ""),  # A Unix socket.
    ],
)
def test_it_tells_the_source(data: bytes, source: str) -> None:
    assert parse(data + b"GET /") == ProxyHeader(source, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 56324\r\n",
        b"PROXY TCP4 ::1 10.0.0.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 10.0.0.1 1 x\r\n",
        b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY " + b"a" * 120,
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        b"\r\n\r\nGET",
    ],
)
def test_anything_else_is_an_error(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse(data)


def test_an_address_of_ipv4_has_one_name() -> None:
    mapped = "::ffff:192.0.2.1"
    for data in (f"PROXY TCP6 {mapped} ::1 1 2\r\n".encode(), v2(mapped)):
        assert parse(data) == ProxyHeader("192.0.2.1", len(data))


@given(source=st.ip_addresses(), cut=st.integers(0, 200), is_v2=st.booleans())
def test_a_part_is_waited_for(
    source: ipaddress.IPv4Address | ipaddress.IPv6Address, cut: int, *, is_v2: bool
) -> None:
    kind = f"TCP{source.version}"
    v1 = f"PROXY {kind} {source} {source} 1 2\r\n".encode()
    data = v2(str(source)) if is_v2 else v1
    part = parse(data[:cut])
    shown = str(getattr(source, "ipv4_mapped", None) or source)
    assert part == (ProxyHeader(shown, len(data)) if cut >= len(data) else None)


@given(st.binary(max_size=300) | st.binary(max_size=99).map(SIGNATURE.__add__))
def test_no_bytes_break_it(data: bytes) -> None:
    try:
        found = parse(data)
    except ProxyHeaderError:
        return
    assert found is None or found.size_bytes <= len(data)
