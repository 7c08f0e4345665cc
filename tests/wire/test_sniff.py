"""HTTP/1.x is known by its first line, and by a part of it as far as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.sniff import Spoken, guess, spoken

HTTP = [
    b"GET / HTTP/1.1\r\n",
    b"\r\n\r\nPOST /a?b HTTP/1.0\r\n",
    b"PROPFIND / HTTP/1.1\n",
    b"GET / HTTP/2.0\r\n",  # To be refused in words of HTTP.
    b"GET /\r\n",
    b"get / http/1.1\r\n",
    b"GET /a b HTTP/1.1\r\n",
    b" GET / HTTP/1.1\r\n",
    b"\t\fGET\t/\tHTTP/1.1 \r\n",
    b"FOO /\rHTTP/1.1\r\r\n",
]
OTHER = [
    b"\x16\x03\x01\x02\x00\x01",  # A ClientHello.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",  # PostgreSQL: may we speak TLS?
    b"*1\r\n$4\r\nPING\r\n",
    b"PING\r\n",
    b"EHLO client.example\r\n",
    b"SSH-2.0-OpenSSH_9\r\n",
    b"set key 0 0 1\r\n",
]


@pytest.mark.parametrize("data", HTTP)
def test_a_request_line_is_http(data: bytes) -> None:
    assert spoken(data) is Spoken.HTTP


@pytest.mark.parametrize("data", OTHER)
def test_what_is_no_request_line_is_not(data: bytes) -> None:
    assert spoken(data) is Spoken.OTHER


@pytest.mark.parametrize("data", [b"", b"\r\n", b"G", b"GET", b"PATCH /x", b"FOO /x H"])
def test_a_part_of_one_is_open(data: bytes) -> None:
    assert spoken(data) is Spoken.OPEN


def test_nobody_waits_for_ever_for_a_line_that_does_not_begin() -> None:
    assert spoken(b"\r\n" * 4096) is Spoken.OPEN
    assert spoken(b"\r\n" * 4097) is Spoken.OTHER


@pytest.mark.parametrize(
    ("data", "likely"),
    [
        (b"GET /slow", Spoken.HTTP),
        (b"\r\nDELETE ", Spoken.HTTP),
        (b"GET", Spoken.HTTP),
        (b" G", Spoken.HTTP),
        (b"\r\n", Spoken.OPEN),
        (b"QUIT", Spoken.OPEN),
        (b"HELO x", Spoken.OPEN),
        (b"\x16\x03", Spoken.OTHER),
    ],
)
def test_who_cannot_wait_goes_by_the_method(data: bytes, likely: Spoken) -> None:
    assert guess(data) is likely


def test_a_line_without_an_end_is_not_waited_for() -> None:
    assert spoken(b"GET /" + b"a" * 9000) is Spoken.HTTP
    assert spoken(b"NOTHING" * 2000) is Spoken.OTHER


@given(st.sampled_from(HTTP), st.integers(0, 60))
def test_a_request_is_never_taken_for_something_else_on_its_way(
    data: bytes, cut: int
) -> None:
    is_odd = data in (HTTP[5], HTTP[6], HTTP[9])  # Malformed: it may be seen late.
    assert is_odd or spoken(data[:cut]) is not Spoken.OTHER


@given(st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_decided_stays_so(data: bytes, more: bytes) -> None:
    found = spoken(data)
    assert found is Spoken.OPEN or spoken(data + more) is found
