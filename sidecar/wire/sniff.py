"""Whether a client that nobody knows speaks HTTP/1.x, by its first bytes.

Every request begins with `method SP request-target SP HTTP/1.x` (RFC 9112, 3). What
cannot become such a line any more is something else: TLS, HTTP/2 with its "PRI *",
a database. A part of a line leaves it open; a line that is longer than any should be
is not waited for.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final


class Spoken(Enum):
    """What the first bytes of a client are."""

    HTTP = "http"
    OTHER = "other"
    OPEN = "open"  # More is to come.


_MOST_BYTES: Final = 8192  # The longest line that is looked at.
# As lenient as can be: who gets HTTP wrong is to be told so, not to be let through,
# where a server might be lenient, too: some take any white space, anywhere.
_BLANK: Final = b" \t\v\f\r\n"
_TO_SPACES: Final = bytes.maketrans(b"\t\v\f", b"   ")
_LINE: Final = re.compile(
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^\n]*[ \r]HTTP/[0-9](?:\.[0-9]+)?[ \r]*\n",
    re.IGNORECASE,
)
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{0,32}\Z")
_BEGUN: Final = re.compile(
    rb"[A-Z][A-Z_-]{0,31} (?:[!-~\x80-\xff]+(?: (?:H(?:T(?:T(?:P(?:/(?:[0-9]"
    rb"(?:\.(?:[0-9]\r?)?)?)?)?)?)?)?)?)?)?\Z"
)
_METHODS: Final = frozenset(
    (b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT",
     b"TRACE")
)  # fmt: skip
_HTTP_2: Final = b"PRI * HTTP/2"


def spoken(data: bytes) -> Spoken:
    """Return what a client speaks that has sent `data` so far."""
    line = _without_blanks(data)
    end = line.find(b"\n")
    is_method = _method_of(line) in _METHODS
    if end >= 0 or len(data) > _MOST_BYTES:
        is_http = is_method or _LINE.match(line[: end + 1]) is not None
        is_http = is_http and not line.startswith(_HTTP_2)
        return Spoken.HTTP if is_http else Spoken.OTHER
    is_open = is_method or _TOKEN.match(line) or _BEGUN.match(line)
    return Spoken.OPEN if is_open else Spoken.OTHER


def guess(data: bytes) -> Spoken:
    """Return what it most probably is, when nobody can wait for more."""
    found = spoken(data)
    line = _without_blanks(data)
    is_begun = _method_of(line) in _METHODS or _begins_method(line)
    return Spoken.HTTP if found is Spoken.OPEN and is_begun else found


def _without_blanks(data: bytes) -> bytes:
    """Return a line as it is looked at; empty ones may precede it (RFC 9112, 2.2)."""
    return data.lstrip(_BLANK).translate(_TO_SPACES)


def _begins_method(line: bytes) -> bool:
    """Tell whether it is a part of one: who says no more in time hides nothing so."""
    return bool(line) and any(method.startswith(line) for method in _METHODS)


def _method_of(line: bytes) -> bytes:
    """Return the method, if it is a whole one."""
    method, space, _ = line[:_LONGEST_METHOD_BYTES].partition(b" ")
    return method if space else b""


_LONGEST_METHOD_BYTES: Final = 33
