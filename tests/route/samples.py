"""Routes and requests of few words, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sidecar.route.table import RouteTable
from sidecar.settings.load import from_upstream
from sidecar.settings.snapshot import FieldMatch, Match, PathMatch, Route
from sidecar.wire.head import parse_request

_TEMPLATE = from_upstream("127.0.0.1:1").snapshot.routes[0]


def route(name: str, *matches: Match, **more: Any) -> Route:
    """Return a route with the defaults of the configuration."""
    return replace(_TEMPLATE, name=name, matches=matches or (Match(),), **more)


def prefix(value: str = "/", **more: Any) -> Match:
    return Match(PathMatch("PathPrefix", value), **more)


def exact(value: str, **more: Any) -> Match:
    return Match(PathMatch("Exact", value), **more)


def pattern(value: str, **more: Any) -> Match:
    return Match(PathMatch("RegularExpression", value), **more)


def asks(**values: str) -> tuple[FieldMatch, ...]:
    """Return exact conditions on headers or query parameters."""
    return tuple(FieldMatch(name, value) for name, value in values.items())


def asks_like(**patterns: str) -> tuple[FieldMatch, ...]:
    """Return conditions on headers or query parameters that are patterns."""
    return tuple(FieldMatch(n, value, is_regex=True) for n, value in patterns.items())


def request(
    target: str, *fields: str, host: str = "a.example", method: str = "GET"
) -> Any:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return parse_request("\r\n".join(lines).encode())


def winner(routes: list[Route], *words: str, **more: str) -> str | None:
    """Return the name of the route that the table finds for a request."""
    found = RouteTable(routes).find(request(*words, **more))
    return None if found is None else found.route.name
