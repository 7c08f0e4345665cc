"""The order of all the ways to all routes: of those that hold, the first wins.

    priority, high to low
      host: exact, then the longest "*.suffix", then any
        path: exact, then pattern (the longest), then the longest prefix
          a method, most header conditions, most query conditions
            the order of the file

That is the Gateway API's order; where it leaves the place of patterns open they
come before prefixes. The order is fixed before any request is seen, so that a
place in it is one number, and a look-up compares nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.settings.snapshot import FieldMatch, Match, PathMatch, Route

EXACT, PREFIX, PATTERN = "Exact", "PathPrefix", "RegularExpression"
ANY_HOST = "*"

_PATH_KINDS = (EXACT, PATTERN, PREFIX)  # Best first.


@dataclass(slots=True)
class Found:
    """A way to a route: one host and one match of it. What a look-up returns."""

    rank: int  # Place in the order of all ways; the lowest wins.
    index: int  # Of the route, among those that the table was made from.
    route: Route
    host: str  # Exact, "*.suffix" or "*".
    match: Match
    template: str  # For metrics and spans: bounded by the configuration.
    prefix_bytes: int  # How much of the path the prefix covers; 0 if none.


class Precedence(NamedTuple):
    """What decides between two ways, first to last; the lesser tuple wins."""

    minus_priority: int
    host_kind: int  # 0 exact, 1 suffix, 2 any.
    minus_host_length: int
    path_kind: int  # 0 exact, 1 pattern, 2 prefix.
    minus_path_length: int
    has_no_method: bool
    minus_headers: int
    minus_queries: int
    route_index: int
    match_number: int


def ways(routes: Sequence[Route]) -> list[Found]:
    """Return every way to every route, the one with the highest precedence first."""
    unsorted = [
        (precedence(route, index, host, number), host)
        for index, route in enumerate(routes)
        for host in route.hosts or (ANY_HOST,)
        for number in range(len(route.matches))
    ]
    return [
        _way(rank, routes[place.route_index], host, place)
        for rank, (place, host) in enumerate(sorted(unsorted))
    ]


def precedence(route: Route, index: int, host: str, number: int) -> Precedence:
    """Return the place of match `number` of a route at one of its hosts."""
    match = route.matches[number]
    path = match.path
    return Precedence(
        -route.priority,
        _host_kind(host),
        -len(host),
        _PATH_KINDS.index(path.kind),
        -len(stem(path) if path.kind == PREFIX else path.value),
        match.method is None,
        -len(distinct(match.headers)),
        -len(distinct(match.query)),
        index,
        number,
    )


def stem(path: PathMatch) -> str:
    """Return a prefix without the slash at its end, which makes no difference."""
    return path.value.removesuffix("/")


def takes_all(way: Found) -> bool:
    """Tell whether a way is taken by every request there can be."""
    match = way.match
    return (
        way.host == ANY_HOST
        and match.path.kind == PREFIX
        and not stem(match.path)
        and match.method is None
        and not match.headers
        and not match.query
    )


def distinct(conditions: Sequence[FieldMatch]) -> list[FieldMatch]:
    """Return the first condition on each name: the Gateway API ignores the rest."""
    first: dict[str, FieldMatch] = {}
    for condition in conditions:
        first.setdefault(condition.name, condition)
    return list(first.values())


def _host_kind(host: str) -> int:
    if host == ANY_HOST:
        return 2
    return 1 if host.startswith("*.") else 0


def _way(rank: int, route: Route, host: str, place: Precedence) -> Found:
    match = route.matches[place.match_number]
    template, prefix_bytes = match.path.value, 0
    if match.path.kind == PREFIX:
        prefix = stem(match.path)
        template, prefix_bytes = f"{prefix}/*", len(prefix.encode())
    return Found(rank, place.route_index, route, host, match, template, prefix_bytes)
