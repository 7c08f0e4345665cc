"""The routes of one host, by path.

    exact     a dict
    pattern   all in one RE2 set: one pass over the path says which match
    prefix    a dict of prefixes, asked for what is left of the path as its
              elements go from the end; each knows the next shorter one

Paths are compared as they came, never decoded. A path is cut to the length of
the longest prefix before it is walked, so that a path of thousands of slashes
costs no more than the configuration's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.route.conditions import Conditions
from sidecar.route.precedence import EXACT, PREFIX, Found, stem

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence
    from typing import TypeVar

    from sidecar.model import RequestHead

    K = TypeVar("K", bound=Hashable)

_SET_BYTES = 8 << 20  # RE2's own default, enough for a thousand patterns.
_SET_MAX_BYTES = 1 << 30


class Paths:
    """Finds the best way of one host."""

    __slots__ = ("_exact", "_patterns", "_prefixes", "first")

    def __init__(self, ways: Sequence[Found]) -> None:
        """Take ways in the order of their ranks."""
        self.first = ways[0].rank
        exact = [way for way in ways if way.match.path.kind == EXACT]
        prefix = [way for way in ways if way.match.path.kind == PREFIX]
        others = [way for way in ways if way.match.path.kind not in (EXACT, PREFIX)]
        by_path = _grouped(exact, lambda way: way.match.path.value.encode())
        self._exact = {path: Conditions(group) for path, group in by_path.items()}
        self._patterns = Patterns(others) if others else None
        self._prefixes = Prefixes(prefix) if prefix else None

    def find(self, head: RequestHead, before: int) -> Found | None:
        """Return the best way that holds, if its rank is below `before`."""
        best = None
        if self._exact:
            conditions = self._exact.get(head.path)
            if conditions is not None and conditions.first < before:
                best = conditions.find(head, before)
                before = before if best is None else best.rank
        patterns = self._patterns
        if patterns is not None and patterns.first < before:
            found = patterns.find(head, before)
            if found is not None:
                best, before = found, found.rank
        prefixes = self._prefixes
        if prefixes is not None and prefixes.first < before:
            return prefixes.find(head, before) or best
        return best


class _Prefix:
    """One prefix, and the next shorter one that covers it."""

    __slots__ = ("conditions", "first", "plain", "shorter")

    def __init__(self, conditions: Conditions, shorter: _Prefix | None) -> None:
        self.conditions = conditions
        self.plain = conditions.only
        self.shorter = shorter
        own = conditions.first  # Of this one and of all that are shorter.
        self.first: int = own if shorter is None else min(own, shorter.first)


class Prefixes:
    """Finds the longest prefix by whole elements, and from there the shorter."""

    __slots__ = ("_by_stem", "_longest_bytes", "first")

    def __init__(self, ways: Sequence[Found]) -> None:
        """Take ways in the order of their ranks."""
        self.first = ways[0].rank
        self._by_stem: dict[bytes, _Prefix] = {}
        by_stem = _grouped(ways, lambda way: stem(way.match.path).encode())
        self._longest_bytes = max(map(len, by_stem))
        for prefix in sorted(by_stem, key=len):  # The shorter are there first.
            shorter = self._longest(prefix)
            self._by_stem[prefix] = _Prefix(Conditions(by_stem[prefix]), shorter)

    def find(self, head: RequestHead, before: int) -> Found | None:
        """Return the best way that holds, if its rank is below `before`."""
        prefix = self._longest(head.path)
        best = None
        while prefix is not None and prefix.first < before:
            # Nearly all prefixes have no conditions: for them no call is made.
            found = prefix.plain or prefix.conditions.find(head, before)
            if found is not None and found.rank < before:
                best, before = found, found.rank
            prefix = prefix.shorter
        return best

    def _longest(self, path: bytes) -> _Prefix | None:
        """Return the longest prefix of `path`; "/" is one of any, even of "*"."""
        by_stem, longest = self._by_stem, self._longest_bytes
        end = len(path)
        if end > longest:
            end = path.rfind(b"/", 0, longest + 1)
        while end > 0:
            prefix = by_stem.get(path[:end])
            if prefix is not None:
                return prefix
            end = path.rfind(b"/", 0, end)
        return by_stem.get(b"")


class Patterns:
    """All patterns of a host in one RE2 set."""

    __slots__ = ("_conditions", "_set", "first")

    def __init__(self, ways: Sequence[Found]) -> None:
        """Take ways in the order of their ranks."""
        self.first = ways[0].rank
        by_pattern = _grouped(ways, lambda way: way.match.path.value)
        self._set = _compiled_set(list(by_pattern))
        self._conditions = [Conditions(group) for group in by_pattern.values()]

    def find(self, head: RequestHead, before: int) -> Found | None:
        """Return the best way that holds, if its rank is below `before`."""
        best = None
        for number in self._set.Match(head.path) or ():
            conditions = self._conditions[number]
            if conditions.first < before:
                found = conditions.find(head, before)
                if found is not None:
                    best, before = found, found.rank
        return best


def _compiled_set(patterns: list[str]) -> Any:
    """Return a set that has the memory to match all of `patterns`.

    RE2 refuses to compile a set that is too large for its memory, or compiles it
    and then matches nothing without a word: so each is tried before it is used.
    """
    max_bytes = _SET_BYTES
    while max_bytes < _SET_MAX_BYTES:
        try:
            return _tried_set(patterns, max_bytes)
        except _TooLargeError:
            max_bytes *= 2
    return _tried_set(patterns, max_bytes)


class _TooLargeError(ValueError):
    """The patterns of one host need more memory than a set may take."""


def _tried_set(patterns: list[str], max_bytes: int) -> Any:
    import re2  # noqa: PLC0415 - 10 ms that a table without patterns saves

    options = re2.Options()
    options.log_errors = False
    options.max_mem = max_bytes
    matcher = re2.Set.FullMatchSet(options)
    for pattern in patterns:
        matcher.Add(pattern)
    proof = matcher.Add("")  # Matches no path, for none is empty; matches b"".
    try:
        matcher.Compile()
    except re2.error:
        works = False
    else:
        works = proof in (matcher.Match(b"") or ())
    if not works:
        msg = f"{len(patterns)} path patterns need more than {max_bytes >> 20} MiB"
        raise _TooLargeError(msg)
    return matcher


def _grouped(ways: Iterable[Found], key: Callable[[Found], K]) -> dict[K, list[Found]]:
    groups: dict[K, list[Found]] = {}
    for way in ways:
        groups.setdefault(key(way), []).append(way)
    return groups
