"""TLS towards receivers, and what went wrong on the way, in words without secrets."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from typing import Final

from sidecar.alerting.outbox import Delivery

_TRUST: Final = "the certificate is not trusted"


async def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Return what verifies a server; made in a thread, for it takes milliseconds.

    Raises:
        OSError: The file cannot be read, or holds no certificate.
    """
    return await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)


def failed(problem: str, retry_after_s: float = 0.0) -> Delivery:
    """Return a failure after which another attempt makes sense."""
    return Delivery(is_sent=False, problem=problem, retry_after_s=retry_after_s)


def failed_for_good(problem: str) -> Delivery:
    """Return a failure that would be the same again."""
    return Delivery(is_sent=False, problem=problem, is_final=True)


def problem_of(error: BaseException) -> str:
    """Return what an error of a socket means; its own text may have an URL in it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{_TRUST}: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'for no reason that is known'}"
    if isinstance(error, socket.gaierror):
        return "the name is not resolved"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return f"failed ({type(error).__name__})"
