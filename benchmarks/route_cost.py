"""Route look-up among 10 routes and among 10,000: it must not grow.

Both tables are asked for the same ten paths, in turns, so that the ratio of the
two holds whatever else the machine does.
"""

from __future__ import annotations

import timeit
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.peers import sidecar_config
from benchmarks.report import Figure
from sidecar.route.table import RouteTable
from sidecar.settings.load import load_text
from sidecar.settings.snapshot import Match, PathMatch, Route
from sidecar.wire.head import parse_request

if TYPE_CHECKING:
    from sidecar.model import RequestHead

GROWTH_LIMIT = 1.2

_FEW, _MANY = 10, 10_000
_LOOPS = 1_000
_REPEATS = 25


def run() -> list[Figure]:
    """Return the cost of a look-up in both tables, and their ratio."""
    few, many = (_timer(count) for count in (_FEW, _MANY))
    pairs = [(few.timeit(_LOOPS), many.timeit(_LOOPS)) for _ in range(_REPEATS)]
    few_us, many_us = (
        median(column) / _LOOPS / _FEW * 1e6 for column in zip(*pairs, strict=True)
    )
    growth = median(slow / fast for fast, slow in pairs)
    return [
        Figure("route look-up, 10,000 against 10", growth, "times", GROWTH_LIMIT),
        Figure(f"route look-up among {_FEW}", few_us, "µs"),
        Figure(f"route look-up among {_MANY:,}", many_us, "µs"),
    ]


def _timer(count: int) -> timeit.Timer:
    """Return what looks the same ten paths up among `count` routes."""
    table = RouteTable(_routes(count))
    heads = [_head(n) for n in range(_FEW)]
    assert all(table.find(head) for head in heads)  # noqa: S101 - else it is no look-up
    names = {"find": table.find, "heads": heads}
    timer = timeit.Timer("for head in heads: find(head)", globals=names)
    timer.timeit(_LOOPS)
    return timer


def _routes(count: int) -> list[Route]:
    route = _bench_route()
    return [
        replace(
            route,
            name=f"route-{n}",
            matches=(Match(PathMatch("PathPrefix", f"/service-{n}")),),
        )
        for n in range(count)
    ]


def _bench_route() -> Route:
    """Return the route of the file that the sidecar is measured with."""
    names = ("port", "origin_port", "admin_port", "health_port")
    ports = {name: 20_001 + n for n, name in enumerate(names)}
    return load_text(sidecar_config(ports), "sidecar.yaml").snapshot.routes[0]


def _head(n: int) -> RequestHead:
    path = b"/service-%d/orders/17" % n
    return parse_request(b"GET %b HTTP/1.1\r\nHost: bench.local\r\n\r\n" % path)
