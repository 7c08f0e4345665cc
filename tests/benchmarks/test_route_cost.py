"""The route benchmark looks up what it says it does."""

from __future__ import annotations

from benchmarks.route_cost import _head, _routes
from sidecar.route.table import RouteTable


def test_each_request_finds_the_route_of_its_number() -> None:
    table = RouteTable(_routes(20))
    names = []
    for n in range(20):
        found = table.find(_head(n))
        assert found is not None
        names.append(found.route.name)
    assert names == [f"route-{n}" for n in range(20)]
