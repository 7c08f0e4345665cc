"""What a route changes in the target, and that the rest stays as it came."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.route.rewrite import target
from sidecar.settings.snapshot import Rewrite
from tests.route.samples import request


@pytest.mark.parametrize(
    ("path", "prefix", "replacement", "sent"),
    [
        ("/foo/bar", "/foo", b"/xyz", b"/xyz/bar"),
        ("/foo/bar", "/foo", b"/xyz/", b"/xyz/bar"),
        ("/foo", "/foo", b"/xyz", b"/xyz"),
        ("/foo/", "/foo", b"/xyz", b"/xyz/"),
        ("/foo/bar", "/foo", b"/", b"/bar"),
        ("/foo/", "/foo", b"/", b"/"),
        ("/foo", "/foo", b"/", b"/"),
        ("/bar", "", b"/xyz", b"/xyz/bar"),
        ("/", "", b"/xyz", b"/xyz/"),
    ],
)
def test_a_prefix_is_replaced_as_the_gateway_api_has_it(
    path: str, prefix: str, replacement: bytes, sent: bytes
) -> None:
    assert target(request(path), Rewrite(prefix=replacement), len(prefix)) == sent


def test_the_query_stays_whatever_is_replaced() -> None:
    head = request("/foo/bar?a=%20&b")
    assert target(head, Rewrite(prefix=b"/x"), 4) == b"/x/bar?a=%20&b"
    assert target(head, Rewrite(full_path=b"/y"), 4) == b"/y?a=%20&b"
    assert target(request("/foo?"), Rewrite(full_path=b"/y"), 4) == b"/y?"


def test_the_absolute_form_becomes_the_origin_form() -> None:
    assert target(request("http://b/c?d"), Rewrite(), 0) == b"/c?d"
    assert target(request("http://b"), Rewrite(), 0) == b"/"


@pytest.mark.parametrize("rewrite", [Rewrite(), Rewrite(prefix=b"/x")])
def test_a_request_about_the_server_has_no_path_to_change(rewrite: Rewrite) -> None:
    assert target(request("*", method="OPTIONS"), rewrite, 0) == b"*"


@given(st.text("/a%2F.?=&~", max_size=20))
def test_without_a_rewrite_every_byte_stays(rest: str) -> None:
    raw = f"/{rest}"
    assert target(request(raw), Rewrite(), 0) == raw.encode()
