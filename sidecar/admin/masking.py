"""Settings as others may see them: without what is secret in them.

Masked are: a value whose key, or the `name` beside it, sounds like a secret; every
value that a route writes into a header field, whatever its name; in a URL user,
password and query; and of a webhook's URL the path, which often is a password.
"""

from __future__ import annotations

from typing import Any

from sidecar.settings.secret_source import without_path
from sidecar.wire.secret_names import MASK, is_secret, without_secrets_of_urls

__all__ = ["MASK", "masked"]

_EDITS = frozenset(("set", "add"))


def masked(value: Any, key: str = "") -> Any:
    """Return a copy of plain data with its secrets masked."""
    if isinstance(value, dict):
        return {name: _inner(value, name, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    return MASK if is_secret(key) else without_secrets_of_urls(value)


def _inner(around: dict[Any, Any], name: Any, inner: Any) -> Any:
    if name in _EDITS:
        return _values_masked(inner)
    if name == "webhook" and isinstance(inner, dict) and inner.get("url"):
        inner = {**inner, "url": without_path(str(inner["url"]))}
    named = str(around.get("name", "")) if name == "value" else str(name)
    return masked(inner, named)


def _values_masked(edits: Any) -> Any:
    """Return edits of header fields: names alone tell what a route does."""
    if isinstance(edits, dict):
        is_named = "name" in edits and "value" in edits
        return {
            name: value if is_named and name == "name" else _all_masked(value)
            for name, value in edits.items()
        }
    if isinstance(edits, list | tuple):
        return [_values_masked(inner) for inner in edits]
    return _all_masked(edits)


def _all_masked(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_all_masked(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _all_masked(inner) for name, inner in value.items()}
    return MASK if isinstance(value, str) else value
