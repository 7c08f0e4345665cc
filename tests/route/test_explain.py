"""What people are told is what the table does, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.route.explain import Stage, explain
from sidecar.route.table import RouteTable
from sidecar.settings.snapshot import FieldMatch, Match, PathMatch
from tests.route.samples import asks, asks_like, exact, pattern, prefix, request, route

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Route

PATHS = st.one_of(
    st.builds(PathMatch, st.just("Exact"), st.sampled_from(["/a", "/a/b", "/"])),
    st.builds(
        PathMatch,
        st.just("PathPrefix"),
        st.sampled_from(["/", "/a", "/a/", "/a/b", "/b", "//"]),
    ),
    st.builds(
        PathMatch,
        st.just("RegularExpression"),
        st.sampled_from(["/a.*", "/.+b", "/[ab].*", ".*"]),
    ),
)
FIELDS = st.lists(
    st.builds(
        FieldMatch,
        st.sampled_from(["x", "y", "z"]),
        st.sampled_from(["1", "2", "[0-9]"]),
        st.booleans(),
    ),
    max_size=3,
).map(tuple)
MATCHES = st.builds(Match, PATHS, st.sampled_from([None, "GET", "PUT"]), FIELDS, FIELDS)
HOSTS = st.lists(
    st.sampled_from(["a.b", "*.b", "*.a.b", "*", "c"]), max_size=2, unique=True
).map(tuple)
ROUTES = st.lists(
    st.builds(
        lambda hosts, matches, priority: route(
            "r", *matches, hosts=hosts, priority=priority
        ),
        HOSTS,
        st.lists(MATCHES, min_size=1, max_size=3),
        st.integers(-1, 1),
    ),
    max_size=8,
)
QUERIES = st.sampled_from(["", "?x=1", "?y=1&x=2", "?z=1&y=2&x=1&x=2", "?%78=%31", "?"])
HEADERS = st.dictionaries(
    st.sampled_from(["x", "y", "z"]), st.sampled_from(["1", "2", "9", "n"]), max_size=3
)
REQUESTS = st.builds(
    lambda path, query, headers, host, method: request(
        path + query,
        *(f"{n}: {v}" for n, v in headers.items()),
        host=host,
        method=method,
    ),
    st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "//", "//a", "/b/a/b"]),
    QUERIES,
    HEADERS,
    st.sampled_from(["a.b", "x.b", "x.a.b", "b", "c", "A.B:80"]),
    st.sampled_from(["GET", "PUT"]),
)


@given(routes=ROUTES, head=REQUESTS)
@example(
    routes=[
        route("r", prefix(headers=asks(x="2"))),
        route("r", prefix(headers=asks(y="1"))),
        route("r", prefix(headers=asks(x="1"))),
    ],
    head=request("/", "x: 1", "y: 1"),
)
def test_the_table_and_the_linear_reading_agree(routes: list[Route], head: Any) -> None:
    """The same route by the same match; and every other has its reason."""
    found, explanation = RouteTable(routes).find(head), explain(routes, head)
    assert found == explanation.winner
    losers = [loser.way.index for loser in explanation.losers]
    others = set(range(len(routes))) - ({found.index} if found else set())
    assert sorted(losers) == sorted(others)
    assert all(loser.reasons for loser in explanation.losers)


@given(routes=ROUTES, head=REQUESTS)
def test_a_loser_would_win_alone_if_and_only_if_precedence_beat_it(
    routes: list[Route], head: Any
) -> None:
    for loser in explain(routes, head).losers:
        alone = RouteTable([loser.way.route]).find(head)
        assert (alone is not None) is (loser.stage is Stage.PRECEDENCE)


@given(routes=ROUTES, head=REQUESTS)
def test_the_nearest_come_first(routes: list[Route], head: Any) -> None:
    stages = [loser.stage for loser in explain(routes, head).losers]
    assert stages == sorted(stages, reverse=True)


@pytest.mark.parametrize(
    ("match", "hosts", "stage", "reasons"),
    [
        (prefix(), ("b.c",), Stage.HOST, ["the host 'a.example' is not b.c"]),
        (
            prefix(),
            ("b", "*.c"),
            Stage.HOST,
            ["the host 'a.example' is none of b, *.c"],
        ),
        (exact("/b"), (), Stage.PATH, ["the path is not exactly /b"]),
        (prefix("/b"), (), Stage.PATH, ["the path is not /b or below it"]),
        (
            prefix("/orde"),
            (),
            Stage.PATH,
            [
                "the path is not /orde or below it: "
                "a prefix ends where an element of the path ends"
            ],
        ),
        (
            pattern("/o[a-z]+"),
            (),
            Stage.PATH,
            ["the path as a whole does not match /o[a-z]+"],
        ),
        (prefix(method="PUT"), (), Stage.METHOD, ["the method is GET, not PUT"]),
        (
            prefix(headers=asks(x="2") + asks(y="1") + asks_like(v="[a-z]")),
            (),
            Stage.HEADER,
            [
                "the header x is not '2'",
                "the header y is missing",
                "the header v does not match [a-z]",
            ],
        ),
        (
            prefix(method="PUT", query=asks(q="2")),
            (),
            Stage.METHOD,
            ["the method is GET, not PUT", "the query parameter q is not '2'"],
        ),
    ],
)
def test_every_condition_that_fails_is_named(
    match: Match, hosts: tuple[str, ...], stage: Stage, reasons: list[str]
) -> None:
    head = request("/orders/1?q=1", "x: 1", "v: 1")
    (loser,) = explain([route("r", match, hosts=hosts)], head).losers
    assert loser.stage is stage
    assert list(loser.reasons) == reasons


@pytest.mark.parametrize(
    ("winner", "loser", "reason"),
    [
        (
            route("w", priority=3),
            route("r", exact("/a/b")),
            "w has priority 3, this one 0",
        ),
        (
            route("w", hosts=("*.example",)),
            route("r"),
            "w is for the host *.example, this one for any host",
        ),
        (
            route("w", hosts=("*.a.example",)),
            route("r", hosts=("*.example",)),
            "w is for the host *.a.example, this one for *.example",
        ),
        (
            route("w", exact("/a/b")),
            route("r", pattern("/a/.")),
            "the path of w is exact, that of this one a pattern",
        ),
        (
            route("w", prefix("/a/b")),
            route("r", prefix("/a")),
            "the path of w is longer: /a/b, against /a",
        ),
        (
            route("w", prefix(method="GET")),
            route("r", prefix(headers=asks(x="1"))),
            "w asks for the method, this one does not",
        ),
        (
            route("w", prefix(headers=asks(x="1", y="1"))),
            route("r", prefix(headers=asks(x="1"))),
            "w asks for more headers: 2, against 1",
        ),
        (
            route("w", prefix(query=asks(q="1"))),
            route("r"),
            "w asks for more query parameters: 1, against 0",
        ),
        (route("w"), route("r"), "w stands before it in the file"),
    ],
)
def test_a_way_that_holds_lost_for_the_first_difference(
    winner: Route, loser: Route, reason: str
) -> None:
    routes = [loser, winner] if "before" not in reason else [winner, loser]
    head = request("/a/b?q=1", "x: 1", "y: 1", host="x.a.example")
    explanation = explain(routes, head)
    assert explanation.winner is not None
    assert explanation.winner.route.name == "w"
    assert explanation.losers[0].reasons == (f"it matches too, but {reason}",)


def test_of_wrong_paths_the_one_that_shares_most_is_nearest() -> None:
    routes = [
        route("users", prefix("/users")),
        route("order", prefix("/order", method="PUT")),
        route("o", prefix("/o")),
    ]
    losers = explain(routes, request("/orders")).losers
    assert [loser.way.route.name for loser in losers] == ["order", "o", "users"]


def test_a_route_is_judged_by_the_match_that_came_nearest() -> None:
    both = route("r", exact("/far"), prefix("/a", method="PUT"))
    (loser,) = explain([both], request("/a")).losers
    assert loser.stage is Stage.METHOD
