"""Certificates of an authority that only a test knows."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path


class Authority:
    """Signs; its files go into `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = str(folder / "ca.pem")
        self._ca.cert_pem.write_to_path(self.ca_file)

    def server_context(self, name: str) -> ssl.SSLContext:
        """Return what a server called `name` (or with that address) shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(name).configure_cert(context)
        return context

    def demand_from(self, context: ssl.SSLContext) -> None:
        """Let a server refuse clients without a certificate of this authority."""
        self._ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    def client_files(self, name: str) -> dict[str, str]:
        """Return the settings of a client's certificate."""
        leaf = self._ca.issue_cert(name)
        key, chain = self._folder / f"{name}.key", self._folder / f"{name}.pem"
        leaf.private_key_pem.write_to_path(str(key))
        for number, pem in enumerate(leaf.cert_chain_pems):
            pem.write_to_path(str(chain), append=number > 0)
        return {"cert_file": str(chain), "key_file": str(key)}
