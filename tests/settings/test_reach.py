"""Routes that no request reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.route.table import RouteTable
from sidecar.settings.load import from_upstream
from sidecar.settings.reach import find_unreachable
from sidecar.wire.head import parse_request

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Route


def routes_of(*routes: dict[str, Any]) -> tuple[Route, ...]:
    named = [
        {"name": f"r{index}", "upstream": "app", **route}
        for index, route in enumerate(routes)
    ]
    return from_upstream("127.0.0.1:8080", routes=named).snapshot.routes


def unreachable(*routes: dict[str, Any]) -> list[tuple[int, int]]:
    return list(find_unreachable(routes_of(*routes)))


def at(path: str, kind: str = "PathPrefix", **more: Any) -> dict[str, Any]:
    return {"path": {"type": kind, "value": path}, **more}


def test_the_second_of_two_equals_is_lost() -> None:
    assert unreachable({"matches": [at("/a")]}, {"matches": [at("/a/")]}) == [(1, 0)]


def test_what_is_more_specific_wins_wherever_it_stands() -> None:
    assert unreachable({}, {"matches": [at("/a", method="GET")]}) == []


def test_a_higher_priority_that_asks_for_less_takes_all() -> None:
    first = {"priority": 1, "matches": [at("/a")]}
    assert unreachable(first, {"matches": [at("/a/b", "Exact", method="GET")]}) == [
        (1, 0)
    ]


def test_a_higher_priority_that_asks_for_more_leaves_some() -> None:
    first = {"priority": 1, "matches": [at("/a", method="GET")]}
    assert unreachable({"matches": [at("/a")]}, first) == []


def test_a_prefix_ends_at_an_element() -> None:
    first = {"priority": 1, "matches": [at("/a")]}
    assert unreachable(first, {"matches": [at("/ab")]}) == []


def test_a_wider_host_of_higher_priority_takes_all() -> None:
    first = {"priority": 1, "hosts": ["*.test"]}
    assert unreachable(first, {"hosts": ["a.b.test"]}) == [(1, 0)]
    assert unreachable(first, {"hosts": ["a.b.test", "c.other"]}) == []


def test_one_match_that_is_left_keeps_a_route() -> None:
    second = {"matches": [at("/a"), at("/b")]}
    assert unreachable({"matches": [at("/a")]}, second) == []


def test_each_listener_is_its_own() -> None:
    assert unreachable({"listener": "outbound"}, {"listener": "inbound"}) == []


_PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/a/b/c"]
_HOSTS = ["a.test", "b.a.test", "*.test", "*.a.test", "*"]
_MATCHES = st.builds(
    lambda path, kind, method, headers: {
        "path": {"type": kind, "value": path},
        "headers": [{"name": name, "value": "1"} for name in headers],
        **({"method": method} if method else {}),
    },
    st.sampled_from(_PATHS),
    st.sampled_from(["Exact", "PathPrefix"]),
    st.sampled_from(["", "GET", "POST"]),
    st.sets(st.sampled_from(["x-a", "x-b"])),
)
_ROUTES = st.fixed_dictionaries(
    {
        "matches": st.lists(_MATCHES, min_size=1, max_size=2),
        "hosts": st.lists(st.sampled_from(_HOSTS), max_size=2, unique=True),
        "priority": st.integers(0, 2),
    }
)
_REQUESTS = [
    f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n".encode()
    for method in ("GET", "POST")
    for path in (*_PATHS, "/z")
    for host in ("a.test", "b.a.test", "z.test", "other")
    for fields in ("", "x-a: 1\r\n", "x-b: 1\r\n", "x-a: 1\r\nx-b: 1\r\n")
]
_HEADS = [parse_request(raw) for raw in _REQUESTS]


@given(st.lists(_ROUTES, min_size=1, max_size=4))
def test_what_is_said_to_be_lost_is_never_found(routes: list[dict[str, Any]]) -> None:
    """The table is asked for every combination that the conditions can tell apart."""
    compiled = routes_of(*routes)
    table = RouteTable(compiled)
    found = {hit.route.name for head in _HEADS if (hit := table.find(head))}
    lost = {compiled[index].name for index, _ in find_unreachable(compiled)}
    assert not found & lost
