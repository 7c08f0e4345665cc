"""Times as records write them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(wall_ns: int) -> str:
    """Return RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(wall_ns / 1e9, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(seconds: float) -> float:
    """Return milliseconds, to the microsecond."""
    return round(seconds * 1000, 3)
