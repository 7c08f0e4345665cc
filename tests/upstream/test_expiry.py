"""When a certificate ends is read as a library for X.509 reads it."""

from __future__ import annotations

import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from sidecar.settings.snapshot import UpstreamTls
from sidecar.upstream.expiry import expiries_of, not_after_s

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
CA = trustme.CA()
PEM = CA.issue_cert("app.test").cert_chain_pems[0].bytes()
DER = ssl.PEM_cert_to_DER_cert(PEM.decode("ascii"))


def pem_until(year: int) -> bytes:
    leaf = CA.issue_cert("app.test", not_after=datetime(year, 6, 1, tzinfo=UTC))
    return leaf.cert_chain_pems[0].bytes()


def tls(**files: Path) -> UpstreamTls:
    paths = {key: str(path) for key, path in files.items()}
    return UpstreamTls(
        None, paths.get("ca_file"), paths.get("cert_file"), None, verify=True
    )


@pytest.mark.parametrize("year", [2031, 2049, 2050, 2222])
def test_both_ways_to_write_a_year_are_read(year: int, tmp_path: Path) -> None:
    """From 2050 on a certificate has four digits."""
    file = tmp_path / "c.pem"
    file.write_bytes(pem_until(year))
    found = expiries_of(tls(cert_file=file), NOW_S)
    assert found == {"cert_file": datetime(year, 6, 1, tzinfo=UTC).timestamp()}


def test_it_is_what_the_library_says() -> None:
    expected = x509.load_pem_x509_certificate(PEM).not_valid_after_utc
    assert not_after_s(DER) == expected.timestamp()


def test_the_first_that_ends_counts_and_of_authorities_one_that_has_not(
    tmp_path: Path,
) -> None:
    file = tmp_path / "c.pem"
    file.write_bytes(pem_until(2040) + b"text between\n" + pem_until(2029))
    ends = {year: datetime(year, 6, 1, tzinfo=UTC).timestamp() for year in (2029, 2040)}
    found = expiries_of(tls(cert_file=file, ca_file=file), NOW_S)
    assert found == {"cert_file": ends[2029], "ca_file": ends[2040]}


def test_nothing_is_told_of_what_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "b.pem"
    broken.write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "ascii"
    )
    assert expiries_of(None, NOW_S) == {}
    gone = tmp_path / "none.pem"
    assert expiries_of(tls(cert_file=broken, ca_file=gone), NOW_S) == {}


@given(st.integers(0, len(DER) - 1), st.binary(max_size=4))
def test_what_is_broken_anywhere_is_a_time_or_an_error(place: int, junk: bytes) -> None:
    """Never anything else: it comes from a file."""
    for data in (DER[:place] + junk + DER[place + len(junk) :], DER[:place], junk):
        with suppress(ValueError):
            assert isinstance(not_after_s(data), float)
