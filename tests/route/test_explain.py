"""What people are told is what the table does."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.route.explain import explain
from sidecar.route.table import RouteTable
from sidecar.settings.snapshot import FieldMatch, Match, PathMatch, Route
from sidecar.wire.head import parse_request
from tests.route.test_table import path, table_of

paths = st.one_of(
    st.builds(PathMatch, st.just("Exact"), st.sampled_from(["/a", "/a/b", "/"])),
    st.builds(PathMatch, st.just("PathPrefix"), st.sampled_from(["/", "/a", "/a/b"])),
    st.builds(
        PathMatch, st.just("RegularExpression"), st.sampled_from(["/a.*", "/.+b"])
    ),
)
conditions = st.sampled_from(
    [(), (FieldMatch("x", "1"),), (FieldMatch("y", "[0-9]", is_regex=True),)]
)
matches = st.builds(
    Match, paths, st.sampled_from([None, "GET", "POST"]), conditions, conditions
)
hosts = st.sampled_from([(), ("a.b",), ("*.b",), ("*",)])


def route_like(template: Route, number: int, drawn: tuple[Any, ...]) -> Route:
    """Return a route with drawn conditions and everything else as `template`."""
    from dataclasses import replace  # noqa: PLC0415 - only here

    names, match, priority = drawn
    return replace(
        template, name=f"r{number}", hosts=names, matches=match, priority=priority
    )


TEMPLATE = table_of({"name": "t", "matches": path("/")})._levels[0]._any


@given(
    drawn=st.lists(
        st.tuples(
            hosts,
            st.lists(matches, min_size=1, max_size=2).map(tuple),
            st.integers(0, 1),
        ),
        max_size=8,
    ),
    target=st.sampled_from(["/", "/a", "/a/b", "/ab", "/a?x=1", "/a/b?y=7&x=2"]),
    host=st.sampled_from(["a.b", "c.b", "z"]),
    header=st.sampled_from(["", "x: 1\r\n", "y: 7\r\nx: 1\r\n"]),
)
def test_the_table_and_the_linear_reading_agree(
    drawn: list[tuple[Any, ...]], target: str, host: str, header: str
) -> None:
    assert TEMPLATE is not None
    template = TEMPLATE._prefixes[b""]._only
    assert template is not None
    routes = [route_like(template.route, n, one) for n, one in enumerate(drawn)]
    raw = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n"
    head = parse_request(raw.encode())
    found = RouteTable(routes).find(head)
    verdicts = explain(routes, head)
    assert len(verdicts) == len(routes)
    winner = verdicts[0] if verdicts and not verdicts[0].stage else None
    assert (found.route.name if found else None) == (
        winner.route.name if winner else None
    )
