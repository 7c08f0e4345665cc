"""Certificates that vouch for themselves, as openssl makes them."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
import trustme

from sidecar.kube import self_signed
from sidecar.kube.self_signed import (
    OpensslError,
    Pair,
    bundle_with,
    facts_of,
    new_pair,
    reason_to_renew,
)

if TYPE_CHECKING:
    from pathlib import Path

NAME = "sidecar-webhook.sidecar-316.svc"
NAMES = (NAME,)
DAY_S = 86_400.0

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return new_pair(NAMES, 90)


@pytest.fixture(scope="module")
def other() -> Pair:
    return new_pair(NAMES, 90)


def ends_s(pair: Pair) -> float:
    facts = facts_of(pair.certificate)
    assert facts is not None
    return facts.ends_s


def shakes_hands(pair: Pair, bundle: str, name: str, folder: Path) -> bool:
    """Tell whether a client that believes `bundle` takes a server for `name`."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    cert.write_text(pair.certificate)
    key.write_text(pair.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(cert, key)
    trusting = ssl.create_default_context(cadata=bundle)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # As Python has it since 3.13.
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return client.getpeercert() is not None


def test_a_new_one_is_for_its_names_and_lasts_as_long_as_asked(pair: Pair) -> None:
    facts = facts_of(pair.certificate)
    assert facts is not None
    assert facts.names == NAMES
    assert reason_to_renew(pair, NAMES, facts.ends_s - 31 * DAY_S, 30 * DAY_S) == ""
    assert "in 29 days" in reason_to_renew(
        pair, NAMES, facts.ends_s - 29 * DAY_S, 30 * DAY_S
    )


def test_it_is_believed_for_its_name_alone(
    pair: Pair, other: Pair, tmp_path: Path
) -> None:
    """Both are called the same, so that it is the key that counts."""
    both = bundle_with(other.certificate, pair.certificate, 0.0)
    assert shakes_hands(pair, both, NAME, tmp_path)
    assert shakes_hands(other, both, NAME, tmp_path)
    assert not shakes_hands(pair, both, "other.sidecar-316.svc", tmp_path)
    assert not shakes_hands(pair, other.certificate, NAME, tmp_path)


def test_it_cannot_sign_another_authority(pair: Pair) -> None:
    told = subprocess.run(
        ["openssl", "x509", "-noout", "-text"],
        input=pair.certificate,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "CA:TRUE, pathlen:0" in told
    assert "TLS Web Server Authentication" in told


def test_its_key_is_not_shown(pair: Pair) -> None:
    assert "PRIVATE" not in repr(pair)


def test_what_has_to_be_renewed_is_told(pair: Pair, other: Pair) -> None:
    now_s = ends_s(pair) - 60 * DAY_S
    leaf = trustme.CA().issue_cert(NAME)
    foreign = Pair(
        leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode()
    )
    for wrong, reason in (
        (None, "there is none"),
        (Pair("x", pair.key), "it is no certificate that vouches for itself"),
        (foreign, "it is no certificate that vouches for itself"),
        (Pair(pair.certificate, other.key), "its key is another one's"),
        (Pair(pair.certificate, "x"), "its key is another one's"),
    ):
        assert reason_to_renew(wrong, NAMES, now_s, DAY_S) == reason
    reason = reason_to_renew(pair, (NAME, "b.c.svc"), now_s, DAY_S)
    assert reason == "it is not for b.c.svc"
    assert reason_to_renew(pair, NAMES, ends_s(pair) + 1, DAY_S) == "it ends in 0 days"


def test_a_bundle_keeps_what_has_not_ended(pair: Pair, other: Pair) -> None:
    now_s = ends_s(other) - 1
    bundle = bundle_with(pair.certificate, other.certificate, now_s)
    assert bundle == pair.certificate + other.certificate
    assert bundle_with(pair.certificate, bundle, now_s) == bundle
    later_s = ends_s(other)
    assert bundle_with(pair.certificate, other.certificate, later_s) == pair.certificate


def test_a_bundle_drops_what_would_spoil_it(pair: Pair) -> None:
    """The API server refuses a whole bundle for one bad certificate."""
    broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    for others in ("", "rubbish", broken):
        assert bundle_with(pair.certificate, others, 0.0) == pair.certificate


def test_without_openssl_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OpensslError, match="Debian package openssl; the image has it"):
        new_pair(NAMES, 90)


def test_an_openssl_that_fails_is_told_in_its_words() -> None:
    with pytest.raises(OpensslError, match=r"openssl x509 failed: .+"):
        self_signed._openssl("", "x509", "-noout")
