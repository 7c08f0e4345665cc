"""Secrets do not leave by /config."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.admin.masking import MASK, masked


@pytest.mark.parametrize(
    "key",
    ["Authorization", "cookie", "x-api-key", "password", "client_secret", "token",
     "key_file", "X-Signing-Key", "access_key"],
)  # fmt: skip
def test_what_sounds_like_a_secret_is_masked(key: str) -> None:
    assert masked({"set": {key: "s3cret"}}) == {"set": {key: MASK}}
    assert masked({"set": {key: ["s3cret", "t"]}}) == {"set": {key: [MASK, MASK]}}


def test_the_name_beside_a_value_tells_too() -> None:
    match = {"name": "Authorization", "value": "Bearer s3cret"}
    assert masked([match]) == [{"name": "Authorization", "value": MASK}]


def test_users_in_addresses_are_masked() -> None:
    endpoint = "http://user:s3cret@collector:4317/v1"
    assert masked(endpoint) == f"http://{MASK}@collector:4317/v1"


def test_the_rest_stays_as_it_is() -> None:
    plain = {"name": "all", "max_retries": 2, "hosts": ["a.test"], "retry": None}
    assert masked(plain) == plain


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_below_a_secret_key_no_text_is_left(value: object) -> None:
    assert texts_of(masked(value, "password")) <= {MASK}


def texts_of(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, list):
        return {text for inner in value for text in texts_of(inner)}
    return set()  # Keys of an object name their own values.
