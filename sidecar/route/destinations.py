"""Which routes hold where an intercepted connection was meant to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from sidecar.settings.snapshot import Route


def holds_at(
    route: Route, address: tuple[IPv4Address | IPv6Address, int] | None
) -> bool:
    """Tell whether a route holds at an address and port.

    Args:
        route: One that names destinations holds at these only.
        address: None: the connection was made to the proxy itself.
    """
    if not route.destinations:
        return True
    return address is not None and any(d.takes(*address) for d in route.destinations)


def holds_anywhere(route: Route) -> bool:
    """Tell whether a route holds wherever an intercepted connection was to go."""
    wanted = route.destinations
    return not wanted or any(d.network is None and d.port is None for d in wanted)
