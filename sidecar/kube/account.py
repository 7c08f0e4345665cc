"""Kubernetes, asked from inside a pod by its ServiceAccount: to get and to update."""

from __future__ import annotations

import json
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, Any]

_ANSWER_S = 15.0
_CONFLICT = HTTPStatus.CONFLICT
_GOOD = (HTTPStatus.OK, HTTPStatus.CREATED)


class AccountError(Exception):
    """The API server could not be asked, or said no; says which and why."""


class ConflictError(AccountError):
    """Somebody else has changed an object since it was read."""


class Account:
    """The API server, and what a pod shows it."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        """Find both.

        Raises:
            AccountError: This is no pod, or one without a token.
        """
        host = environment.get("KUBERNETES_SERVICE_HOST")
        if not host:
            msg = "KUBERNETES_SERVICE_HOST is not set: this runs in a pod"
            raise AccountError(msg)
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        shown = f"[{host}]" if ":" in host else host
        self._base = f"https://{shown}:{port}"
        self._headers = {"Authorization": f"Bearer {_token(f'{folder}/token')}"}
        self._trusting = _context(f"{folder}/ca.crt")

    async def get(self, path: str) -> Object:
        """Return an object.

        Raises:
            AccountError: It is not there, or may not be read.
        """
        return await self._ask("GET", path, None)

    async def update(self, path: str, value: Object) -> None:
        """Replace an object by what was made of it, if it is still what was read.

        Raises:
            ConflictError: It is not.
            AccountError: It may not be written.
        """
        await self._ask("PUT", path, value)

    async def _ask(self, method: str, path: str, value: Object | None) -> Object:
        about = f"{method} {'/'.join(path.split('/')[-2:])}"
        try:
            status, text = await self._exchange(method, f"{self._base}{path}", value)
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_ANSWER_S:g} s"
            msg = f"{about}: {self._base}: {reason}"
            raise AccountError(msg) from None
        if status == _CONFLICT:
            msg = f"{about}: somebody else has changed it meanwhile"
            raise ConflictError(msg)
        found = _decoded(text)
        if status not in _GOOD:
            msg = f"{about}: {status}: {found.get('message', 'no reason given')}"
            raise AccountError(msg)
        if not found:
            msg = f"{about}: the answer is no object"
            raise AccountError(msg)
        return found

    async def _exchange(
        self, method: str, url: str, value: Object | None
    ) -> tuple[int, str]:
        limit = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with (
            aiohttp.ClientSession(headers=self._headers, timeout=limit) as session,
            session.request(
                method, url, json=value, ssl=self._trusting, allow_redirects=False
            ) as answer,
        ):
            return answer.status, await answer.text(errors="replace")


def _decoded(text: str) -> Object:
    """Return an object of an answer; an empty one for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _token(file: str) -> str:
    try:
        return Path(file).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise _unreadable(file, error) from None


def _context(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:  # What ssl raises is an OSError, too.
        raise _unreadable(file, error) from None


def _unreadable(file: str, error: Exception) -> AccountError:
    reason = getattr(error, "strerror", None) or "not what it should hold"
    msg = f"{file}: cannot be read: {reason}; is the ServiceAccount's token mounted?"
    return AccountError(msg)
