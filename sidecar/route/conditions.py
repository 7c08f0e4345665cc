"""Method, header and query conditions below one path, looked up by their values.

Conditions that ask for the same fields have the same shape, and the routes of
one shape stand in a dict by the values they ask for. So what a look-up costs
grows with the number of shapes, which is small, not with that of the routes.

Source: "tuple space search" in V. Srinivasan, S. Suri, G. Varghese, "Packet
Classification using Tuple Space Search", SIGCOMM 1999.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from sidecar.model import hot_value

if TYPE_CHECKING:
    import re

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import FieldMatch, Match, Route


@hot_value
class Found:
    """The route of a request, and how it was found."""

    route: Route
    match: Match
    template: str  # For metrics and spans: bounded by the configuration.
    prefix_bytes: int  # How much of the path the prefix covers; 0 if none.
    place: int  # In the file.

    @property
    def standing(self) -> tuple[bool, int, int, int]:
        """Order among those whose path is as good: the highest wins."""
        return (*rank(self.match), -self.place)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile with RE2: linear time, whatever pattern and input."""
    import re2  # noqa: PLC0415 - 10 ms that a table without patterns saves

    options = re2.Options()
    options.log_errors = False
    compiled: re.Pattern[str] = re2.compile(pattern, options)
    return compiled


def rank(match: Match) -> tuple[bool, int, int]:
    """Return what the Gateway API's precedence looks at below the path."""
    return match.method is not None, len(match.headers), len(match.query)


class _Shape:
    """Conditions that look at the same fields."""

    __slots__ = ("_by_values", "_headers", "_patterns", "_queries", "_with_method")

    def __init__(self, match: Match) -> None:
        self._with_method = match.method is not None
        self._headers = [m.name.encode() for m in match.headers if not m.is_regex]
        self._queries = [m.name for m in match.query if not m.is_regex]
        self._by_values: dict[tuple[object, ...], list[tuple[Found, _Patterns]]] = {}

    def add(self, found: Found) -> None:
        match = found.match
        key = (
            match.method if self._with_method else None,
            *(m.value.encode("latin-1") for m in match.headers if not m.is_regex),
            *(m.value for m in match.query if not m.is_regex),
        )
        self._by_values.setdefault(key, []).append((found, _Patterns(match)))

    def find(self, head: RequestHead, query: dict[str, str]) -> Found | None:
        named = head.named
        key = (
            head.method if self._with_method else None,
            *(named.get(name) for name in self._headers),
            *(query.get(name) for name in self._queries),
        )
        for found, patterns in self._by_values.get(key, ()):
            if patterns.hold(head, query):
                return found
        return None


class _Patterns:
    """The conditions of one match that are patterns; mostly none."""

    __slots__ = ("_headers", "_queries")

    def __init__(self, match: Match) -> None:
        self._headers = _compiled(match.headers)
        self._queries = _compiled(match.query)

    def hold(self, head: RequestHead, query: dict[str, str]) -> bool:
        for name, pattern in self._headers:
            value = head.named.get(name.encode())
            if value is None or not pattern.fullmatch(value.decode("latin-1")):
                return False
        for name, pattern in self._queries:
            text = query.get(name)
            if text is None or not pattern.fullmatch(text):
                return False
        return True


class Conditions:
    """The routes below one path entry."""

    __slots__ = ("_needs_query", "_only", "_ranks")

    def __init__(self, candidates: list[Found]) -> None:
        """Take candidates in the order of the file."""
        ordered = sorted(candidates, key=lambda found: found.standing, reverse=True)
        ranks: dict[object, dict[object, _Shape]] = {}
        for found in ordered:
            match = found.match
            form = (
                tuple((m.name, m.is_regex) for m in match.headers),
                tuple((m.name, m.is_regex) for m in match.query),
            )
            shapes = ranks.setdefault(rank(match), {})
            shapes.setdefault(form, _Shape(match)).add(found)
        self._ranks = [list(shapes.values()) for shapes in ranks.values()]
        self._needs_query = any(found.match.query for found in candidates)
        best = ordered[0]
        self._only = best if rank(best.match) == (False, 0, 0) else None

    def find(self, head: RequestHead) -> Found | None:
        """Return the best route whose conditions hold."""
        if self._only is not None:
            return self._only
        query = parse_query(head.query) if self._needs_query else {}
        for shapes in self._ranks:
            found = [hit for shape in shapes if (hit := shape.find(head, query))]
            if found:  # Of one rank, the first in the file.
                return max(found, key=lambda hit: hit.standing)
        return None


def parse_query(query: bytes | None) -> dict[str, str]:
    """Return the first value of each parameter, decoded."""
    values: dict[str, str] = {}
    for pair in (query or b"").decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if name:
            values.setdefault(unquote_plus(name), unquote_plus(value))
    return values


def _compiled(conditions: tuple[FieldMatch, ...]) -> list[tuple[str, re.Pattern[str]]]:
    return [(m.name, compile_pattern(m.value)) for m in conditions if m.is_regex]
