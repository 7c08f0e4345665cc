"""Names that tell that what they stand for is nobody's business.

One list for all that shows settings or fields: `/config`, `sidecar explain` and the
messages of `sidecar check`.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "(hidden)"

_SECRET: Final = re.compile(
    r"auth|cookie|credential|passw|private|secret|session|signature|token"
    r"|api[-_]?key|access[-_]?key|key[-_]?file|^x-.*key$",
    re.IGNORECASE,
)
_USERINFO: Final = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY: Final = re.compile(r"(://[^?#\s]*\?)[^#\s'\"]*")


def is_secret(name: str) -> bool:
    """Tell whether a name sounds like that of a secret."""
    return _SECRET.search(name) is not None


def without_secrets_of_urls(text: str) -> str:
    """Return a text in which no URL has a user, a password or a query."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\1{MASK}", _USERINFO.sub(f"{MASK}@", text))
