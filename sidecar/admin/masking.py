"""Settings as others may see them: without what is secret in them.

A value is masked when its key, or the `name` beside it, sounds like a secret;
user and password in a URL always are.
"""

from __future__ import annotations

import re
from typing import Any

MASK = "(hidden)"

_SECRET = re.compile(
    r"auth|cookie|credential|passw|private|secret|session|signature|token"
    r"|api[-_]?key|access[-_]?key|key[-_]?file|^x-.*key$",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=://)[^/?#\s]*@")


def masked(value: Any, key: str = "") -> Any:
    """Return a copy of plain data with its secrets masked."""
    if isinstance(value, dict):
        named = str(value.get("name", ""))
        return {
            name: masked(inner, named if name == "value" else str(name))
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    if _SECRET.search(key):
        return MASK
    return _USERINFO.sub(f"{MASK}@", value)
