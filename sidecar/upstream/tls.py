"""What to speak TLS with towards an upstream, from the files that it names."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.settings.problem import Problem, SettingsError

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot, UpstreamTls


def tls_context(upstream: str, tls: UpstreamTls) -> ssl.SSLContext:
    """Return the context to speak TLS with.

    Raises:
        SettingsError: A file is missing, unreadable or not what it should be.
    """
    for key in ("ca_file", "cert_file", "key_file"):
        path = getattr(tls, key)
        if path is not None:
            _check_readable(upstream, key, path)
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ValueError) as error:
        raise _unusable(upstream, "ca_file", str(tls.ca_file), error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.cert_file is not None:
        try:  # Without a password, OpenSSL would ask the terminal for one.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        except (OSError, ValueError) as error:
            raise _unusable(upstream, "cert_file", tls.cert_file, error) from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def tls_problems(snapshot: Snapshot) -> list[Problem]:
    """Return which files of TLS cannot be used on this machine."""
    problems: list[Problem] = []
    for name, upstream in snapshot.upstreams.items():
        if upstream.tls is None:
            continue
        try:
            tls_context(name, upstream.tls)
        except SettingsError as error:
            problems += error.problems
    return problems


def _check_readable(upstream: str, key: str, path: str) -> None:
    """Read a file: what `ssl` says of it would not name it."""
    try:
        Path(path).read_bytes()
    except (OSError, ValueError) as error:  # A path with a NUL is a ValueError.
        raise _unusable(upstream, key, path, error) from None


def _unusable(upstream: str, key: str, path: str, error: Exception) -> SettingsError:
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        message = f"cannot be used: {reason}"
    else:
        message = f"cannot be read: {getattr(error, 'strerror', None) or error}"
    return SettingsError(
        [Problem(path, 0, 0, f"upstreams.{upstream}.tls.{key}", message)]
    )
