"""Whatever a client or an origin sends, the other side reads the fields it should.

The judge is h11: what it reads of a head that the proxy wrote is compared, name by
name, with what was sent and what the proxy says itself.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.render import ReplyRequest, render, tag_fields
from sidecar.model import Fault, Phase, Processed
from sidecar.settings.snapshot import FieldEdits
from sidecar.telling import of_fault
from sidecar.wire.fields import Hop, request_section
from sidecar.wire.head import parse_request
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, FakeWire, get

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDED_TO_REQUESTS = {
    b"via", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
    b"x-request-id", b"traceparent", b"x-316-attempt", b"x-316-deadline-ms",
}  # fmt: skip
ADDED_TO_RESPONSES = {
    b"via", b"x-316-code", b"x-316-fault-id", b"proxy-status", b"x-316-retry",
    b"content-length", b"connection", b"content-type", b"x-316-processed",
    b"retry-after", b"transfer-encoding", b"date",
}  # fmt: skip
EVIL = b"x\r\nInjected: 1\r\n\r\nGET /smuggled HTTP/1.1"
# Bytes of all kinds, the ones that end lines more often than others.
VALUES = st.one_of(
    st.binary(max_size=40),
    st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b"\t", b" ", b"a", b":", b"\xff",
                         b"Injected: 1", b",", b";", b"=", b'"', b"\\", b"\x85",
                         b"\x1b[2J"]),
        max_size=8,
    ).map(b"".join),
)  # fmt: skip
TO_ORIGIN = st.sampled_from(
    [b"X-Request-Id", b"Traceparent", b"Tracestate", b"B3", b"X-Forwarded-For",
     b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Via", b"X-316-Attempt",
     b"X-316-Code", b"X-Other", b"Cookie", b"Connection", b"Upgrade", b"TE",
     b"Content-Type", b"Accept", b"grpc-timeout", b"X-316-Deadline-Ms"]
)  # fmt: skip
TO_CLIENT = st.sampled_from(
    [b"X-316-Code", b"X-316-Fault-Id", b"Proxy-Status", b"Via", b"Retry-After",
     b"Location", b"Set-Cookie", b"X-316-Retry", b"Connection", b"Keep-Alive",
     b"Upgrade", b"X-Other", b"Content-Type"]
)  # fmt: skip
MUCH = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def requests_in(data: bytes) -> Iterator[h11.Request]:
    """Yield every request that h11 finds in what an origin got."""
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(data)
    while True:
        event = reader.next_event()
        if isinstance(event, h11.Request):
            yield event
            continue
        if isinstance(event, h11.EndOfMessage):
            if reader.trailing_data[0]:
                msg = "more than one message"
                raise AssertionError(msg)
            return
        if not isinstance(event, h11.Data):
            return


def answer_in(data: bytes) -> h11.Response | h11.InformationalResponse:
    """Return the one answer that h11 finds in what a client got."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    reader.receive_data(data)
    event = reader.next_event()
    assert isinstance(event, h11.Response | h11.InformationalResponse), event
    return event


def names_of(event: Any) -> list[bytes]:
    return [name.lower() for name, _ in event.headers]


@MUCH
@given(st.lists(st.tuples(TO_ORIGIN, VALUES), max_size=4), st.booleans())
def test_no_field_of_a_client_adds_a_field_upstream(
    fields: list[tuple[bytes, bytes]],
    is_trusted: bool,  # noqa: FBT001 - drawn
) -> None:
    top: dict[str, Any] = {} if is_trusted else {"trusted_peers": []}
    wire = FakeWire(top=top)
    client = wire.client()
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    client.send(b"GET / HTTP/1.1\r\nHost: test\r\n%b\r\n" % lines)
    sent_names = {name.lower() for name, _ in fields} | {
        line.partition(b":")[0].lower().strip() for line in lines.split(b"\r\n")
    }
    for origin in wire.origins:
        [request] = requests_in(origin.take())
        assert set(names_of(request)) <= sent_names | ADDED_TO_REQUESTS | {b"host"}
        for name in ADDED_TO_REQUESTS - {b"via", b"x-316-deadline-ms"}:
            assert names_of(request).count(name) == 1
        for _, value in request.headers:
            assert not set(value) & {0x0A, 0x0D, 0x00, 0x1B, 0x7F}
    assert len(wire.origins) <= 1
    wire.end()


@MUCH
@given(st.lists(st.tuples(TO_CLIENT, VALUES), max_size=4),
       st.sampled_from([200, 204, 304, 316, 400, 500, 503]))  # fmt: skip
def test_no_field_of_an_origin_adds_a_field_downstream(
    fields: list[tuple[bytes, bytes]], status: int
) -> None:
    wire = FakeWire(retry={"preset": "off"})
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    head = b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n%b\r\n" % (status, lines)
    answer = answer_in(wire.ask(get(), head))
    sent_names = {name.lower() for name, _ in fields} | {
        line.partition(b":")[0].lower().strip() for line in lines.split(b"\r\n")
    }
    assert set(names_of(answer)) <= sent_names | ADDED_TO_RESPONSES
    for name in (b"x-316-code", b"x-316-fault-id", b"x-316-retry"):
        assert names_of(answer).count(name) <= 1
    for _, value in answer.headers:
        assert not set(value) & {0x0A, 0x0D, 0x00, 0x1B, 0x7F}
    wire.end()


@MUCH
@given(st.lists(st.tuples(TO_CLIENT, VALUES), max_size=3))
def test_no_trailer_of_an_origin_adds_a_line(
    fields: list[tuple[bytes, bytes]],
) -> None:
    """What h11 reads behind the last chunk is what was sent, or the answer ends."""
    wire = FakeWire(retry={"preset": "off"})
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
    client = wire.client()
    client.send(get())
    wire.origin().send(start + lines + b"\r\n")
    head, _, body = client.take().partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200 ") and b"0\r\n" in body:
        trailers = body.partition(b"0\r\n")[2].removesuffix(b"\r\n")
        sent_names = {line.partition(b":")[0].lower() for line in lines.split(b"\r\n")}
        for line in filter(None, trailers.split(b"\r\n")):
            assert line.partition(b":")[0].lower() in sent_names
            assert not set(line) & {0x0A, 0x0D, 0x00, 0x1B, 0x7F}
    wire.end()


@pytest.mark.parametrize(
    "code",
    ["316-lower", "316-", "316", "nonsense", "316-A B", "316-A,316-B", "316-A\t",
     '316-A"', "316-\xc4", "<script>", "316-" + "A" * 61, "316-A-"],
)  # fmt: skip
@pytest.mark.parametrize("status", [200, 404, 500])
def test_a_code_of_an_application_is_well_formed_or_goes_no_further(
    code: str, status: int
) -> None:
    wire = FakeWire(retry={"preset": "off"})
    lines = f"x-316-code: {code}\r\nx-316-fault-id: mine\r\nContent-Length: 0"
    head = f"HTTP/1.1 {status} Odd\r\n{lines}\r\n\r\n".encode("latin-1")
    answer = wire.ask(get(), head)
    assert status_of(answer) == status
    told = "316-UPSTREAM-5XX" if status == 500 else None
    if code == "316-A\t":  # Blanks at the end are none of the value.
        told = "316-A"
    assert header_of(answer, "x-316-code") == told
    assert b"mine" not in answer
    assert (header_of(answer, "x-316-fault-id") is not None) is (told is not None)
    wire.end()


def test_a_code_that_is_one_is_written_once_and_by_us() -> None:
    wire = FakeWire(retry={"preset": "off"})
    lines = "X-316-Code: 316-ORDER-FULL\r\nX-316-Fault-Id: mine\r\nContent-Length: 0"
    answer = wire.ask(get(), f"HTTP/1.1 200 OK\r\n{lines}\r\n\r\n".encode())
    assert answer.lower().count(b"x-316-code:") == 1
    assert answer.lower().count(b"x-316-fault-id:") == 1
    assert header_of(answer, "x-316-code") == "316-ORDER-FULL"
    assert header_of(answer, "x-316-fault-id") == wire.faults[0]["fault_id"]
    wire.end()


@pytest.mark.parametrize(
    "path", ["/<script>", "/%0d%0aInjected:1", "/'\"", "/a\xe9", "/" + "&" * 50]
)
@pytest.mark.parametrize("accept", ["text/html", "text/plain", "application/json"])
def test_a_body_that_tells_of_a_path_cannot_be_made_to_say_more(
    path: str, accept: str
) -> None:
    wire = FakeWire(hosts=["elsewhere.test"])
    answer = wire.ask(get(path, f"Accept: {accept}"))
    assert status_of(answer) in (400, 404)
    body = body_of(answer)
    assert b"<script>" not in body or accept != "text/html"
    assert b"Injected:1" not in answer.split(b"\r\n\r\n")[0]
    if accept == "application/json":
        assert json.loads(body)["status"] == status_of(answer)
    elif accept == "text/plain":
        for line in body.splitlines():
            assert b": " in line  # `name: value` each; none that a path began.
    wire.end()


@settings(deadline=None)
@given(st.text(), st.sampled_from(["text/html", "text/plain", "*/*", "grpc"]))
def test_a_detail_of_any_text_stays_where_it_belongs(text: str, accept: str) -> None:
    """It is for people and may quote what the system or a peer said."""
    fault = of_fault(ProxyFault(FaultCode.CONN_ERR, text), [], "0" * 20)
    kind = b"application/grpc" if accept == "grpc" else b""
    asked = ReplyRequest(accept.encode(), kind, "rfc9209", "full")
    reply = render(fault, 502, asked)
    for name, value in reply.fields:
        assert value.isascii()
        assert value.decode().isprintable()
        assert text not in value.decode() or len(text) < 8
        assert name.lower() in ADDED_TO_RESPONSES | {b"grpc-status", b"grpc-message"}
    if accept == "text/html":
        inner = reply.body.decode("utf-8", "surrogatepass")
        assert inner.count("<td>") == inner.count("</td>") == inner.count("<tr>")
    if accept == "*/*":
        assert json.loads(reply.body)["detail"] == text
    if accept == "text/plain":
        assert len(reply.body.decode().splitlines()) == 8


@settings(deadline=None)
@given(st.text(max_size=80))
def test_proxy_status_is_a_structured_field_whatever_the_code(code: str) -> None:
    """RFC 9651, 3.3.3: a string is printable ASCII, quote and backslash escaped."""
    spec = FaultCode.CONN_ERR.spec
    odd = replace(spec, code=code)
    fault = Fault(odd, "0", odd.origin, Phase.WAIT, Processed.YES, "", None, None)
    fields = dict(tag_fields(fault, 502))
    value = fields[b"Proxy-Status"].decode("ascii")
    start, _, rest = value.partition('details="')
    assert start == "sidecar; received-status=502; "
    assert rest.endswith('"')
    assert '"' not in rest[:-1]
    assert "\\" not in rest
    assert rest.isprintable()


@pytest.mark.parametrize("peer", ["fe80::1%eth0", "::1", "10.0.0.7", ""])
def test_the_address_of_a_peer_is_one_word(peer: str) -> None:
    wire = FakeWire()
    client = wire.client(peer)
    client.send(get())
    [request] = requests_in(wire.origin().take())
    named = dict(request.headers)
    assert named[b"x-forwarded-for"] == peer.encode()
    wire.origin().send(OK)
    wire.end()


def test_a_route_writes_what_it_was_told_and_nothing_else() -> None:
    """Values of the configuration were checked at its load: see the settings' tests."""
    hop = Hop(b"here", b"10.0.0.9", b"http", is_trusted=False)
    head = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    edits = FieldEdits(set=((b"X-A", b"1"),), add=((b"X-B", b"2"),))
    section = request_section(head, hop, b"b.test", edits)
    [request] = requests_in(b"GET / HTTP/1.1\r\n" + section + b"\r\n")
    assert set(names_of(request)) == {
        b"host", b"x-a", b"x-b", b"via", b"x-forwarded-for", b"x-forwarded-proto",
        b"x-forwarded-host",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["x-request-id", "tracestate", "x-forwarded-for"])
def test_a_line_break_in_a_field_that_goes_on_is_refused(name: str) -> None:
    """With what stands behind it, which is never a request of its own."""
    wire = FakeWire()
    client = wire.client()
    client.send(get("/", f"{name}: a\nInjected: 1"))
    assert b" 400 " in client.take().partition(b"\r\n")[0]
    assert wire.origins == []
    wire.end()


def test_what_looks_like_two_answers_is_one(caplog: pytest.LogCaptureFixture) -> None:
    """Response splitting: the second is in the body's place, and is thrown away."""
    wire = FakeWire()
    second = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    answer = wire.ask(get(), OK + second)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"evil" not in answer
    assert wire.origin().is_closed  # It is out of step: never used again.
    assert "evil" not in caplog.text
    wire.end()
