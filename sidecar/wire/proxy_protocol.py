r"""The header by which a load balancer tells whose connection it hands on.

    v1   PROXY TCP4 192.0.2.1 10.0.0.1 56324 443\r\n
    v2   a signature, version and command, family, length, addresses, options

Source: "The PROXY protocol, versions 1 and 2", HAProxy, 2020/03/05, chapter 2.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Final, NamedTuple

_V1: Final = b"PROXY "
_V1_MOST_BYTES: Final = 107  # 2.1: the longest line, with its line break.
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_BYTES: Final = 16
_LOCAL, _PROXY = 0x20, 0x21  # Version 2 in the high half, command in the low one.
_LENGTHS: Final = {0x11: 12, 0x21: 36}  # TCP over IPv4 and IPv6: of the addresses.
_V1_PARTS: Final = 6
_V1_VERSIONS: Final = {b"TCP4": 4, b"TCP6": 6}
_MAX_PORT: Final = 65535
_PORT_DIGITS: Final = 5
_NONE: Final = "the connection begins without a PROXY header"


class ProxyHeaderError(Exception):
    """What a connection begins with is not such a header."""


class ProxyHeader(NamedTuple):
    """What one says, and how long it is."""

    source: str  # Address of the client; empty: the balancer speaks for itself.
    size_bytes: int


def parse(data: bytes) -> ProxyHeader | None:
    """Return the header that `data` begins with; None: a part of it is still to come.

    Raises:
        ProxyHeaderError: It begins otherwise.
    """
    if data[:1] == b"P":
        return _parse_v1(data)
    if not data.startswith(_V2[: len(data)]):
        raise ProxyHeaderError(_NONE)
    return None if len(data) < _V2_FIXED_BYTES else _parse_v2(data)


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, _V1_MOST_BYTES)
    if not data.startswith(_V1[: len(data)]) or (
        end < 0 and len(data) >= _V1_MOST_BYTES
    ):
        raise ProxyHeaderError(_NONE)
    if end < 0:
        return None
    parts = data[:end].split(b" ")
    if parts[1] == b"UNKNOWN":
        return ProxyHeader("", end + 2)
    version = _V1_VERSIONS.get(parts[1])
    if len(parts) != _V1_PARTS or version is None:
        msg = "the PROXY header (v1) has not the parts that it should have"
        raise ProxyHeaderError(msg)
    source, _ = (_address(text, version) for text in parts[2:4])
    if not all(_is_port(text) for text in parts[4:6]):
        msg = "the PROXY header (v1) has a port that is none"
        raise ProxyHeaderError(msg)
    return ProxyHeader(source, end + 2)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    command, family, length = struct.unpack_from("!BBH", data, len(_V2))
    if command not in (_LOCAL, _PROXY):
        msg = f"the PROXY header (v2) has version and command {command:#04x}"
        raise ProxyHeaderError(msg)
    size_bytes = _V2_FIXED_BYTES + length
    if len(data) < size_bytes:
        return None
    if command == _LOCAL or family not in _LENGTHS:
        return ProxyHeader("", size_bytes)  # 2.2: others are to be let be.
    if length < _LENGTHS[family]:
        msg = "the PROXY header (v2) is too short for its addresses"
        raise ProxyHeaderError(msg)
    address_bytes = 4 if family == 0x11 else 16  # noqa: PLR2004 - as in the table
    raw = data[_V2_FIXED_BYTES : _V2_FIXED_BYTES + address_bytes]
    return ProxyHeader(_shown(ipaddress.ip_address(raw)), size_bytes)


def _address(text: bytes, version: int) -> str:
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        address = None
    if address is None or address.version != version or b"%" in text:
        msg = "the PROXY header (v1) has an address that is none"
        raise ProxyHeaderError(msg) from None
    return _shown(address)


def _shown(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return it as of IPv4 if it is one, or a client would have two names."""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _is_port(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _PORT_DIGITS and int(text) <= _MAX_PORT
