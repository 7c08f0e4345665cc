"""Where a connection was meant to go before the kernel redirected it to us.

original_destination   what the rules of interception have replaced (netfilter)
is_of_this_host        whether an address is one of ours
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

from sidecar.settings.snapshot import Address

_SO_ORIGINAL_DST: Final = 80  # <linux/netfilter_ipv4.h>, netfilter_ipv6/ip6_tables.h.
_IPV4: Final = struct.Struct("!HH4s8x")
_IPV6: Final = struct.Struct("!HHI16sI")


def original_destination(sock: socket.socket) -> Address | None:
    """Return where a connection that was taken here was meant to go.

    Returns:
        None if it was meant for this very socket, or nobody knows.
    """
    mapped = _mapped_name(sock)
    try:
        if mapped is None and sock.family == socket.AF_INET6:
            raw = sock.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, _IPV6.size)
            _, port, _, packed, _ = _IPV6.unpack(raw)
        else:  # Also one of IPv4 on a socket of both.
            raw = sock.getsockopt(socket.IPPROTO_IP, _SO_ORIGINAL_DST, _IPV4.size)
            _, port, packed = _IPV4.unpack(raw)
        name = mapped or sock.getsockname()
    except (OSError, struct.error):  # Not redirected, no netfilter, or no TCP.
        return None
    host = str(ipaddress.ip_address(packed))
    is_here = (host, port) == (str(name[0]).partition("%")[0], name[1])
    return None if is_here or not port else Address(host, port)


def is_of_this_host(host: str) -> bool:
    """Tell whether this host has an address: only one of its own can be bound."""
    address = ipaddress.ip_address(host)
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004 - a version
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _mapped_name(sock: socket.socket) -> tuple[str, int] | None:
    """Return the local end of a connection of IPv4 that a socket of IPv6 has taken."""
    if sock.family != socket.AF_INET6:
        return None
    try:
        host, port, *_ = sock.getsockname()
        mapped = ipaddress.IPv6Address(str(host).partition("%")[0]).ipv4_mapped
    except (OSError, ValueError):
        return None
    return None if mapped is None else (str(mapped), port)
