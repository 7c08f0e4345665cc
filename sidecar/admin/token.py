"""The token that opens what changes something: from a file, or from the environment.

The file is read again at each use, since whoever rotates a secret writes it anew
(Kubernetes swaps a link). What is wrong with it is told, what is in it never.
"""

from __future__ import annotations

import hmac
import logging
import os
from typing import TYPE_CHECKING

from sidecar.settings.token_file import TokenError, checked, read_token

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

VARIABLE = "SIDECAR_ADMIN_TOKEN"


class AdminToken:
    """What a caller must know, from up to two places; either will do.

    Args:
        path: The file; None: there is none.
        environ: The environment, for SIDECAR_ADMIN_TOKEN.
    """

    def __init__(self, path: str | None, environ: Mapping[str, str]) -> None:
        self._path = path
        self._complaint = ""  # About the file, told once and not at each use.
        self._fixed = _from_environment(environ)
        self._current()

    def __repr__(self) -> str:
        """Return where it is from."""
        return f"<AdminToken file={self._path is not None} env={bool(self._fixed)}>"

    @property
    def is_wanted(self) -> bool:
        """Tell whether there is one, or should be."""
        return self._path is not None or bool(self._fixed)

    def is_it(self, given: bytes) -> bool:
        """Tell whether `given` is the token, in a time that says nothing of it."""
        current = self._current()
        is_first = hmac.compare_digest(given, current) and bool(current)
        is_second = hmac.compare_digest(given, self._fixed) and bool(self._fixed)
        return is_first or is_second

    def _current(self) -> bytes:
        """Return what is in the file now; empty: nothing that could be used."""
        if self._path is None:
            return b""
        complaint = ""
        try:
            return read_token(self._path)
        except TokenError as error:
            complaint = str(error)
            return b""
        finally:
            if complaint and complaint != self._complaint:
                _log.warning("admin.token_file: the file %s", complaint)
            self._complaint = complaint


def _from_environment(environ: Mapping[str, str]) -> bytes:
    """Return the token of the environment; empty: none, or no good one."""
    given = os.fsencode(environ.get(VARIABLE, "").strip())
    if not given:
        return b""
    try:
        return checked(given)
    except TokenError as error:
        _log.warning("%s %s; it is not used", VARIABLE, error)
        return b""
