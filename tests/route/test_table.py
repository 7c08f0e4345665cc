"""The Gateway API's precedence, and a cost that does not grow."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.route.table import RouteTable
from sidecar.settings.load import load_text
from sidecar.wire.head import parse_request


def table_of(*routes: dict[str, Any]) -> RouteTable:
    import yaml  # noqa: PLC0415 - only here

    data = {
        "upstreams": {"app": {"endpoints": ["127.0.0.1:1"]}},
        "routes": [{"upstream": "app", **route} for route in routes],
    }
    return RouteTable(load_text(yaml.safe_dump(data)).snapshot.routes)


def find(
    table: RouteTable, target: str, *fields: str, host: str = "a", method: str = "GET"
) -> str | None:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    found = table.find(parse_request("\r\n".join(lines).encode()))
    return None if found is None else found.route.name


def path(value: str, kind: str = "PathPrefix", **more: Any) -> list[dict[str, Any]]:
    return [{"path": {"type": kind, "value": value}, **more}]


def header(name: str, value: str, kind: str = "Exact") -> dict[str, str]:
    return {"name": name, "value": value, "type": kind}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/a", "exact"),
        ("/a/", "prefix"),
        ("/a/b", "prefix"),
        ("/a/b/c", "longer"),
        ("/ab", "all"),
        ("/a/7", "pattern"),
        ("/", "all"),
    ],
)
def test_paths(target: str, name: str) -> None:
    table = table_of(
        {"name": "all", "matches": path("/")},
        {"name": "prefix", "matches": path("/a/")},
        {"name": "longer", "matches": path("/a/b/c")},
        {"name": "pattern", "matches": path("/a/[0-9]+", "RegularExpression")},
        {"name": "exact", "matches": path("/a", "Exact")},
    )
    assert find(table, target) == name


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.b.c", "exact"),
        ("A.B.C:80", "exact"),
        ("x.b.c", "long"),
        ("x.y.c", "short"),
        ("c", "any"),
        (".c", "any"),
    ],
)
def test_hosts(host: str, name: str) -> None:
    table = table_of(
        {"name": "any"},
        {"name": "short", "hosts": ["*.c"]},
        {"name": "long", "hosts": ["*.b.c"]},
        {"name": "exact", "hosts": ["a.b.c"]},
    )
    assert find(table, "/", host=host) == name


def test_a_host_whose_paths_do_not_match_gives_way() -> None:
    table = table_of(
        {"name": "any"}, {"name": "exact", "hosts": ["a"], "matches": path("/only")}
    )
    assert find(table, "/other") == "any"


@pytest.mark.parametrize(
    ("target", "fields", "method", "name"),
    [
        ("/?q=1", ["x: 1", "y: 1"], "POST", "method"),
        ("/?q=1", ["x: 1", "y: 1"], "GET", "two"),
        ("/?q=1", ["x: 1"], "GET", "one"),
        ("/?z=9&q=1", [], "GET", "query"),
        ("/?q=2", [], "GET", "plain"),
        ("/", ["v: v12"], "GET", "regex"),
    ],
)
def test_conditions(target: str, fields: list[str], method: str, name: str) -> None:
    table = table_of(
        {"name": "plain"},
        {"name": "query", "matches": path("/", query=[header("q", "1")])},
        {"name": "one", "matches": path("/", headers=[header("X", "1")])},
        {
            "name": "two",
            "matches": path("/", headers=[header("x", "1"), header("y", "1")]),
        },
        {"name": "method", "matches": path("/", method="POST")},
        {
            "name": "regex",
            "matches": path("/", headers=[header("v", "v[0-9]+", "RegularExpression")]),
        },
    )
    assert find(table, target, *fields, method=method) == name


def test_priority_comes_before_all() -> None:
    table = table_of(
        {"name": "exact", "matches": path("/a", "Exact")},
        {"name": "first", "priority": 1},
    )
    assert find(table, "/a") == "first"


def test_the_first_in_the_file_wins_a_tie() -> None:
    assert find(table_of({"name": "one"}, {"name": "two"}), "/") == "one"


class CountingDict(dict[Any, Any]):
    """Counts its look-ups."""

    count = 0

    def get(self, key: Any, default: Any = None) -> Any:
        CountingDict.count += 1
        return super().get(key, default)


def test_ten_thousand_routes_take_as_many_steps_as_ten() -> None:
    steps = []
    for size in (10, 10_000):
        table = table_of(
            *({"name": f"r{n}", "matches": path(f"/s{n}/x")} for n in range(size))
        )
        paths = table._levels[0]._any
        assert paths is not None
        paths._exact = CountingDict(paths._exact)
        paths._prefixes = CountingDict(paths._prefixes)
        CountingDict.count = 0
        assert find(table, "/s7/x/y/z") == "r7"
        steps.append(CountingDict.count)
    assert steps[0] == steps[1]
