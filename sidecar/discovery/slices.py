"""EndpointSlices of one Service become the endpoints in them.

A Service has a slice for each hundred endpoints and each family of addresses. While
an endpoint moves from one slice to another it may be in both; it is ready if either
says so, for the other one is older.

Source:
    Kubernetes API, discovery.k8s.io/v1: EndpointSlice. What is not said of a
    condition means ready; serving follows ready; terminating is no.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.discovery.choice import Candidate
from sidecar.settings.snapshot import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FAMILIES = ("IPv4", "IPv6", "FQDN")  # The first that has a usable endpoint is used.

Slice = dict[str, Any]


class PortError(Exception):
    """No port of a Service, or more than one, is what the settings ask for."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one slice comes to: worked out once, however often others change."""

    family: str
    offered: tuple[tuple[str, int], ...]  # Name and number of ports, if any are used.
    candidates: tuple[Candidate, ...]


def part_of(each: Slice, port: int | str | None) -> Part:
    """Return the endpoints of one slice.

    Args:
        each: The slice.
        port: The name of a port, or the number of it in the pods; None: the only one.
    """
    ports = tuple(_ports(each))
    found = [
        candidate
        for number in _matching(ports, port)
        for candidate in _endpoints(each, number)
    ]
    family = str(each.get("addressType"))
    return Part(family, ports if each.get("endpoints") else (), tuple(found))


def put_together(parts: Iterable[Part], port: int | str | None) -> list[Candidate]:
    """Return the endpoints of all slices, each once.

    Raises:
        PortError: There are endpoints, but not behind such a port.
    """
    by_family: dict[str, dict[Address, Candidate]] = {}
    offered: set[tuple[str, int]] = set()
    for part in parts:
        offered.update(part.offered)
        family = by_family.setdefault(part.family, {})
        for found in part.candidates:
            family[found.address] = _better(family.get(found.address), found)
    families = [by_family[name] for name in _FAMILIES if by_family.get(name)]
    if offered and not families:
        raise PortError(_words(offered, port))
    ready = (family for family in families if any(map(_is_fit, family.values())))
    return list(next(ready, families[0] if families else {}).values())


def _is_fit(one: Candidate) -> bool:
    return one.is_ready or (one.is_serving and one.is_terminating)


def _ports(each: Slice) -> Iterator[tuple[str, int]]:
    for port in each.get("ports") or ():
        number = port.get("port")
        if isinstance(number, int) and port.get("protocol", "TCP") == "TCP":
            yield port.get("name") or "", number


def _matching(
    ports: tuple[tuple[str, int], ...], wanted: int | str | None
) -> list[int]:
    """Return the numbers of the ports that are asked for: one, or none."""
    if wanted is None:
        return [number for _, number in ports] if len(ports) == 1 else []
    key = 1 if isinstance(wanted, int) else 0
    return [port[1] for port in ports if port[key] == wanted][:1]


def _words(offered: set[tuple[str, int]], wanted: int | str | None) -> str:
    named = ", ".join(
        f"{name or 'without a name'} ({n})" for name, n in sorted(offered)
    )
    if wanted is None:
        return f"it has more than one port, set kubernetes.port: {named}"
    return f"no port {wanted} (name, or number in the pods) among {named}"


def _endpoints(each: Slice, port: int) -> Iterator[Candidate]:
    for endpoint in each.get("endpoints") or ():
        addresses = endpoint.get("addresses")
        if not addresses:
            continue
        conditions = endpoint.get("conditions") or {}
        is_ready = conditions.get("ready") is not False
        serving = conditions.get("serving")
        hints = (endpoint.get("hints") or {}).get("forZones") or ()
        yield Candidate(
            Address(addresses[0], port),  # All lead to the same; so kube-proxy, too.
            is_ready,
            is_ready if serving is None else bool(serving),
            bool(conditions.get("terminating")),
            frozenset(hint["name"] for hint in hints if hint.get("name")) or None,
        )


def _better(known: Candidate | None, found: Candidate) -> Candidate:
    """Return what two slices say of one address: the better."""
    return found if known is None else max(known, found, key=_rank)


def _rank(one: Candidate) -> tuple[bool, bool]:
    return one.is_ready, _is_fit(one)
