"""A certificate that vouches for itself: made by openssl, read by ssl, kept in memory.

It is its own authority: the API server believes just this one, by the webhook's
`caBundle`, and no key of an authority has to be kept anywhere.
"""

from __future__ import annotations

import re
import secrets
import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_OPENSSL_S = 30.0
_CERTIFICATE = re.compile(
    r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----"
)
_KEY = re.compile(
    r"-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END PRIVATE KEY-----"
)
# Its own configuration: that of the system might add what is not wanted. Each has a
# name of its own: OpenSSL looks for an issuer by name, and stops at the first.
_REQUEST = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = sidecar-webhook {serial}
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


class OpensslError(Exception):
    """Openssl is not there, or did not do what it was asked."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key (PEM)."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        """Without the key: a traceback or a log may show it."""
        return f"Pair({self.certificate!r})"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says of itself."""

    names: tuple[str, ...]
    ends_s: float  # Since 1970-01-01 UTC.


def new_pair(names: Sequence[str], valid_days: int) -> Pair:
    """Return a pair for a server with these DNS names.

    Raises:
        OpensslError: It could not be made.
    """
    request = _REQUEST.format(
        serial=secrets.token_hex(8), names=", ".join(f"DNS:{name}" for name in names)
    )
    # All of it goes through pipes, so the key is in no file.
    printed = _openssl(
        request,
        *("req", "-x509", "-nodes", "-newkey", "ec"),
        *("-pkeyopt", "ec_paramgen_curve:P-256", "-days", str(valid_days)),
        *("-config", "/dev/stdin", "-keyout", "/dev/stdout", "-out", "/dev/stdout"),
    )
    certificate, key = _CERTIFICATE.search(printed), _KEY.search(printed)
    if certificate is None or key is None:
        msg = "openssl printed no certificate with its key"
        raise OpensslError(msg)
    return Pair(f"{certificate[0]}\n", f"{key[0]}\n")


def reason_to_renew(
    pair: Pair | None, names: Collection[str], now_s: float, renew_before_s: float
) -> str:
    """Return why this pair has to be replaced; nothing if it may stay.

    Raises:
        OpensslError: It could not be asked about.
    """
    if pair is None:
        return "there is none"
    facts = facts_of(pair.certificate)
    if facts is None:
        return "it is no certificate that vouches for itself"
    if facts.ends_s - now_s < renew_before_s:
        return f"it ends in {max(0.0, facts.ends_s - now_s) / 86400:.0f} days"
    missing = [name for name in names if name not in facts.names]
    if missing:
        return f"it is not for {', '.join(missing)}"
    return "" if _fits(pair) else "its key is another one's"


def facts_of(certificate: str) -> Facts | None:
    """Return what a self-signed certificate says; None if it is none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        return None
    found: list[dict[str, Any]] = context.get_ca_certs()
    if len(found) != 1:
        return None
    names = tuple(text for kind, text in found[0].get("subjectAltName", ()))
    return Facts(names, ssl.cert_time_to_seconds(found[0]["notAfter"]))


def bundle_with(certificate: str, others: str, now_s: float) -> str:
    """Return a bundle of this certificate, and those of others that have not ended.

    Pods serve with the old certificate until the kubelet has brought them the new one,
    so it is believed until then. What is no certificate goes: it would spoil the rest.
    """
    kept = dict.fromkeys([certificate.strip()])
    for text in _CERTIFICATE.findall(others):
        facts = facts_of(text)
        if facts is not None and facts.ends_s > now_s:
            kept[text.strip()] = None
    return "".join(f"{text}\n" for text in kept)


def _fits(pair: Pair) -> bool:
    """Tell whether a key is that of the certificate."""
    of_certificate = _openssl(pair.certificate, "x509", "-noout", "-pubkey")
    try:
        return of_certificate == _openssl(pair.key, "pkey", "-pubout")
    except OpensslError:
        return False  # It is no key.


def _openssl(given: str, *arguments: str) -> str:
    """Return what openssl prints.

    Raises:
        OpensslError: It is not there, failed, or did not end.
    """
    try:
        done = subprocess.run(  # noqa: S603 - no word of it is a stranger's
            ["openssl", *arguments],  # noqa: S607 - where it is differs
            input=given,
            capture_output=True,
            text=True,
            timeout=_OPENSSL_S,
            check=False,
        )
    except FileNotFoundError:
        msg = "openssl is not installed (Debian package openssl; the image has it)"
        raise OpensslError(msg) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        msg = f"openssl {arguments[0]} did not end well: {type(error).__name__}"
        raise OpensslError(msg) from None
    if done.returncode != 0:
        last = (done.stderr.strip() or "(it said nothing)").splitlines()[-1]
        msg = f"openssl {arguments[0]} failed: {last}"
        raise OpensslError(msg)
    return done.stdout
