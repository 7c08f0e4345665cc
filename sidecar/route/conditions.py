"""Method, header and query conditions below one path, looked up by their values.

Conditions that ask for exact values of the same fields have the same shape, and
the ways of one shape stand in a dict by the values that they ask for. So the
cost grows with the number of shapes, which is small, not with that of routes.
Only patterns of ways that ask for the very same exact values are tried in turn.

Everything is compared as bytes: a header value as it came, a query parameter
percent-decoded, both with the UTF-8 of the configuration's text.

Source: "tuple space search" in V. Srinivasan, S. Suri, G. Varghese, "Packet
Classification using Tuple Space Search", SIGCOMM 1999.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from sidecar.route.precedence import Found, distinct

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Sequence

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import FieldMatch, Match

__all__ = ["LAST", "Conditions", "Found", "compile_pattern", "parse_query"]

LAST = 1 << 62  # A rank that every way comes before.

_Wanted = dict[bytes, "re.Pattern[bytes]"]  # By name, what its value must match.
_NO_QUERY: dict[bytes, bytes] = {}


def compile_pattern(pattern: str) -> re.Pattern[bytes]:
    """Compile with RE2: linear time, whatever pattern and input."""
    import re2  # noqa: PLC0415 - 10 ms that a table without patterns saves

    options = re2.Options()
    options.log_errors = False
    compiled: re.Pattern[bytes] = re2.compile(pattern, options)
    return compiled


def parse_query(query: bytes | None, wanted: frozenset[bytes]) -> dict[bytes, bytes]:
    """Return the first value of each parameter in `wanted`, decoded.

    The rest is not decoded, so that a long query costs little.
    """
    values: dict[bytes, bytes] = {}
    for pair in (query or b"").split(b"&"):
        name, _, value = pair.partition(b"=")
        if b"%" in name or b"+" in name:
            name = _decoded(name)
        if name in wanted and name not in values:
            values[name] = _decoded(value)
    return values


class Conditions:
    """The ways below one path entry."""

    __slots__ = ("_plain", "_query_names", "_shapes", "first")

    def __init__(self, ways: Sequence[Found]) -> None:
        """Take ways in the order of their ranks."""
        self.first = ways[0].rank  # No way in here comes before it.
        plain = next((i for i, way in enumerate(ways) if _is_plain(way.match)), None)
        self._plain = None if plain is None else ways[plain]
        asking = ways[:plain]  # What comes after a way that always holds is lost.
        shapes: dict[tuple[object, ...], _Shape] = {}
        for way in asking:
            shapes.setdefault(_form(way.match), _Shape(way)).add(way)
        self._shapes = list(shapes.values())  # By their first ways.
        names = {m.name.encode() for way in asking for m in way.match.query}
        self._query_names = frozenset(names)

    @property
    def only(self) -> Found | None:
        """The way that is taken whatever the request, if no other stands above it."""
        return None if self._shapes else self._plain

    def find(self, head: RequestHead, before: int) -> Found | None:
        """Return the best way whose conditions hold, if its rank is below `before`."""
        best = self._plain
        if best is None or best.rank >= before:
            best = None
        else:
            before = best.rank
        return self._find_shaped(head, before) or best if self._shapes else best

    def _find_shaped(self, head: RequestHead, before: int) -> Found | None:
        names = self._query_names
        query = parse_query(head.query, names) if names else _NO_QUERY
        best = None
        for shape in self._shapes:
            if shape.first >= before:
                break
            found = shape.find(head, query, before)
            if found is not None:
                best, before = found, found.rank
        return best


class _Shape:
    """Ways that ask for exact values of the same fields."""

    __slots__ = ("_by_values", "_headers", "_queries", "_with_method", "first")

    def __init__(self, way: Found) -> None:
        """Take the first way of the shape; `add` it, too."""
        match = way.match
        self.first = way.rank
        self._with_method = match.method is not None
        self._headers = [m.name.encode() for m in _exact(match.headers)]
        self._queries = [m.name.encode() for m in _exact(match.query)]
        self._by_values: dict[tuple[object, ...], list[tuple[Found, _Patterns]]] = {}

    def add(self, way: Found) -> None:
        match = way.match
        asked = (*_exact(match.headers), *_exact(match.query))
        key = (match.method, *(m.value.encode() for m in asked))
        ways = self._by_values.setdefault(key, [])
        if not ways or not ways[-1][1].always_hold:  # Else it can never be reached.
            ways.append((way, _Patterns(match)))

    def find(
        self, head: RequestHead, query: dict[bytes, bytes], before: int
    ) -> Found | None:
        named = head.named
        key = (
            head.method if self._with_method else None,
            *[named.get(name) for name in self._headers],
            *[query.get(name) for name in self._queries],
        )
        for way, patterns in self._by_values.get(key, ()):
            if way.rank >= before:
                return None
            if patterns.always_hold or patterns.hold(named, query):
                return way
        return None


class _Patterns:
    """The conditions of one match that are patterns; mostly none."""

    __slots__ = ("_headers", "_queries", "always_hold")

    def __init__(self, match: Match) -> None:
        self._headers = _compiled(match.headers)
        self._queries = _compiled(match.query)
        self.always_hold = not (self._headers or self._queries)

    def hold(self, named: dict[bytes, bytes], query: dict[bytes, bytes]) -> bool:
        return _hold(self._headers, named) and _hold(self._queries, query)


def _hold(wanted: _Wanted, values: dict[bytes, bytes]) -> bool:
    for name, pattern in wanted.items():
        value = values.get(name)
        if value is None or not pattern.fullmatch(value):
            return False
    return True


def _is_plain(match: Match) -> bool:
    return match.method is None and not match.headers and not match.query


def _form(match: Match) -> tuple[object, ...]:
    headers, queries = _exact(match.headers), _exact(match.query)
    return (
        match.method is not None,
        tuple(m.name for m in headers),
        tuple(m.name for m in queries),
    )


def _exact(conditions: Sequence[FieldMatch]) -> list[FieldMatch]:
    """Return the exact conditions by name: their order in the file is no matter."""
    exact = (m for m in distinct(conditions) if not m.is_regex)
    return sorted(exact, key=lambda m: m.name)


def _compiled(conditions: Iterable[FieldMatch]) -> _Wanted:
    patterns = (m for m in distinct(tuple(conditions)) if m.is_regex)
    return {m.name.encode(): compile_pattern(m.value) for m in patterns}


def _decoded(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))
