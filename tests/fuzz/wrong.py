"""A target that is not true, for the test of how that is found and told."""

from __future__ import annotations


def head(data: bytes) -> None:
    """No request has a query."""
    assert b"?" not in data


TARGETS = {"head": head}
