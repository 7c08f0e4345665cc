"""The catalogue is whole, and its documentation is fresh."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.faults.catalogue import (
    ENVOY_FLAGS,
    PROXY_ERRORS,
    FaultCode,
    application_spec,
    find,
)
from sidecar.faults.docs import catalogue_markdown
from sidecar.faults.render import negotiate
from sidecar.faults.spec import Layer

FLAGS = (
    "DF NR NC UH LH UF UC UR LR UO UT UMSDR SI DT URX UPE DPE IH RL RLSE UAEX DI FI "
    "RFCF NFCF OM DO UDO DC DR"
)
# The error types of RFC 9209, section 2.3.
ERRORS = (
    "dns_timeout dns_error destination_not_found destination_unavailable "
    "destination_ip_prohibited destination_ip_unroutable connection_refused "
    "connection_terminated connection_timeout connection_read_timeout "
    "connection_write_timeout connection_limit_reached tls_protocol_error "
    "tls_certificate_error tls_alert_received http_request_error http_request_denied "
    "http_response_incomplete http_response_header_section_size "
    "http_response_header_size http_response_body_size "
    "http_response_trailer_section_size http_response_trailer_size "
    "http_response_transfer_coding http_response_content_coding "
    "http_response_timeout http_upgrade_failed http_protocol_error "
    "proxy_internal_response proxy_internal_error proxy_configuration_error "
    "proxy_loop_detected"
)


def test_every_envoy_flag_has_its_place() -> None:
    assert set(ENVOY_FLAGS) == set(FLAGS.split())


def test_every_error_type_of_rfc_9209_has_its_place() -> None:
    assert set(PROXY_ERRORS) == set(ERRORS.split())


@pytest.mark.parametrize("code", list(FaultCode))
def test_an_entry_is_complete(code: FaultCode) -> None:
    spec = code.spec
    assert spec.code == "316-" + code.name.replace("_", "-")
    assert find(spec.code) is code
    assert spec.cause.endswith(".")
    assert spec.fix[-1] in ".?"
    assert spec.status in (0, 499) or 400 <= spec.status < 600


@pytest.mark.parametrize(
    ("code", "layer"),
    [
        ("316-ORDER-SUBMIT-ERR", Layer.A),
        ("316-DB-POOL", Layer.D),
        ("316-CONN-ERR", Layer.N),
        ("316-MEM-LEAK", Layer.I),
    ],
)
def test_the_first_word_tells_the_layer(code: str, layer: Layer) -> None:
    spec = application_spec(code)
    assert spec is not None
    assert spec.layer is layer


@pytest.mark.parametrize("code", ["316", "316-", "316-a", "317-A", "316-A-", "x" * 99])
def test_what_is_not_well_formed_is_no_code(code: str) -> None:
    assert application_spec(code) is None


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (b"", b"application/problem+json"),
        (b"text/html;q=0.5, application/json", b"application/problem+json"),
        (b"text/*", b"text/plain; charset=utf-8"),
        (b"text/html", b"text/html; charset=utf-8"),
        (b"image/png", b"application/problem+json"),
        (b"text/html;q=bad, text/plain", b"text/plain; charset=utf-8"),
    ],
)
def test_accept_decides_the_form(accept: bytes, kind: bytes) -> None:
    assert negotiate(accept) == kind


def test_the_documentation_is_fresh() -> None:
    """`make docs` makes it anew."""
    path = Path(__file__).parents[2] / "docs" / "faults.md"
    assert path.read_text(encoding="utf-8") == catalogue_markdown()
