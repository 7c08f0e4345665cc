"""From a request head to its route, at a cost that the number of routes leaves alone.

A look-up visits the few places where a way to a route can stand for this
request: its host, the suffixes of its host, any host (here), and there its path
and what leads to it (`paths.py`). Each place knows the rank of its best way, so
it is passed over as soon as something better is found. Most often that is at
once, because the places are visited in the order of precedence; only a
`priority` of a less special route makes the look-up go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.route.conditions import LAST
from sidecar.route.paths import Paths
from sidecar.route.precedence import ANY_HOST, Found, takes_all, ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import Route

__all__ = ["Found", "RouteTable"]


class RouteTable:
    """The routes of one listener."""

    __slots__ = (
        "_any",
        "_by_host",
        "_by_suffix",
        "_longest_suffix_bytes",
        "_only",
        "_size",
    )

    def __init__(self, routes: Sequence[Route]) -> None:
        by_host: dict[str, list[Found]] = {}
        all_ways = ways(routes)
        for way in all_ways:
            by_host.setdefault(way.host, []).append(way)
        is_one = len(all_ways) == 1 and takes_all(all_ways[0])
        self._only = all_ways[0] if is_one else None  # Most sidecars have one route.
        paths = {host: Paths(group) for host, group in by_host.items()}
        self._size = len(routes)
        self._any = paths.pop(ANY_HOST, None)
        self._by_suffix: dict[bytes, Paths] = {}  # Each begins with its dot.
        self._by_host: dict[bytes, Paths] = {}
        for host, table in paths.items():
            if host.startswith("*."):
                self._by_suffix[host[1:].encode()] = table
            else:
                self._by_host[host.encode()] = table
        self._longest_suffix_bytes = max(map(len, self._by_suffix), default=0)

    def __repr__(self) -> str:
        """Return how much is in it."""
        hosts = len(self._by_host) + len(self._by_suffix)
        return f"<RouteTable: {self._size} routes, {hosts} hosts>"

    def find(self, head: RequestHead) -> Found | None:
        """Return the way that `head` takes to its route, or None."""
        if self._only is not None:
            return self._only
        if self._by_host or self._by_suffix:
            return self._find_by_host(head)
        return None if self._any is None else self._any.find(head, LAST)

    def _find_by_host(self, head: RequestHead) -> Found | None:
        best, before = None, LAST
        for paths in self._tables_of(head.host):
            if paths.first < before:
                found = paths.find(head, before)
                if found is not None:
                    best, before = found, found.rank
        return best

    def _tables_of(self, host: bytes) -> list[Paths]:
        """Return what may know `host`: exact, longest suffix to shortest, any."""
        exact = self._by_host.get(host)
        tables = [] if exact is None else [exact]
        if self._by_suffix:
            # One label at least stands before a suffix, and no suffix is longer
            # than the longest: a host of thousands of dots is not walked.
            start = max(1, len(host) - self._longest_suffix_bytes)
            dot = host.find(b".", start)
            while dot >= 0:
                by_suffix = self._by_suffix.get(host[dot:])
                if by_suffix is not None:
                    tables.append(by_suffix)
                dot = host.find(b".", dot + 1)
        if self._any is not None:
            tables.append(self._any)
        return tables
