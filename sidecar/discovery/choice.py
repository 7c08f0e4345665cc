"""Which of the endpoints that were found get traffic: as kube-proxy decides.

    ready ones          if there are any
    terminating ones    that still serve, else: better than nobody
    of these            those meant for our zone, if each says what it is meant for

Source:
    Kubernetes, "Topology Aware Routing" and "EndpointSlices": conditions, hints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.settings.snapshot import Address


@dataclass(frozen=True, slots=True)
class Candidate:
    """An endpoint that was found."""

    address: Address
    is_ready: bool = True
    is_serving: bool = True
    is_terminating: bool = False
    zones: frozenset[str] | None = None  # It is meant for; None: no hint.


def usable(found: Sequence[Candidate], zone: str | None) -> tuple[Address, ...]:
    """Return the addresses to use, each once.

    Args:
        found: All endpoints.
        zone: Where we are; None: not known.
    """
    fit = [one for one in found if one.is_ready]
    fit = fit or [one for one in found if one.is_serving and one.is_terminating]
    near = _meant_for(zone, fit)
    return tuple(dict.fromkeys(one.address for one in near or fit))


def _meant_for(zone: str | None, fit: Sequence[Candidate]) -> list[Candidate]:
    """Return those meant for a zone; none if hints are not to be heeded.

    Were one without a hint left out, it would get no traffic from anywhere.
    """
    if zone is None or any(not one.zones for one in fit):
        return []
    return [one for one in fit if one.zones and zone in one.zones]
