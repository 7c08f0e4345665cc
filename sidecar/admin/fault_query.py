"""What can be asked of faults, groups and events, and what is meant by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.admin.openapi import Param, QueryError
from sidecar.faults.spec import Layer, Severity
from sidecar.record.feed.fault_feed import KEPT
from sidecar.record.feed.fault_filter import FaultFilter, since_ns
from sidecar.record.feed.group import State

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN: Final = 100
_MAX_SEQ: Final = 2**53 - 1  # What JSON numbers hold.
TRAFFIC_ROUTES: Final = 50  # That may be asked for at once.
FORMATS: Final = ("json", "jsonl", "csv")


def _choice(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


SINCE = Param("since", "not older than: 15m (ago), or 2026-01-31T12:00:00Z")
LIMIT = Param(
    "limit",
    f"how many at most; {SHOWN} unless given",
    {"type": "integer", "minimum": 0, "maximum": KEPT},
)
CURSOR = Param(
    "cursor",
    "go on from there: the Link field of the page before has it",
    {"type": "integer", "minimum": 1, "maximum": _MAX_SEQ},
)
UPSTREAM = Param("upstream", "of this upstream; empty: of none")
OF_FAULTS = (
    Param("code", "a 316 code"),
    Param("family", "the first word of a code after 316-, such as CONN"),
    Param("severity", "as it was then", _choice(*(s.name for s in Severity))),
    Param("layer", "where it happened", _choice(*(la.value for la in Layer))),
    Param("route", "of this route; empty: of none"),
    UPSTREAM,
    SINCE,
    Param("text", "somewhere in what is told, whatever its case"),
)
FAULT_QUERY = (
    *OF_FAULTS,
    Param("group", "of the group with this id"),
    LIMIT,
    CURSOR,
    Param("format", "jsonl and csv are whole, or as many as limit", _choice(*FORMATS)),
)
GROUP_QUERY = (
    *OF_FAULTS,
    Param("state", "where it stands", _choice(*(s.value for s in State))),
    LIMIT,
)
STREAM_QUERY = (
    *OF_FAULTS,
    Param(
        "traffic", "whether numbers of traffic are told, too", _choice("true", "false")
    ),
)
TRAFFIC_QUERY = (Param("route", "of this route, too", most=TRAFFIC_ROUTES),)
EVENT_QUERY = (Param("kind", "such as breaker"), UPSTREAM, SINCE, LIMIT, CURSOR)


def filter_of(query: Mapping[str, str], now_ns: int) -> FaultFilter:
    """Return what a checked query asks for.

    Raises:
        QueryError: Its `since` is no time.
    """
    return FaultFilter(
        code=query.get("code", "").upper(),
        family=query.get("family", "").upper().removeprefix("316-"),
        severity=query.get("severity", ""),
        layer=query.get("layer", ""),
        route=query.get("route"),
        upstream=query.get("upstream"),
        group=query.get("group", ""),
        since_ns=since_of(query, now_ns),
        text=query.get("text", ""),
    )


def since_of(query: Mapping[str, str], now_ns: int) -> int:
    """Return the time of day that a query begins at; 0: at any.

    Raises:
        QueryError: It is no time.
    """
    if "since" not in query:
        return 0
    try:
        return since_ns(query["since"], now_ns)
    except (ValueError, OverflowError) as error:
        msg = f"since: {error}"
        raise QueryError(msg) from None
