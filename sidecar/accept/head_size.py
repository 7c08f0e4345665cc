"""Heads that are too large, or malformed: which status, which limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Limit

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Limits
    from sidecar.wire.head import HeadError

_URI_TOO_LONG: Final = 414
_FIELDS_TOO_LARGE: Final = 431
_LINE_END_BYTES: Final = 2
_MAX_ENDING_BYTES: Final = 3  # The empty line behind it may have begun to come.


def check_size(buffer: bytes, end: int, limits: Limits) -> None:
    """Refuse a head that is too large, also before all of it is here.

    Args:
        buffer: What has come of it, or more.
        end: Where the empty line behind it begins; below 0: not here yet.
        limits: Of the request line, and of the lines behind it together.

    Raises:
        ProxyFault: It is.
    """
    line_bytes = buffer.find(b"\r\n")
    is_line_here = line_bytes >= 0
    if not is_line_here:
        line_bytes = len(buffer) - buffer.endswith(b"\r")
    most = limits.request_line_bytes
    if line_bytes > most:
        msg = f"the request line is over {most} bytes"
        raise _too_large(msg, _URI_TOO_LONG, Limit.REQUEST_LINE)
    most = limits.header_bytes
    head_bytes = end if end >= 0 else len(buffer) - _MAX_ENDING_BYTES
    if is_line_here and head_bytes - line_bytes - _LINE_END_BYTES > most:
        msg = f"the header section is over {most} bytes"
        raise _too_large(msg, _FIELDS_TOO_LARGE, Limit.HEADERS)


def malformed(error: HeadError) -> ProxyFault:
    """Return the fault of a head that was read, and is not as it should be."""
    limit = Limit.HEADER_COUNT if error.status == _FIELDS_TOO_LARGE else None
    return ProxyFault(
        FaultCode.VALIDATION_ERR, error.detail, status=error.status, limit=limit
    )


def _too_large(detail: str, status: int, limit: Limit) -> ProxyFault:
    return ProxyFault(FaultCode.VALIDATION_ERR, detail, status=status, limit=limit)
