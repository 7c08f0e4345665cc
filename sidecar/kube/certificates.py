"""A server's certificate, from files that are replaced while it serves.

Each handshake takes the context of the moment, by way of the SNI callback (which
OpenSSL calls without SNI, too). A new pair of files is loaded into a context of its
own, so one that is broken, or half written, changes nothing.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

_log = logging.getLogger(__name__)


class CertificateError(Exception):
    """A pair of files cannot be used; says why."""


class Certificates:
    """A certificate with its chain, and its key (PEM)."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        """Load them.

        Raises:
            CertificateError: They cannot be used.
        """
        self._files = (cert_file, key_file)
        self._seen = self._read()
        self._current = self._loaded()
        self.loads = {"good": 1, "bad": 0}
        self.context = self._made()
        self.context.sni_callback = self._choose

    def look(self) -> bool:
        """Load the files anew if they have changed; tell whether they were taken."""
        try:
            data = self._read()
            if data == self._seen:
                return False
            self._seen = data  # Broken ones are told once, not at each look.
            self._current = self._loaded()
        except CertificateError as error:
            self.loads["bad"] += 1
            _log.error("certificate not taken, the old one stays: %s", error)
            return False
        self.loads["good"] += 1
        _log.info("new certificate: %s", self._files[0])
        return True

    def _read(self) -> tuple[bytes, ...]:
        return tuple(self._content(file) for file in self._files)

    def _content(self, file: str) -> bytes:
        try:
            return Path(file).read_bytes()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a path"
            msg = f"{file}: cannot be read: {reason}"
            raise CertificateError(msg) from None

    def _loaded(self) -> ssl.SSLContext:
        context = self._made()
        cert_file, key_file = self._files
        try:
            # A key with a pass phrase would ask for it on the terminal.
            context.load_cert_chain(cert_file, key_file, password=_no_phrase)
        except (ssl.SSLError, OSError, _PhraseError) as error:
            reason = getattr(error, "reason", None) or str(error)
            words = str(reason).replace("_", " ").lower()
            msg = f"{cert_file} and {key_file}: {words}"
            raise CertificateError(msg) from None
        return context

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: object, _old: object
    ) -> None:
        connection.context = self._current


class _PhraseError(Exception):
    """A key is encrypted."""


def _no_phrase() -> str:
    msg = "the key has a pass phrase: decrypt it"
    raise _PhraseError(msg)
