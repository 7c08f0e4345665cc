"""The file that holds the admin token: what is in it, and what is wrong with it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

# 128 bits in base64, which nobody guesses (RFC 6750, 5.2, leaves the number open).
MIN_TOKEN_CHARS = 22
MAX_TOKEN_CHARS = 4096
_TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750, 2.1: b64token.
HINT = "make one with: openssl rand -hex 32"


class TokenError(Exception):
    """A token cannot be used; says why, never what it is."""


class UnreadableError(TokenError):
    """The file cannot be read, here and by this user."""


def read_token(path: str) -> bytes:
    """Return the token in a file; a line break at its end is none of it.

    Raises:
        TokenError: What is in the file is no good token.
        UnreadableError: The file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_TOKEN_CHARS + 3)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        msg = f"cannot be read: {reason}"
        raise UnreadableError(msg) from None
    return checked(data.strip(b"\r\n"))


def checked(token: bytes) -> bytes:
    """Return a token that is good.

    Raises:
        TokenError: It is too short or too long, or cannot stand in a header field.
    """
    if not MIN_TOKEN_CHARS <= len(token) <= MAX_TOKEN_CHARS:
        word = "short" if len(token) < MIN_TOKEN_CHARS else "long"
        bounds = f"{MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} characters"
        msg = f"holds a token that is too {word}: it must have {bounds}"
        raise TokenError(msg)
    if _TOKEN.fullmatch(token) is None:
        msg = "holds a token with characters other than A-Z a-z 0-9 - . _ ~ + / ="
        raise TokenError(msg)
    return token


def is_world_readable(path: str) -> bool:
    """Tell whether every user of this host may read a file."""
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except (OSError, ValueError):
        return False
