"""How single things are written and coloured, wherever they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from sidecar.demo.numbers import NO_ROUTE
from sidecar.demo.view import SEVERITIES, STATES
from sidecar.faults.render import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_BARS: Final = " ▁▂▃▄▅▆▇█"
_SMALL: Final = 10  # A rate below is told with a digit more.


def text(value: object, style: str = "") -> Text:
    """Return what came from elsewhere, its control characters shown, not sent."""
    return Text(printable(str(value)), style, no_wrap=True)


def route_name(route: str) -> str:
    """Return how a route is called; one without a name is what matched none."""
    return route or NO_ROUTE


def per_s(rate: float) -> str:
    """Return a rate, as exact as it is small."""
    return f"{rate:.1f}" if 0 < rate < _SMALL else f"{rate:.0f}"


def time_of_day(iso: str) -> str:
    """Return the time of an RFC 3339 moment, in UTC as records have it."""
    return iso.partition("T")[2][:8] or "-"


def severity_text(severity: str) -> Text:
    """Return a severity in its colour."""
    return text(severity, SEVERITIES.get(severity, ""))


def breaker_text(state: str) -> Text:
    """Return the state of a breaker in its colour."""
    return text(state.replace("_", " "), STATES.get(state, ""))


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the latest values as bars, one a column, the highest of them full."""
    shown = values[-width:] if width > 0 else []
    top = max(shown, default=0) or 1
    full = len(_BARS) - 1
    return "".join(
        _BARS[max(1, round(value / top * full)) if value else 0] for value in shown
    )


def place_of(told: dict[str, Any]) -> str:
    """Return where a fault or a group of them is: its route, and what is behind it."""
    behind = told.get("endpoint") or told.get("upstream") or ""
    route = route_name(str(told.get("route", "")))
    return f"{route} > {behind}" if behind else route
