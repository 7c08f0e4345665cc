"""Where a secret comes from: a file, a variable, or, if it must be, the settings.

It is read at each use, since whoever rotates a secret writes its file anew. No text
made of a source (`str`, `repr`, an error) has the secret in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.wire.secret_names import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_CHARS: Final = 4096


class SecretError(Exception):
    """A secret cannot be had; says why, never what it is."""


class SecretSource:
    """One of the three.

    Args:
        file: Path of the file that holds it.
        variable: Name of the variable of the environment that holds it.
        given: It itself, as the settings have it.
    """

    __slots__ = ("_given", "file", "variable")

    def __init__(self, file: str = "", variable: str = "", given: str = "") -> None:
        self.file = file
        self.variable = variable
        self._given = given

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretSource) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    def __str__(self) -> str:
        """Return where it is from; of an URL that is given, whose it is."""
        if self.file:
            return f"file {self.file}"
        if self.variable:
            return f"variable {self.variable}"
        return without_path(self._given)

    def __repr__(self) -> str:
        return f"<SecretSource {self}>"

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return any(self._parts)

    @property
    def _parts(self) -> tuple[str, str, str]:
        return self.file, self.variable, self._given

    def read(self, environ: Mapping[str, str]) -> str:
        """Return the secret as it is now, without white space around it.

        Raises:
            SecretError: There is none.
        """
        if self.file:
            return _of_file(self.file)
        if not self.variable:
            return self._given
        found = environ.get(self.variable, "").strip()
        if not found:
            msg = f"variable {self.variable} is not set, or empty"
            raise SecretError(msg)
        return found


def _of_file(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_MAX_CHARS + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text, or no path"
        msg = f"file {path} cannot be read: {reason}"
        raise SecretError(msg) from None
    found = text.strip()
    if not found or len(text) > _MAX_CHARS:
        what = "empty" if not found else f"over {_MAX_CHARS} characters"
        msg = f"file {path} is {what}"
        raise SecretError(msg)
    return found


def is_http(url: str) -> bool:
    """Tell an http or https URL with a host."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url
    return is_plain and is_whole and parts.scheme in ("http", "https")


def without_path(url: str) -> str:
    """Return scheme and host of an URL; its path may be as good as a password."""
    if not is_http(url):
        return MASK
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}/{MASK}"
