"""What a look-up costs is counted in Python calls and in dict look-ups.

Neither depends on the machine or on what else it does.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.route import conditions
from sidecar.route.paths import Patterns
from sidecar.route.table import RouteTable
from tests.route.samples import (
    asks,
    asks_like,
    exact,
    pattern,
    prefix,
    request,
    route,
    winner,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import Route

FEW, MANY = 10, 10_000


def steps(table: RouteTable, head: RequestHead) -> int:
    """Return how many lines and calls a look-up takes."""
    count = 0

    def trace(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        found = table.find(head)
    finally:
        sys.settrace(before)
    assert found is not None
    return count


MAKERS: dict[str, Callable[[int], Route]] = {
    "prefixes": lambda n: route(f"r{n}", prefix(f"/s{n:04}")),
    "exact paths": lambda n: route(f"r{n}", exact(f"/s{n:04}/x/y/z")),
    "hosts": lambda n: route(f"r{n}", hosts=(f"h{n}.example",)),
    "suffixes": lambda n: route(f"r{n}", hosts=(f"*.h{n}.example",)),
    "headers": lambda n: route(f"r{n}", prefix(headers=asks(tenant=f"t{n}"))),
    "parameters": lambda n: route(f"r{n}", prefix(query=asks(tenant=f"t{n}"))),
    "priorities": lambda n: route(f"r{n}", prefix(f"/s{n:04}"), priority=n),
    "one path": lambda n: route(f"r{n}"),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_ten_thousand_routes_take_as_many_steps_as_ten(kind: str) -> None:
    """The last of the ten is asked for, so that order in the file cannot help."""
    host = {"hosts": "h9.example", "suffixes": "x.h9.example"}.get(kind, "a.example")
    head = request("/s0009/x/y/z?tenant=t9", "tenant: t9", host=host)
    few, many = (
        RouteTable([MAKERS[kind](n) for n in range(size)]) for size in (FEW, MANY)
    )
    assert steps(few, head) == steps(many, head)


def test_ten_thousand_patterns_are_one_match() -> None:
    """RE2 refuses so many with the memory that it takes by itself."""
    few, many = (
        RouteTable([route(f"r{n}", pattern(f"/s{n}/[0-9]+/.*")) for n in range(size)])
        for size in (FEW, MANY)
    )
    head = request("/s9/1/x")
    assert steps(few, head) == steps(many, head)
    found = many.find(request("/s7316/1/x"))
    assert found is not None
    assert found.route.name == "r7316"


def test_patterns_that_need_too_much_memory_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never a table that finds nothing and does not say so."""
    monkeypatch.setattr("sidecar.route.paths._SET_BYTES", 4096)
    monkeypatch.setattr("sidecar.route.paths._SET_MAX_BYTES", 8192)
    routes = [route(f"r{n}", pattern(f"/.*/z{n}/.{{1,99}}")) for n in range(50)]
    with pytest.raises(ValueError, match="50 path patterns need more than"):
        RouteTable(routes)


class CountingDict(dict[bytes, Any]):
    """Counts its look-ups."""

    def __init__(self, given: dict[bytes, Any]) -> None:
        super().__init__(given)
        self.count = 0

    def get(self, key: bytes, default: Any = None) -> Any:
        self.count += 1
        return super().get(key, default)


def test_a_path_of_slashes_is_walked_no_further_than_the_longest_prefix() -> None:
    table = RouteTable([route("r", prefix("/a/b/c")), route("all")])
    assert table._any is not None
    prefixes = table._any._prefixes
    assert prefixes is not None
    prefixes._by_stem = by_stem = CountingDict(prefixes._by_stem)
    found = table.find(request("/" * 8000))
    assert found is not None
    assert found.route.name == "all"
    assert by_stem.count <= len("/a/b/c") + 1


def test_a_host_of_dots_is_walked_no_further_than_the_longest_suffix() -> None:
    table = RouteTable([route("r", hosts=("*.a.b",)), route("all")])
    table._by_suffix = by_suffix = CountingDict(table._by_suffix)
    assert table.find(request("/", host="x" + "." * 8000)) is not None
    assert by_suffix.count <= len(".a.b")


def test_conditions_that_always_hold_hide_those_that_come_later() -> None:
    """What can never be reached takes neither memory nor time."""
    plain = route("plain")
    found = RouteTable([plain, plain, plain])._any
    assert found is not None
    assert found._prefixes is not None
    kept = found._prefixes._by_stem[b""].conditions
    assert isinstance(kept, conditions.Conditions)
    assert kept.only is not None
    assert kept.only.index == 0


def test_patterns_of_fields_are_asked_only_where_the_exact_values_agree() -> None:
    routes = [
        route(f"r{n}", prefix(headers=asks(t=f"t{n}") + asks_like(v=f"v{n}.*")))
        for n in range(20)
    ]
    assert winner(routes, "/", "t: t7", "v: v7x") == "r7"
    assert winner(routes, "/", "t: t7", "v: v8x") is None


def test_patterns_are_not_asked_when_nothing_of_them_could_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An exact path comes before all patterns: RE2 is left alone."""
    table = RouteTable([route("p", pattern("/.*")), route("e", exact("/e"))])

    def fail(*_: object) -> None:
        msg = "the patterns were asked"
        raise AssertionError(msg)

    monkeypatch.setattr(Patterns, "find", fail)
    found = table.find(request("/e"))
    assert found is not None
    assert found.route.name == "e"
