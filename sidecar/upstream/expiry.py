"""When certificates end, read from their files without a library for X.509.

    Certificate    ::= SEQUENCE { tbsCertificate, ... }
    TBSCertificate ::= SEQUENCE { [0] version, serialNumber, signature, issuer,
                                  validity SEQUENCE { notBefore, notAfter }, ... }

Source:
    RFC 5280, 4.1; X.690 for the encoding.
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.snapshot import UpstreamTls

_PEM: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_LONG_FORM: Final = 0x80
_MAX_LENGTH_BYTES: Final = 4
_BEFORE_VALIDITY: Final = 3  # Serial number, signature, issuer.
_PIVOT_YEAR: Final = 50  # RFC 5280, 4.1.2.5.1: below it, the year is 20xx.


def expiries_of(tls: UpstreamTls | None, now_s: float) -> dict[str, float]:
    """Return when the first certificate of each file ends, by the file's key.

    Of the authorities, those that have ended already are left out unless all have: a
    bundle often holds some, and nobody goes by them.

    Args:
        tls: Its files could be read a moment ago.
        now_s: Unix time.
    """
    if tls is None:
        return {}
    found: dict[str, float] = {}
    for key in ("cert_file", "ca_file"):
        path = getattr(tls, key)
        ends_s = [] if path is None else list(_ends_of_file(path))
        if key == "ca_file":
            ends_s = [each for each in ends_s if each > now_s] or ends_s
        if ends_s:
            found[key] = min(ends_s)
    return found


def not_after_s(der: bytes) -> float:
    """Return the Unix time at which a certificate ends.

    Raises:
        ValueError: It is not one.
    """
    _, certificate, _ = _element(der, _SEQUENCE)
    _, rest, _ = _element(certificate, _SEQUENCE)
    if rest[:1] == bytes([_VERSION]):
        _, _, rest = _element(rest)
    for _ in range(_BEFORE_VALIDITY):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest, _SEQUENCE)
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    return _time_s(tag, text)


def _ends_of_file(path: str) -> Iterator[float]:
    """Yield when each certificate ends; what is none is for others to complain of."""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
        for pem in _PEM.findall(text):
            yield not_after_s(ssl.PEM_cert_to_DER_cert(pem))
    except (OSError, ValueError):  # Replaced since, or half written.
        return


def _element(data: bytes, wanted: int | None = None) -> tuple[int, bytes, bytes]:
    """Return tag and content of the first element, and what follows it."""
    if len(data) < 2 or (wanted is not None and data[0] != wanted):  # noqa: PLR2004 - tag and length
        msg = "not a certificate"
        raise ValueError(msg)
    length, start = data[1], 2
    if length >= _LONG_FORM:
        start += length - _LONG_FORM
        length = int.from_bytes(data[2:start], "big")
    if start - 2 > _MAX_LENGTH_BYTES or len(data) < start + length:
        msg = "a certificate that is cut off"
        raise ValueError(msg)
    return data[0], data[start : start + length], data[start + length :]


def _time_s(tag: int, text: bytes) -> float:
    digits = text.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("20" if int(digits[:2]) < _PIVOT_YEAR else "19") + digits
    elif tag != _GENERALIZED_TIME:
        msg = "not a time"
        raise ValueError(msg)
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
