"""Certificate files that change under a server."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from sidecar.kube.certificates import CertificateError, Certificates

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """A pair of files, and the authority that its certificates are of."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"

    def write(self, name: str) -> None:
        leaf = self.ca.issue_cert(name)
        leaf.private_key_pem.write_to_path(str(self.key))
        leaf.cert_chain_pems[0].write_to_path(str(self.cert))

    def loaded(self) -> Certificates:
        return Certificates(str(self.cert), str(self.key))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.write("one.example")
    return files


def name_shown(certificates: Certificates, ca: trustme.CA, sni: str | None) -> str:
    """Return the name in the certificate that a client is shown, in memory."""
    client_context = ssl.create_default_context()
    client_context.check_hostname = False
    ca.configure_trust(client_context)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=sni)
    server = certificates.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert()
    assert found is not None
    return str(found["subjectAltName"][0][1])


@pytest.mark.parametrize("sni", [None, "webhook.example"])
def test_a_new_certificate_is_shown_from_the_next_handshake_on(
    files: Files, sni: str | None
) -> None:
    certificates = files.loaded()
    assert name_shown(certificates, files.ca, sni) == "one.example"
    files.write("two.example")
    assert certificates.look()
    assert name_shown(certificates, files.ca, sni) == "two.example"
    assert certificates.loads == {"good": 2, "bad": 0}


def test_a_file_that_is_the_same_is_not_loaded_again(files: Files) -> None:
    certificates = files.loaded()
    files.cert.touch()
    assert not certificates.look()
    assert certificates.loads == {"good": 1, "bad": 0}


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_a_broken_new_one_keeps_the_old_and_is_told_of(
    files: Files, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = files.loaded()
    if content is None:
        files.cert.unlink()
    else:
        files.cert.write_bytes(content)
    assert not certificates.look()
    assert name_shown(certificates, files.ca, None) == "one.example"
    assert certificates.loads["bad"] == 1
    assert f"the old one stays: {files.cert}" in caplog.text


def test_half_of_a_pair_waits_for_the_other(files: Files) -> None:
    """A new certificate with the old key: as files are written one by one."""
    certificates = files.loaded()
    old_key = files.key.read_bytes()
    files.write("two.example")
    new_key = files.key.read_bytes()
    files.key.write_bytes(old_key)
    assert not certificates.look()
    assert name_shown(certificates, files.ca, None) == "one.example"
    files.key.write_bytes(new_key)
    assert certificates.look()
    assert name_shown(certificates, files.ca, None) == "two.example"


def test_a_broken_one_is_told_of_once(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = files.loaded()
    files.cert.write_bytes(b"broken")
    for _ in range(3):
        assert not certificates.look()
    assert len(caplog.records) == 1


def test_a_secret_that_is_mounted_changes_by_a_link(tmp_path: Path) -> None:
    """As the kubelet does it: tls.crt -> ..data/tls.crt, ..data -> a new folder."""
    first, second, link = tmp_path / "1", tmp_path / "2", tmp_path / "..data"
    ca = trustme.CA()
    for folder, name in ((first, "one.example"), (second, "two.example")):
        folder.mkdir()
        files = Files(folder)
        files.ca = ca
        files.write(name)
    link.symlink_to(first.name)
    certificates = Certificates(str(link / "tls.crt"), str(link / "tls.key"))
    fresh = tmp_path / "..new"
    fresh.symlink_to(second.name)
    fresh.rename(link)
    assert certificates.look()
    assert name_shown(certificates, ca, None) == "two.example"


def test_a_key_with_a_pass_phrase_is_told_and_asks_nobody(files: Files) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"phrase"),
    )
    files.key.write_bytes(encrypted)
    with pytest.raises(CertificateError, match="has a pass phrase: decrypt it"):
        files.loaded()


@pytest.mark.parametrize(
    ("cert", "key", "words"),
    [
        ("missing", "tls.key", "cannot be read: No such file"),
        ("tls.crt", "tls.crt", "no start line|PEM"),
        ("a\0b", "tls.key", "not a path"),
    ],
)
def test_files_that_cannot_be_used_are_told(
    files: Files, cert: str, key: str, words: str
) -> None:
    folder = files.cert.parent
    with pytest.raises(CertificateError, match=f"(?i){words}"):
        Certificates(f"{folder}/{cert}", f"{folder}/{key}")
