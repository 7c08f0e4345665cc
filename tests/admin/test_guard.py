"""The admin API keeps web pages out: by Host, and by Origin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.admin.guard import is_own_name, is_same_place


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:15000",
        "[::1]:15000",
        "localhost",
        "localhost:1",
        "10.0.0.7",
    ],
)
def test_addresses_and_localhost_are_own_names(host: str) -> None:
    assert is_own_name(host)


@pytest.mark.parametrize(
    "host",
    ["", "evil.test", "evil.test:15000", "127.0.0.1.evil.test", "localhost.evil.test",
     "[::1", "127.0.0.1@evil.test", "1", "127.1"],
)  # fmt: skip
def test_any_other_name_is_foreign(host: str) -> None:
    assert not is_own_name(host)


@given(st.text())
def test_no_host_makes_it_raise(host: str) -> None:
    assert is_own_name(host) in (True, False)


def test_a_page_may_change_what_served_it_and_nothing_else() -> None:
    assert is_same_place("http://127.0.0.1:15000", "127.0.0.1:15000")
    assert not is_same_place("http://127.0.0.1:8080", "127.0.0.1:15000")
    assert not is_same_place("https://127.0.0.1:15000", "127.0.0.1:15000")
    assert not is_same_place("null", "127.0.0.1:15000")
