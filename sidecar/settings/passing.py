"""Where intercepted requests go that no route of the file takes.

The application knows nothing of the proxy, so what it sends to others reaches them
all the same (`unmatched: pass`): to the address that it meant, without a limit of
time or a breaker that nobody asked for. That is a route like any other, the last
one, and its name cannot be one of the file's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from sidecar.settings import models
from sidecar.settings.snapshot import DestinationMatch

if TYPE_CHECKING:
    from collections.abc import Iterator

ORIGINAL: Final = "_original"  # The upstream.
_LAST: Final = -(2**31)  # A priority below any that is meant.
_ANYWHERE: Final = DestinationMatch(None, None)
_LISTENERS: Final[tuple[Literal["inbound", "outbound"], ...]] = ("inbound", "outbound")


def passes(listener: models.TrafficSettings) -> bool:
    """Tell whether what no route takes goes to where it was meant to go."""
    return listener.transparent and listener.unmatched == "pass"


def routes(settings: models.FileSettings) -> Iterator[models.RouteSettings]:
    """Yield the route of each listener that passes on what no other route takes."""
    base = models.RouteSettings(name="pass", upstream=ORIGINAL)
    given = settings.defaults.timeouts
    for name in _LISTENERS:
        listener: models.TrafficSettings | None = getattr(settings, name)
        if listener is not None and passes(listener):
            yield base.model_copy(
                update={
                    "name": f"_pass_{name}",
                    "listener": name,
                    "destinations": (_ANYWHERE,),
                    "priority": _LAST,
                    "circuit_breaker": "off",
                    "timeouts": given.model_copy(
                        update={"request": given.request or "off"}
                    ),
                }
            )


def upstreams(settings: models.FileSettings) -> dict[str, models.UpstreamSettings]:
    """Return the upstream of these routes, if there is one."""
    if not any(routes(settings)):
        return {}
    return {ORIGINAL: models.UpstreamSettings(original_destination=True)}
