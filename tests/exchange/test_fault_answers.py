"""How a failure is told: as the client likes it, and never twice or over another's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.faults.classify import classify_connect
from sidecar.model import Phase
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

OFF = {"preset": "off"}


def refused(make: MakeWire, *lines: str, **top: Any) -> bytes:
    """Return the answer to a request whose upstream is not there."""
    wire = make(retry=OFF, top={"faults": top} if top else None)
    error = ConnectionRefusedError(111, "Connection refused")
    wire.errors["*"] = classify_connect(error, Phase.CONNECT, "10.0.0.1:80")
    return wire.ask(get("/", *lines))


def test_an_answer_of_our_own_is_told_in_full(make: MakeWire) -> None:
    """RFC 9457 and RFC 9209: code, id, cause and fix, in header and body alike."""
    answer = refused(make)
    assert status_of(answer) == 502
    assert header_of(answer, "x-316-code") == "316-CONN-REFUSED"
    assert header_of(answer, "x-316-processed") == "no"
    assert header_of(answer, "proxy-status") == (
        'sidecar; error=connection_refused; details="316-CONN-REFUSED"'
    )
    problem = json.loads(body_of(answer))
    assert problem["code"] == "316-CONN-REFUSED"
    assert problem["status"] == 502
    assert problem["instance"].endswith(str(header_of(answer, "x-316-fault-id")))
    assert problem["fix"]
    assert "10.0.0.1:80" in problem["detail"]
    assert int(str(header_of(answer, "content-length"))) == len(body_of(answer))


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/html;q=0.1, text/plain;q=0.2", "text/plain; charset=utf-8"),
        ("image/png", "application/problem+json"),
    ],
)
def test_it_speaks_as_the_client_likes(make: MakeWire, accept: str, kind: str) -> None:
    """RFC 9110, 12.5.1; to who likes nothing of it, JSON is better than nothing."""
    answer = refused(make, f"Accept: {accept}")
    assert header_of(answer, "content-type") == kind
    assert b"316-CONN-REFUSED" in body_of(answer)


def test_grpc_gets_a_trailers_only_answer(make: MakeWire) -> None:
    answer = refused(make, "Content-Type: application/grpc+proto")
    assert status_of(answer) == 200
    assert header_of(answer, "content-type") == "application/grpc"
    assert header_of(answer, "grpc-status") == "14"
    assert header_of(answer, "grpc-message") == "316-CONN-REFUSED"
    assert body_of(answer) == b""


def test_at_the_edge_addresses_and_fixes_stay_inside(make: MakeWire) -> None:
    for accept in ("*/*", "text/html", "text/plain"):
        answer = refused(make, f"Accept: {accept}", expose="minimal")
        assert b"10.0.0.1" not in answer
        assert b"fix" not in body_of(answer)
        assert header_of(answer, "x-316-code") == "316-CONN-REFUSED"


def test_a_status_as_of_envoy_where_it_is_asked_for(make: MakeWire) -> None:
    answer = refused(make, status_profile="envoy")
    assert status_of(answer) == 503
    assert json.loads(body_of(answer))["status"] == 503


@pytest.mark.parametrize("name", ["x-316-code", "x-316-fault-id", "proxy-status"])
def test_it_is_named_once(make: MakeWire, name: str) -> None:
    assert refused(make).lower().count(b"\r\n" + name.encode() + b":") == 1


def test_what_is_in_the_request_is_not_in_the_answer(make: MakeWire) -> None:
    wire = make(hosts=["elsewhere.test"])
    answer = wire.ask(get("/<script>?secret", "Accept: text/html", "Cookie: secret"))
    assert header_of(answer, "x-316-code") == "316-ROUTE-NOT-FOUND"
    assert b"<script>" not in answer
    assert b"secret" not in answer


ANSWERS = [
    (b"garbage\r\n\r\n", "316-PROTO-UPSTREAM"),
    (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "316-PROTO-UPSTREAM"),
    (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "316-PROTO-UPSTREAM"),
    (b"HTTP/2.0 200 OK\r\n\r\n", "316-PROTO-UPSTREAM"),
    (b"\x15\x03\x01\x00\x02\x02\x16\r\n\r\n", "316-PROTO-UPSTREAM"),
    (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "316-PROTO-UPSTREAM",
    ),
    (b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000, "316-DATA-RESP-HEADER-SIZE"),
]


@pytest.mark.parametrize(("raw", "code"), ANSWERS)
@pytest.mark.parametrize("piece_bytes", [0, 1000])
def test_an_answer_that_is_not_http(
    wire: FakeWire, raw: bytes, code: str, piece_bytes: int
) -> None:
    client = wire.client()
    client.send(get())
    wire.origin().send(raw, piece_bytes)
    answer = client.take()
    assert status_of(answer) == 502
    assert header_of(answer, "x-316-code") == code
    assert header_of(answer, "x-316-processed") is None
    assert wire.origin().is_closed
    assert not client.is_closed


def test_the_applications_5xx_is_tagged_and_its_body_untouched(
    wire: FakeWire,
) -> None:
    raw = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\nContent-Type: x/y\r\n\r\nmine"
    answer = wire.ask(get("/", "Accept: text/html"), raw)
    assert answer.startswith(b"HTTP/1.1 500 Oops\r\n")
    assert body_of(answer) == b"mine"
    assert header_of(answer, "content-type") == "x/y"
    assert header_of(answer, "x-316-code") == "316-UPSTREAM-5XX"
    assert header_of(answer, "proxy-status") == (
        'sidecar; received-status=500; details="316-UPSTREAM-5XX"'
    )
    assert wire.faults[0]["origin"] == "upstream"
    assert wire.faults[0]["processed"] == "yes"


@pytest.mark.parametrize("status", [200, 301, 400, 404, 499])
def test_what_is_no_failure_is_not_tagged(wire: FakeWire, status: int) -> None:
    raw = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    assert header_of(wire.ask(get(), raw), "x-316-code") is None
    assert wire.codes == []


@pytest.mark.parametrize("status", [200, 409, 503])
def test_an_application_names_its_own_failure(wire: FakeWire, status: int) -> None:
    """Whatever its status: it is recorded under that name, and passed on."""
    raw = b"HTTP/1.1 %d X\r\nX-316-Code: 316-ORDER-SUBMIT-ERR\r\nContent-Length: 3\r\n"
    answer = wire.ask(get(), raw % status + b"\r\nwhy")
    assert status_of(answer) == status
    assert body_of(answer) == b"why"
    assert header_of(answer, "x-316-code") == "316-ORDER-SUBMIT-ERR"
    assert answer.lower().count(b"x-316-code") == 1
    assert wire.codes == ["316-ORDER-SUBMIT-ERR"]
    assert wire.faults[0]["layer"] == "application"


def test_a_status_316_is_a_failure_without_a_name(wire: FakeWire) -> None:
    raw = b"HTTP/1.1 316 Rule\r\nContent-Length: 3\r\n\r\nwhy"
    answer = wire.ask(get(), raw)
    assert status_of(answer) == 316
    assert body_of(answer) == b"why"
    assert [record["origin"] for record in wire.faults] == ["upstream"]


@pytest.mark.parametrize("value", [b"oops", b"316-", b"316-lower", b"316-A\xff", b""])
def test_a_name_that_is_none_is_not_taken_over(wire: FakeWire, value: bytes) -> None:
    raw = b"HTTP/1.1 409 X\r\nx-316-code: %b\r\nContent-Length: 0\r\n\r\n" % value
    assert status_of(wire.ask(get(), raw)) == 409
    assert wire.codes == []


def test_a_name_that_is_none_is_counted(wire: FakeWire) -> None:
    """faults.md: a value that is not a well-formed code is ignored, and counted."""
    raw = b"HTTP/1.1 409 X\r\nx-316-code: oops\r\nContent-Length: 0\r\n\r\n"
    wire.ask(get(), raw)
    assert wire.recorder.store.malformed_codes == 1


def test_our_tags_add_to_those_of_hops_behind_us(wire: FakeWire) -> None:
    """RFC 9209, 2: Proxy-Status is a list, to which each hop adds."""
    raw = b"HTTP/1.1 503 X\r\nProxy-Status: there\r\nContent-Length: 0\r\n\r\n"
    answer = wire.ask(get(), raw)
    lines = [x for x in answer.split(b"\r\n") if x.lower().startswith(b"proxy-status")]
    assert lines[0] == b"Proxy-Status: there"
    assert lines[1].startswith(b"Proxy-Status: sidecar; received-status=503")


def test_an_upstream_without_endpoints_cannot_be_configured_away(
    make: MakeWire,
) -> None:
    """Its endpoints may all be gone later: told as such, with nothing touched."""
    wire = make()
    wire.upstream.pool.endpoints = []
    answer = wire.ask(get())
    assert status_of(answer) == 503
    assert header_of(answer, "x-316-code") == "316-UPSTREAM-UNHEALTHY"
    assert header_of(answer, "x-316-processed") == "no"


def test_a_bug_is_an_answer_too(
    make: MakeWire, caplog: pytest.LogCaptureFixture
) -> None:
    """And what it had taken is given back."""
    wire = make()
    wire.errors["*"] = ZeroDivisionError("oops")
    client = wire.client()
    client.send(get())
    assert status_of(client.take()) == 500
    assert wire.codes == ["316-OP-FAIL"]
    assert "exchange failed" in caplog.text
    assert not wire.upstream.pool.open_connections
    caplog.clear()
