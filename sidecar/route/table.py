"""From a request head to its route, at a cost that the number of routes leaves alone.

    priority, high to low
      host: exact, then the longest "*.suffix", then any
        path: exact, then pattern (the longest), then the longest prefix
          conditions: method, most headers, most query parameters, file order

That is the Gateway API's precedence; where it leaves the place of patterns open
they come before prefixes. Every step is a look-up in a dict: exact paths by the
path, prefixes by each of its leading elements, and all the patterns of a host
by one set of RE2. A host whose paths do not match gives way to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.route.conditions import Conditions, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import Match, Route

__all__ = ["Found", "RouteTable"]

_EXACT, _PREFIX, _PATTERN = "Exact", "PathPrefix", "RegularExpression"


class RouteTable:
    """The routes of one listener."""

    __slots__ = ("_levels",)

    def __init__(self, routes: Sequence[Route]) -> None:
        priorities = sorted({route.priority for route in routes}, reverse=True)
        self._levels = [
            _Hosts([route for route in routes if route.priority == priority])
            for priority in priorities
        ]

    def find(self, head: RequestHead) -> Found | None:
        """Return the route of `head`, or None."""
        for level in self._levels:
            found = level.find(head)
            if found is not None:
                return found
        return None


class _Hosts:
    """Routes of one priority, by host."""

    __slots__ = ("_any", "_exact", "_suffixes")

    def __init__(self, routes: Sequence[Route]) -> None:
        by_host: dict[str, list[tuple[Route, Match]]] = {}
        for route in routes:
            for host in route.hosts or ("*",):
                entries = by_host.setdefault(host, [])
                entries.extend((route, match) for match in route.matches)
        paths = {host: _Paths(entries) for host, entries in by_host.items()}
        self._any = paths.pop("*", None)
        self._exact: dict[bytes, _Paths] = {}
        self._suffixes: dict[bytes, _Paths] = {}
        for host, table in paths.items():
            if host.startswith("*."):
                self._suffixes[host[1:].encode()] = table
            else:
                self._exact[host.encode()] = table

    def find(self, head: RequestHead) -> Found | None:
        if self._exact:
            table = self._exact.get(head.host)
            found = None if table is None else table.find(head)
            if found is not None:
                return found
        if self._suffixes:
            found = self._find_by_suffix(head)
            if found is not None:
                return found
        return None if self._any is None else self._any.find(head)

    def _find_by_suffix(self, head: RequestHead) -> Found | None:
        dot = head.host.find(b".")
        while dot >= 0:
            table = self._suffixes.get(head.host[dot:])
            found = None if table is None or dot == 0 else table.find(head)
            if found is not None:
                return found
            dot = head.host.find(b".", dot + 1)
        return None


class _Paths:
    """Routes of one host, by path."""

    __slots__ = ("_exact", "_patterns", "_prefixes")

    def __init__(self, entries: list[tuple[Route, Match]]) -> None:
        exact: dict[bytes, list[Found]] = {}
        prefixes: dict[bytes, list[Found]] = {}
        patterns: dict[str, list[Found]] = {}
        for place, (route, match) in enumerate(entries):
            kind, value = match.path.kind, match.path.value
            if kind == _EXACT:
                found = Found(route, match, value, 0, place)
                exact.setdefault(value.encode(), []).append(found)
            elif kind == _PREFIX:
                stem = value.rstrip("/")
                found = Found(route, match, f"{stem}/*", len(stem.encode()), place)
                prefixes.setdefault(stem.encode(), []).append(found)
            else:
                found = Found(route, match, value, 0, place)
                patterns.setdefault(value, []).append(found)
        self._exact = {path: Conditions(found) for path, found in exact.items()}
        self._prefixes = {path: Conditions(found) for path, found in prefixes.items()}
        self._patterns = _Patterns(patterns) if patterns else None

    def find(self, head: RequestHead) -> Found | None:
        path = head.path
        conditions = self._exact.get(path)
        if conditions is not None:
            found = conditions.find(head)
            if found is not None:
                return found
        if self._patterns is not None:
            found = self._patterns.find(head)
            if found is not None:
                return found
        return self._find_by_prefix(head, path) if self._prefixes else None

    def _find_by_prefix(self, head: RequestHead, path: bytes) -> Found | None:
        """Try the path, then what is left when its last element goes, and so on."""
        prefixes = self._prefixes
        end = len(path)
        while end >= 0:
            conditions = prefixes.get(path[:end])
            if conditions is not None:
                found = conditions.find(head)
                if found is not None:
                    return found
            end = path.rfind(b"/", 0, end)
        return None


class _Patterns:
    """All patterns of a host in one RE2 set: one pass over the path."""

    __slots__ = ("_conditions", "_set")

    def __init__(self, patterns: dict[str, list[Found]]) -> None:
        import re2  # noqa: PLC0415 - 10 ms that a table without patterns saves

        options = re2.Options()
        options.log_errors = False
        self._set = re2.Set.FullMatchSet(options)
        ordered = sorted(patterns, key=len, reverse=True)  # Longest first; stable.
        for pattern in ordered:
            self._set.Add(pattern)
        self._set.Compile()
        self._conditions = [Conditions(patterns[pattern]) for pattern in ordered]

    def find(self, head: RequestHead) -> Found | None:
        """Return the best of the longest patterns that match."""
        best: Found | None = None
        for index in self._matching(head):
            found = self._conditions[index].find(head)
            if found is None:
                continue
            if best is None:
                best = found
            elif len(found.template) < len(best.template):
                break
            elif found.standing > best.standing:
                best = found
        return best

    def _matching(self, head: RequestHead) -> list[int]:
        return sorted(self._set.Match(head.path.decode("latin-1")) or ())
