"""Routes that no request reaches, because an earlier or higher one takes them all.

    same priority      a match is lost to an equal one earlier in the file: any
                       difference makes one of the two more specific
    higher priority    a match is lost to one that asks for no more than it does

Whether several routes together take all of another is not asked. One look-up a
match and candidate, so that large files stay cheap to check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.settings.snapshot import FieldMatch, Match, Route

_ANY_HOST = "*"
_Place = tuple[str, str, str, str]  # Listener, host, kind of path, path.


class _Claim(NamedTuple):
    """What one route asks for at one place."""

    route: int  # Its index.
    priority: int
    method: str | None
    fields: frozenset[tuple[str, FieldMatch]]

    def takes_all_of(self, other: _Claim) -> bool:
        """Tell whether no request at this place is left for `other`."""
        if self.route == other.route:
            return False
        if self.priority > other.priority:
            is_wider = self.method in (None, other.method)
            return is_wider and self.fields <= other.fields
        return (
            self.priority == other.priority
            and self.route < other.route
            and (self.method, self.fields) == (other.method, other.fields)
        )


def find_unreachable(routes: Sequence[Route]) -> Iterator[tuple[int, int]]:
    """Yield the index of each such route, and that of one that takes from it."""
    claims: dict[_Place, list[_Claim]] = {}
    for index, route in enumerate(routes):
        for host, match in _parts(route):
            place = (route.listener, host, *_path(match))
            claims.setdefault(place, []).append(_claim(index, route, match))
    is_flat = len({route.priority for route in routes}) < 2  # noqa: PLR2004 - one for all
    for index, route in enumerate(routes):
        takers = [
            _taker(_claim(index, route, match), places, claims)
            for host, match in _parts(route)
            for places in [list(_places(route.listener, host, match, is_flat=is_flat))]
        ]
        if takers and None not in takers:
            yield index, next(taker for taker in takers if taker is not None)


def _taker(
    claim: _Claim, places: list[_Place], claims: dict[_Place, list[_Claim]]
) -> int | None:
    for number, place in enumerate(places):
        for other in claims.get(place, ()):
            is_wider_place = number > 0
            if is_wider_place and other.priority <= claim.priority:
                continue  # Here the more specific place comes first.
            if other.takes_all_of(claim):
                return other.route
    return None


def _parts(route: Route) -> Iterator[tuple[str, Match]]:
    for host in route.hosts or (_ANY_HOST,):
        for match in route.matches:
            yield host, match


def _claim(index: int, route: Route, match: Match) -> _Claim:
    fields = [("header", condition) for condition in match.headers]
    fields += [("query", condition) for condition in match.query]
    return _Claim(index, route.priority, match.method, frozenset(fields))


def _path(match: Match) -> tuple[str, str]:
    kind, value = match.path.kind, match.path.value
    return kind, value.rstrip("/") if kind == "PathPrefix" else value


def _places(
    listener: str, host: str, match: Match, *, is_flat: bool
) -> Iterator[_Place]:
    """Yield the place of a match, then those that include it."""
    for wider_host in _hosts(host):
        for kind, value in _paths(match):
            yield listener, wider_host, kind, value
            if is_flat:
                return  # Without priorities a wider place never comes first.


def _hosts(host: str) -> Iterator[str]:
    yield host
    rest = host.removeprefix("*.")
    while "." in rest:
        rest = rest.partition(".")[2]
        yield f"*.{rest}"
    if host != _ANY_HOST:
        yield _ANY_HOST


def _paths(match: Match) -> Iterator[tuple[str, str]]:
    kind, value = _path(match)
    yield kind, value
    if kind == "RegularExpression":
        yield "PathPrefix", ""
        return
    if kind == "Exact":
        yield "PathPrefix", value.rstrip("/")
    while value:
        value = value.rpartition("/")[0]
        yield "PathPrefix", value
