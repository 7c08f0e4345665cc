"""Why a request takes the route it takes: a linear reading, for people.

It looks at every route and every condition, one after the other, and must agree
with the table; a property test holds the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.route.conditions import compile_pattern, parse_query, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import FieldMatch, Match, PathMatch, Route

_KINDS = {"Exact": 3, "RegularExpression": 2, "PathPrefix": 1}
_STAGES = ("host", "path", "method", "header", "query", "precedence")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one match of one route."""

    route: Route
    match: Match
    stage: str  # Where it lost; "" for the winner.
    reason: str


def explain(routes: Sequence[Route], head: RequestHead) -> list[Verdict]:
    """Return a verdict a route, the winner first, then by how near they came."""
    held: list[tuple[tuple[object, ...], Verdict]] = []
    lost: list[Verdict] = []
    for number, route in enumerate(routes):
        verdicts = [_judge(route, match, head) for match in route.matches]
        good = [v for v in verdicts if not v.stage]
        if good:
            best = max(good, key=lambda v: _precedence(v, head, number))
            held.append((_precedence(best, head, number), best))
        else:
            lost.append(max(verdicts, key=lambda v: _STAGES.index(v.stage)))
    held.sort(key=lambda pair: pair[0], reverse=True)
    lost.sort(key=lambda v: _STAGES.index(v.stage), reverse=True)
    beaten = [
        Verdict(v.route, v.match, "precedence", f"matches, but {_why(held[0], key)}")
        for key, v in held[1:]
    ]
    return [v for _, v in held[:1]] + beaten + lost


def _why(winner: tuple[tuple[object, ...], Verdict], key: tuple[object, ...]) -> str:
    names = (
        "priority is higher",
        "host is more specific",
        "kind of path match is more specific",
        "path is longer",
        "method is asked for",
        "headers asked for are more",
        "query parameters asked for are more",
        "place in the file is earlier",
    )
    for name, mine, theirs in zip(names, winner[0], key, strict=True):
        if mine != theirs:
            return f"{winner[1].route.name}'s {name}"
    return f"{winner[1].route.name} is first"


def _precedence(verdict: Verdict, head: RequestHead, number: int) -> tuple[object, ...]:
    route, match = verdict.route, verdict.match
    host = head.host.decode("latin-1")
    best = max((_host_rank(h, host) for h in route.hosts or ("*",)), default=(0, 0))
    kind = _KINDS[match.path.kind]
    length = len(match.path.value.rstrip("/") if kind == 1 else match.path.value)
    return (route.priority, best, kind, length, *rank(match), -number)


def _host_rank(pattern: str, host: str) -> tuple[int, int]:
    if not _host_fits(pattern, host):
        return (-1, 0)
    if pattern == "*":
        return (0, 0)
    return (1, len(pattern)) if pattern.startswith("*.") else (2, 0)


def _host_fits(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern in ("*", host)


def _judge(route: Route, match: Match, head: RequestHead) -> Verdict:
    """Return where a match fails, the first of its conditions in order."""
    host = head.host.decode("latin-1")
    path = head.path.decode("latin-1")
    if not any(_host_fits(pattern, host) for pattern in route.hosts or ("*",)):
        return Verdict(route, match, "host", f"host {host!r} is none of {route.hosts}")
    if not _path_fits(match.path, path):
        reason = f"path {path!r} does not match {match.path.kind} {match.path.value!r}"
        return Verdict(route, match, "path", reason)
    if match.method not in (None, head.method):
        reason = f"method is {head.method}, not {match.method}"
        return Verdict(route, match, "method", reason)
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in head.named.items()}
    reason = _first_miss(match.headers, headers)
    if reason:
        return Verdict(route, match, "header", f"header {reason}")
    reason = _first_miss(match.query, parse_query(head.query))
    if reason:
        return Verdict(route, match, "query", f"query parameter {reason}")
    return Verdict(route, match, "", "matches")


def _path_fits(match: PathMatch, path: str) -> bool:
    if match.kind == "Exact":
        return path == match.value
    if match.kind == "RegularExpression":
        return compile_pattern(match.value).fullmatch(path) is not None
    stem = match.value.rstrip("/")
    return path == stem or path.startswith(stem + "/") or not stem


def _first_miss(conditions: tuple[FieldMatch, ...], values: dict[str, str]) -> str:
    for condition in conditions:
        value = values.get(condition.name)
        if value is None:
            return f"{condition.name!r} is missing"
        if condition.is_regex:
            fits = compile_pattern(condition.value).fullmatch(value) is not None
        else:
            fits = value == condition.value
        if not fits:
            return f"{condition.name!r} is not {condition.value!r}"
    return ""
