"""The Gateway API's precedence, step by step, and what a look-up returns."""

from __future__ import annotations

import pytest

from sidecar.route.table import RouteTable
from sidecar.settings.snapshot import FieldMatch
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


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/a", "exact"),
        ("/a/", "prefix"),
        ("/a/b", "prefix"),
        ("/a/b/c", "longer"),
        ("/a/b/c/d?x=/a", "longer"),
        ("/ab", "all"),
        ("/a%2Fb", "all"),
        ("/A/b", "all"),
        ("/a/7", "pattern"),
        ("/x/a/7", "all"),
        ("/a/7/x", "prefix"),
        ("//a/7", "all"),
        ("/", "all"),
    ],
)
def test_a_path_is_compared_raw_and_by_whole_elements(target: str, name: str) -> None:
    """Exact, then a pattern for all of the path, then the longest prefix."""
    routes = [
        route("all", prefix("/")),
        route("prefix", prefix("/a/")),
        route("longer", prefix("/a/b/c")),
        route("pattern", pattern("/a/[0-9]+")),
        route("exact", exact("/a")),
    ]
    assert winner(routes, target) == name


def test_the_longest_of_several_patterns_wins() -> None:
    routes = [route("short", pattern("/.*")), route("long", pattern("/a/.+"))]
    assert winner(routes, "/a/b") == "long"
    assert winner(routes, "/b") == "short"


def test_conditions_decide_between_patterns_of_one_length() -> None:
    routes = [route("a", pattern("/.*")), route("b", pattern("/.+", method="GET"))]
    assert winner(routes, "/x") == "b"


def test_the_catch_all_takes_a_request_about_the_server_itself() -> None:
    routes = [route("all"), route("a", prefix("/a"))]
    assert winner(routes, "*", method="OPTIONS") == "all"
    assert winner(routes[1:], "*", method="OPTIONS") is None


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.b.c", "exact"),
        ("A.B.C:80", "exact"),
        ("x.b.c", "long"),
        ("x.y.b.c", "long"),
        ("b.c", "short"),
        ("x.y.c", "short"),
        ("c", "any"),
        (".c", "any"),
        ("xb.c.d", "any"),
    ],
)
def test_the_more_special_host_wins(host: str, name: str) -> None:
    """Exact, then the longest suffix with a label before it, then any."""
    routes = [
        route("any"),
        route("short", hosts=("*.c",)),
        route("long", hosts=("*.b.c",)),
        route("exact", hosts=("a.b.c",)),
    ]
    assert winner(routes, "/", host=host) == name


def test_a_host_whose_paths_do_not_match_gives_way() -> None:
    routes = [
        route("any"),
        route("suffix", prefix("/s"), hosts=("*.example",)),
        route("exact", prefix("/only"), hosts=("a.example",)),
    ]
    assert winner(routes, "/only") == "exact"
    assert winner(routes, "/s") == "suffix"
    assert winner(routes, "/other") == "any"


def test_a_host_comes_before_a_path() -> None:
    routes = [route("path", exact("/a")), route("host", hosts=("a.example",))]
    assert winner(routes, "/a") == "host"


def test_a_priority_comes_before_host_and_path() -> None:
    routes = [
        route("special", exact("/a"), hosts=("a.example",)),
        route("deep", prefix("/a/b", method="GET")),
        route("wide", priority=1),
        route("header", prefix("/", headers=asks(x="1")), priority=2),
    ]
    assert winner(routes, "/a") == "wide"
    assert winner(routes, "/a/b/c") == "wide"
    assert winner(routes, "/a", "x: 1") == "header"


def test_a_short_prefix_of_priority_is_found_beyond_one_that_cannot_win() -> None:
    routes = [
        route("exact", exact("/a/b")),
        route("low", prefix("/a"), priority=-1),
        route("high", priority=1),
    ]
    assert winner(routes, "/a/b") == "high"


def test_a_priority_that_does_not_match_helps_no_other_prefix() -> None:
    routes = [
        route("exact", exact("/a")),
        route("prefix", prefix("/a")),
        route("elsewhere", prefix("/b"), priority=1),
    ]
    assert winner(routes, "/a") == "exact"


@pytest.mark.parametrize(
    ("target", "fields", "method", "name"),
    [
        ("/?q=1", ["x: 1", "y: 1"], "POST", "method"),
        ("/?q=1", ["x: 1", "y: 1"], "GET", "two"),
        ("/?q=1", ["X: 1"], "GET", "one"),
        ("/?z=9&q=1", [], "GET", "query"),
        ("/?q=2&q=1", [], "GET", "plain"),
        ("/?Q=1", [], "GET", "plain"),
        ("/?q", [], "GET", "plain"),
        ("/?%71=%31", [], "GET", "query"),
        ("/", ["v: v12"], "GET", "regex"),
        ("/", ["v: av12"], "GET", "plain"),
        ("/", ["x: 2"], "GET", "plain"),
    ],
)
def test_conditions_below_a_path(
    target: str, fields: list[str], method: str, name: str
) -> None:
    """A method, then most headers, then most query parameters; names have case."""
    routes = [
        route("plain"),
        route("query", prefix(query=asks(q="1"))),
        route("one", prefix(headers=asks(x="1"))),
        route("two", prefix(headers=asks(x="1", y="1"))),
        route("method", prefix(method="POST")),
        route("regex", prefix(headers=asks_like(v="v[0-9]+"))),
    ]
    assert winner(routes, target, *fields, method=method) == name


def test_the_file_decides_between_equals_that_ask_for_different_fields() -> None:
    """What stands in one dict must not jump the queue of another."""
    routes = [
        route("first", prefix(headers=asks(x="0"))),
        route("second", prefix(headers=asks(y="1"))),
        route("third", prefix(headers=asks(x="1"))),
        route("fourth", prefix(headers=asks(y="1"))),
    ]
    assert winner(routes, "/", "x: 1", "y: 1") == "second"


def test_the_first_of_equals_in_the_file_wins() -> None:
    assert winner([route("one"), route("two")], "/") == "one"


def test_only_the_first_condition_on_a_name_counts() -> None:
    """As the Gateway API has it, for conditions and for their number."""
    twice = (FieldMatch("x", "1"), FieldMatch("x", "2"))
    routes = [
        route("one", prefix(headers=asks(x="1"))),
        route("twice", prefix(headers=twice)),
    ]
    assert winner(routes, "/", "x: 1") == "one"
    assert winner(routes[1:], "/", "x: 1") == "twice"
    assert winner(routes[1:], "/", "x: 2") is None


def test_text_beyond_ascii_is_compared_as_utf_8() -> None:
    routes = [
        route("value", prefix(headers=asks(x="日本"))),
        route("parameter", prefix(query=asks(q="日本"))),
        route("like", prefix(headers=asks_like(x="ü+"))),
    ]
    assert winner(routes, "/", "x: 日本") == "value"
    assert winner(routes, "/?q=%E6%97%A5%E6%9C%AC") == "parameter"
    assert winner(routes, "/", "x: üü") == "like"


def test_a_plus_in_a_query_is_a_space() -> None:
    routes = [route("r", prefix(query=(FieldMatch("a b", "c d"),)))]
    assert winner(routes, "/?a+b=c+d") == "r"
    assert winner(routes, "/?a%20b=c%20d") == "r"


def test_every_match_and_host_of_a_route_leads_to_it() -> None:
    both = route("both", prefix("/a"), exact("/b"), hosts=("x.y", "*.z"))
    for host in ("x.y", "q.z"):
        assert winner([both], "/a/1", host=host) == "both"
        assert winner([both], "/b", host=host) == "both"
        assert winner([both], "/b/1", host=host) is None


@pytest.mark.parametrize(
    ("target", "template", "prefix_bytes", "index"),
    [
        ("/orders/17", "/orders/*", 7, 1),
        ("/orders", "/orders/*", 7, 1),
        ("/exact", "/exact", 0, 2),
        ("/n/42", "/n/[0-9]+", 0, 3),
        ("/else", "/*", 0, 0),
    ],
)
def test_what_is_found_tells_template_prefix_and_index(
    target: str, template: str, prefix_bytes: int, index: int
) -> None:
    routes = [
        route("all"),
        route("orders", prefix("/orders/")),
        route("exact", exact("/exact")),
        route("pattern", pattern("/n/[0-9]+")),
    ]
    found = RouteTable(routes).find(request(target))
    assert found is not None
    assert (found.template, found.prefix_bytes) == (template, prefix_bytes)
    assert found.index == index
    assert found.match in routes[index].matches


def test_an_empty_table_finds_nothing_and_says_how_empty_it_is() -> None:
    assert winner([], "/") is None
    assert repr(RouteTable([])) == "<RouteTable: 0 routes, 0 hosts>"
    one_host = [route("r", hosts=("a",)), route("s")]
    assert repr(RouteTable(one_host)) == "<RouteTable: 2 routes, 1 hosts>"
