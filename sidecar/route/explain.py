"""Why a request takes the route it takes: a linear reading, for people.

Every way to every route is read in the order of precedence and every condition
of it is looked at, one after the other, without any of the table's short cuts.
So the two can hold each other to account: a property test has them agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import takewhile
from typing import TYPE_CHECKING

from sidecar.route.conditions import compile_pattern, parse_query
from sidecar.route.precedence import (
    ANY_HOST,
    EXACT,
    PATTERN,
    PREFIX,
    Found,
    Precedence,
    distinct,
    precedence,
    stem,
    ways,
)
from sidecar.wire.secret_names import MASK, is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import FieldMatch, PathMatch, Route


class Stage(IntEnum):
    """What a route lost at; the higher, the nearer it came."""

    HOST = 0
    PATH = 1
    METHOD = 2
    HEADER = 3
    QUERY = 4
    PRECEDENCE = 5  # Everything held, but another way comes before it.


@dataclass(frozen=True, slots=True)
class Loser:
    """The nearest that a route came, and why it was not taken."""

    way: Found
    stage: Stage
    reasons: tuple[str, ...]  # Sentences; one for each condition that failed.


@dataclass(frozen=True, slots=True)
class Explanation:
    """The way taken, and what became of the other routes, the nearest first."""

    winner: Found | None
    losers: tuple[Loser, ...]


_Miss = tuple[Stage, str]


def explain(routes: Sequence[Route], head: RequestHead) -> Explanation:
    """Read all ways to `routes`; every route but the winner's gets one reason."""
    read = [(way, list(_misses(way, head))) for way in ways(routes)]
    winner = next((way for way, misses in read if not misses), None)
    nearest: dict[int, tuple[tuple[int, ...], Loser]] = {}
    for way, misses in read:
        if winner is not None and way.index == winner.index:
            continue
        distance = _distance(way, misses, head)
        if way.index not in nearest or distance < nearest[way.index][0]:
            nearest[way.index] = distance, _loser(way, misses, winner)
    by_distance = sorted(nearest.values(), key=lambda pair: pair[0])
    return Explanation(winner, tuple(loser for _, loser in by_distance))


def _distance(
    way: Found, misses: Sequence[_Miss], head: RequestHead
) -> tuple[int, ...]:
    """Return how far a way is from being taken: the lesser, the nearer."""
    stage = misses[0][0] if misses else Stage.PRECEDENCE
    shared = _shared_length(way, head) if stage is Stage.PATH else 0
    return -stage, -shared, len(misses), way.rank


def _shared_length(way: Found, head: RequestHead) -> int:
    """Return how many characters of the path are as the way has them."""
    pairs = zip(way.match.path.value, head.path.decode("latin-1"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _loser(way: Found, misses: Sequence[_Miss], winner: Found | None) -> Loser:
    if not misses and winner is not None:
        return Loser(way, Stage.PRECEDENCE, (_why_later(way, winner),))
    return Loser(way, misses[0][0], tuple(reason for _, reason in misses))


# What does not hold.


def _misses(way: Found, head: RequestHead) -> Iterator[_Miss]:
    """Yield each condition that fails, in the order of the stages."""
    match = way.match
    host, path = head.host.decode("latin-1"), head.path.decode("latin-1")
    if not _host_holds(way.host, host):
        hosts = way.route.hosts
        wanted = f"none of {', '.join(hosts)}" if len(hosts) > 1 else f"not {hosts[0]}"
        yield Stage.HOST, f"the host {host!r} is {wanted}"
    if not _path_holds(match.path, path):
        yield Stage.PATH, _path_reason(match.path, path)
    if match.method not in (None, head.method):
        yield Stage.METHOD, f"the method is {head.method}, not {match.method}"
    for reason in _field_misses("header", match.headers, head.named):
        yield Stage.HEADER, reason
    names = frozenset(condition.name.encode() for condition in match.query)
    query = parse_query(head.query, names)
    for reason in _field_misses("query parameter", match.query, query):
        yield Stage.QUERY, reason


def _host_holds(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        suffix = pattern[1:]
        return host.endswith(suffix) and len(host) > len(suffix)
    return pattern in (ANY_HOST, host)


def _path_holds(match: PathMatch, path: str) -> bool:
    if match.kind == EXACT:
        return path == match.value
    if match.kind == PATTERN:
        return (
            compile_pattern(match.value).fullmatch(path.encode("latin-1")) is not None
        )
    prefix = stem(match)
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _path_reason(match: PathMatch, path: str) -> str:
    if match.kind == EXACT:
        return f"the path is not exactly {match.value}"
    if match.kind == PATTERN:
        return f"the path as a whole does not match {match.value}"
    hint = ""
    if path.startswith(stem(match)):
        hint = ": a prefix ends where an element of the path ends"
    return f"the path is not {match.value} or below it{hint}"


def _field_misses(
    what: str, conditions: Sequence[FieldMatch], values: dict[bytes, bytes]
) -> Iterator[str]:
    for condition in distinct(conditions):
        value = values.get(condition.name.encode())
        if value is None:
            yield f"the {what} {condition.name} is missing"
        elif condition.is_regex:
            if not compile_pattern(condition.value).fullmatch(value):
                yield f"the {what} {condition.name} does not match {told(condition)}"
        elif value != condition.value.encode():
            yield f"the {what} {condition.name} is not {told(condition)!r}"


def told(condition: FieldMatch) -> str:
    """Return what a condition asks for, unless its name sounds like a secret's."""
    return MASK if is_secret(condition.name) else condition.value


# What comes later, although it holds.

_KINDS = {EXACT: "exact", PATTERN: "a pattern", PREFIX: "a prefix"}


def _why_later(way: Found, winner: Found) -> str:
    """Return in a sentence the first thing in which the winner comes before."""
    pairs = zip(Precedence._fields, _place(way), _place(winner), strict=True)
    field = next(name for name, mine, theirs in pairs if mine != theirs)
    return f"it matches too, but {_SENTENCES[field](way, winner)}"


def _place(way: Found) -> Precedence:
    number = way.route.matches.index(way.match)
    return precedence(way.route, way.index, way.host, number)


def _by_priority(way: Found, winner: Found) -> str:
    theirs, mine = winner.route.priority, way.route.priority
    return f"{winner.route.name} has priority {theirs}, this one {mine}"


def _by_host(way: Found, winner: Found) -> str:
    name = winner.route.name
    mine = "any host" if way.host == ANY_HOST else way.host
    return f"{name} is for the host {winner.host}, this one for {mine}"


def _by_path_kind(way: Found, winner: Found) -> str:
    theirs, mine = _KINDS[winner.match.path.kind], _KINDS[way.match.path.kind]
    return f"the path of {winner.route.name} is {theirs}, that of this one {mine}"


def _by_path_length(way: Found, winner: Found) -> str:
    name, theirs = winner.route.name, winner.match.path.value
    return f"the path of {name} is longer: {theirs}, against {way.match.path.value}"


def _by_method(_: Found, winner: Found) -> str:
    return f"{winner.route.name} asks for the method, this one does not"


def _by_headers(way: Found, winner: Found) -> str:
    theirs, mine = len(distinct(winner.match.headers)), len(distinct(way.match.headers))
    return f"{winner.route.name} asks for more headers: {theirs}, against {mine}"


def _by_queries(way: Found, winner: Found) -> str:
    theirs, mine = len(distinct(winner.match.query)), len(distinct(way.match.query))
    name = winner.route.name
    return f"{name} asks for more query parameters: {theirs}, against {mine}"


def _by_order(_: Found, winner: Found) -> str:
    return f"{winner.route.name} stands before it in the file"


_SENTENCES: dict[str, Callable[[Found, Found], str]] = {
    "minus_priority": _by_priority,
    "host_kind": _by_host,
    "minus_host_length": _by_host,
    "path_kind": _by_path_kind,
    "minus_path_length": _by_path_length,
    "has_no_method": _by_method,
    "minus_headers": _by_headers,
    "minus_queries": _by_queries,
    "route_index": _by_order,
}
