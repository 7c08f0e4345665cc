"""What is wrong, or hardly meant, with who may use the admin API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.settings.hosts import is_loopback
from sidecar.settings.token_file import (
    HINT,
    TokenError,
    UnreadableError,
    is_world_readable,
    read_token,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.models import AdminSettings
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Source


def find_admin_problems(admin: AdminSettings, source: Source) -> Iterator[Problem]:
    """Yield what would leave the admin API open, or its token worthless."""
    path = admin.token_file
    if not is_loopback(admin.listen.host) and path is None:
        message = f"{admin.listen} can be reached from elsewhere, and there is no token"
        hint = f"use 127.0.0.1:{admin.listen.port}, or set admin.token_file"
        yield source.problem(("admin", "listen"), message, hint)
    if path is None:
        return
    try:
        read_token(path)
    except UnreadableError:
        return  # It may be there where it is to serve: a warning will do.
    except TokenError as error:
        message = f"the file {error}"
        yield source.problem(("admin", "token_file"), message, HINT)


def find_admin_warnings(admin: AdminSettings, source: Source) -> Iterator[Problem]:
    """Yield what works, but lets in more than one may want, or nobody."""
    if not is_loopback(admin.listen.host):
        message = (
            f"{admin.listen} can be reached from elsewhere, and the token goes over"
            " the network in plain HTTP"
        )
        hint = f"use 127.0.0.1:{admin.listen.port}"
        yield source.problem(("admin", "listen"), message, hint)
    path = admin.token_file
    if path is None:
        return
    at = ("admin", "token_file")
    try:
        read_token(path)
    except TokenError as error:
        message = f"the file {error}: until it can be, nothing can be changed"
        yield source.problem(at, message, HINT)
        return
    if is_world_readable(path):
        message = "every user of this host may read the file"
        yield source.problem(at, message, "chmod o-r; in Kubernetes: defaultMode 0440")
