"""RFC 9110, section 7: what an intermediary adds, takes out and leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import (
    EVIL,
    assert_replaced,
    post,
    request,
    response,
    returned,
    sent,
)
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.support.wire import FakeWire

UPGRADE = ("Connection: Upgrade", "Upgrade: echo")
SWITCH = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


# 7.6.1. Connection.


@pytest.mark.parametrize(
    "line",
    [
        "Connection: x-a",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Proxy-Authorization: Basic a",
        "TE: deflate",
        "Upgrade: foo",
    ],
)
def test_a_field_for_one_connection_ends_here(wire: FakeWire, line: str) -> None:
    name = line.partition(":")[0]
    assert header_of(sent(wire, get("/", line)), name) is None
    assert header_of(returned(wire, response(line.encode())), name) is None


@pytest.mark.parametrize(
    "value", ["X-A", "x-a, close", "close ,X-A", ",x-a,", "Keep-Alive,x-A\t, b"]
)
def test_a_field_that_connection_names_ends_here(wire: FakeWire, value: str) -> None:
    """However it is spelt, however often it is there."""
    lines = [f"Connection: {value}", "x-a: 1", "X-A: 2", "X-AB: 3"]
    for head in (
        sent(wire, get("/", *lines)),
        returned(wire, response(*[x.encode() for x in lines], b"Content-Length: 0")),
    ):
        assert header_of(head, "x-a") is None
        assert header_of(head, "x-ab") == "3"


@pytest.mark.parametrize("name", ["Host", "Content-Length"])
def test_connection_cannot_take_out_what_frames_or_routes(
    wire: FakeWire, name: str
) -> None:
    """A request without them would be another one for the next hop."""
    raw = post(b"Content-Length: 2", f"Connection: {name}".encode()) + b"ok"
    head = sent(wire, raw)
    assert header_of(head, "host") == "test"
    assert header_of(head, "content-length") == "2"


# 7.6.2. Max-Forwards.


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", "0"), ("10", "9"), ("007", "6"), ("256", "255"), ("9" * 40, "255")],
)
@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_hops_are_counted_down(
    wire: FakeWire, method: str, value: str, expected: str
) -> None:
    raw = get("/a?b", f"MAX-Forwards: {value}", "A: b", method=method)
    head = sent(wire, raw)
    assert head.startswith(f"{method} /a?b HTTP/1.1\r\n".encode())
    assert f"\r\nMAX-Forwards: {expected}\r\nA: b\r\n".encode() in head
    assert head.lower().count(b"max-forwards") == 1


@pytest.mark.parametrize("zero", ["0", "000"])
def test_a_trace_with_no_hop_left_is_answered_with_itself(
    wire: FakeWire, zero: str
) -> None:
    """9.3.8: in message/http, as it came."""
    raw = get("/a", f"Max-Forwards: {zero}", "Via: 1.1 x", "A: \xe9", method="TRACE")
    client = wire.client()
    client.send(raw)
    answer = client.take()
    assert status_of(answer) == 200
    assert header_of(answer, "content-type") == "message/http"
    assert body_of(answer) == raw
    assert wire.origins == []
    assert not client.is_closed
    client.send(get())
    wire.origin().send(OK)
    assert status_of(client.take()) == 200


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Cookie2",
        "X-Api-Key",
        "X-Auth-Token",
        "X-CSRF-Token",
        "X-Amz-Security-Token",
        "X-Forwarded-Client-Cert",
        "x-316-expose",
        "Session-Id",
    ],
)
def test_a_trace_does_not_show_what_may_be_secret(wire: FakeWire, name: str) -> None:
    """9.3.8: a script that can send one must learn nothing from it."""
    raw = get("/", "Max-Forwards: 0", f"{name}: hidden", "A: seen", method="TRACE")
    answer = wire.ask(raw)
    assert b"A: seen\r\n" in answer
    assert b"hidden" not in answer
    assert name.encode() not in answer


@pytest.mark.parametrize("target", ["/a", "*"])
def test_an_options_with_no_hop_left_is_answered_here(
    wire: FakeWire, target: str
) -> None:
    client = wire.client()
    client.send(get(target, "Max-Forwards: 0", method="OPTIONS"))
    answer = client.take()
    assert status_of(answer) == 200
    assert (header_of(answer, "content-length"), body_of(answer)) == ("0", b"")
    assert wire.origins == []
    assert wire.codes == []
    assert not client.is_closed


@pytest.mark.parametrize(
    "value", ["", "-1", "+1", "1.0", "0x1", "a", "1, 1", "9" * 101]
)
@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_hops_that_are_no_number_are_refused(
    wire: FakeWire, method: str, value: str
) -> None:
    client = wire.client()
    client.send(get("/", f"Max-Forwards: {value}", method=method) + EVIL)
    answer = client.take()
    assert status_of(answer) == 400
    assert header_of(answer, "x-316-code") == "316-VALIDATION-ERR"
    assert header_of(answer, "connection") == "close"
    assert client.is_closed
    assert wire.origins == []


def test_hops_said_twice_are_refused(wire: FakeWire) -> None:
    raw = get("/", "Max-Forwards: 5", "max-forwards: 5", method="TRACE")
    assert status_of(wire.ask(raw)) == 400
    assert wire.origins == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_other_methods_do_not_count_hops(wire: FakeWire, method: str) -> None:
    head = sent(wire, get("/", "Max-Forwards: 0", method=method))
    assert header_of(head, "max-forwards") == "0"


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS"])
def test_no_count_of_hops_is_made_up(wire: FakeWire, method: str) -> None:
    """9.3.7: only who sent the request may begin one."""
    assert header_of(sent(wire, get("/", method=method)), "max-forwards") is None


@pytest.mark.parametrize("body", [b"ab", b"a"])
def test_the_body_of_an_options_that_ends_here_is_no_request(
    wire: FakeWire, body: bytes
) -> None:
    """It is read to its end, or the connection ends."""
    raw = get("/", "Max-Forwards: 0", "Content-Length: 2", method="OPTIONS")
    client = wire.client()
    client.send(raw + body)
    answer = client.take()
    assert status_of(answer) == 200
    assert (header_of(answer, "connection") == "close") is (body == b"a")
    assert client.has_eof is (body == b"a")


@pytest.mark.parametrize("field", ["Content-Length: 2", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("hops", ["A: b", "Max-Forwards: 0", "Max-Forwards: 3"])
def test_a_trace_has_no_content(wire: FakeWire, field: str, hops: str) -> None:
    """9.3.8: it would only be there for somebody who reads it differently."""
    client = wire.client()
    client.send(get("/", field, hops, method="TRACE") + EVIL)
    answer = client.take()
    assert status_of(answer) == 400
    assert header_of(answer, "connection") == "close"
    assert wire.origins == []


# 7.6.3. Via.


@pytest.mark.parametrize("minor", [b"0", b"1"])
def test_via_tells_which_version_was_received(wire: FakeWire, minor: bytes) -> None:
    """In each message that goes on, behind those that are there."""
    raw = request(b"GET / HTTP/1." + minor, b"Host: test", b"Via: 1.0 a")
    vias = [x for x in sent(wire, raw).split(b"\r\n") if x.startswith(b"Via: ")]
    assert vias[0] == b"Via: 1.0 a"
    assert vias[1].startswith(b"Via: 1.%b sidecar" % minor)
    raw = response(b"Content-Length: 0", line=b"HTTP/1.%b 200 OK" % minor)
    assert b"\r\nVia: 1.%b sidecar\r\n" % minor in returned(wire, raw)


def test_an_interim_response_and_a_switch_have_a_via(wire: FakeWire) -> None:
    hints = b"HTTP/1.1 103 X\r\n\r\n"
    answer = returned(wire, hints + SWITCH, get("/", *UPGRADE))
    assert answer.count(b"\r\nVia: 1.1 sidecar\r\n") == 2


def test_a_message_does_not_go_in_circles(wire: FakeWire) -> None:
    """7.6: it is known by the name that this very process gave itself."""
    via = header_of(sent(wire, get()), "via")
    answer = wire.ask(get("/", f"Via: 1.1 other, {via}"))
    assert header_of(answer, "x-316-code") == "316-PROXY-LOOP"
    assert len(wire.origins) == 1


# 7.7. Transformations.


@pytest.mark.parametrize(
    "target", ["/a/../b", "//a", "/%2e%2E/", "/%zz", "/a;b=c", "/?", "/?a?b", "/\\{}|"]
)
def test_path_and_query_are_not_touched(wire: FakeWire, target: str) -> None:
    assert sent(wire, get(target)).startswith(f"GET {target} HTTP/1.1\r\n".encode())


def test_fields_about_the_content_are_not_touched(wire: FakeWire) -> None:
    """Whether or not no-transform is there: the content is never changed."""
    lines = [
        b"Cache-Control: no-transform",
        b"Content-Type: text/plain",
        b"Content-Encoding: gzip",
        b"Content-Language: en",
        b"Content-Location: /x",
        b"Content-Range: bytes 0-1/9",
        b'ETag: W/"a"',
        b"Expires: 0",
        b"Last-Modified: x",
        b"Server: theirs",
        b"Retry-After: 1",
        b"Allow: GET, HEAD",
        b'WWW-Authenticate: Basic realm="a", Digest',
        b"Vary: Accept",
        b"Location: /a b",
        b"Age: 1",
    ]
    raw = response(*lines, b"Content-Length: 2") + b"\x1f\x8b"
    answer = returned(wire, raw)
    assert b"\r\n".join(lines) in answer
    assert body_of(answer) == b"\x1f\x8b"


# 7.8. Upgrade.


def test_an_upgrade_goes_on_with_its_connection_option(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get("/", *UPGRADE))
    head = wire.origin().take()
    assert (header_of(head, "connection"), header_of(head, "upgrade")) == (
        "Upgrade",
        "echo",
    )
    wire.origin().send(SWITCH)
    answer = client.take()
    assert status_of(answer) == 101
    assert header_of(answer, "connection") == "Upgrade"


@pytest.mark.parametrize(
    ("lines", "switch"),
    [
        ((), SWITCH),
        (("Upgrade: echo",), SWITCH),
        (("Connection: Upgrade",), SWITCH),
        (("Connection: Upgrade", "Upgrade: h2c"), SWITCH.replace(b"echo", b"h2c")),
        (UPGRADE, SWITCH.replace(b"echo", b"other")),
        (UPGRADE, SWITCH.replace(b"echo", b"echo, h2c")),
        (UPGRADE, b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n"),
    ],
)
def test_a_switch_that_nobody_asked_for_is_replaced(
    wire: FakeWire, lines: tuple[str, ...], switch: bytes
) -> None:
    """No byte behind it reaches the client, nor does one of the client go through."""
    assert_replaced(wire, switch, request_=get("/", *lines))


def test_a_switch_before_the_request_is_whole_is_refused(wire: FakeWire) -> None:
    """What is left of its body would be taken for bytes of the tunnel."""
    client = wire.client()
    fields = [x.encode() for x in UPGRADE]
    client.send(post(*fields, b"Content-Length: 100") + b"part")
    wire.origin().take()
    wire.origin().send(SWITCH + b"hello")
    answer = client.take()
    assert status_of(answer) == 502
    assert header_of(answer, "connection") == "close"
    assert b"hello" not in answer
    client.send(EVIL)
    assert wire.origin().take() == b""
    assert wire.origin().is_closed


@pytest.mark.parametrize("name", [b"echo", b"Echo", b"ECHO"])
def test_protocol_names_are_compared_without_case(wire: FakeWire, name: bytes) -> None:
    answer = returned(wire, SWITCH.replace(b"echo", name), get("/", *UPGRADE))
    assert status_of(answer) == 101


def test_an_offer_of_http_2_does_not_go_on(wire: FakeWire) -> None:
    """Behind it, requests would pass that nobody here sees."""
    lines = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: a")
    head = sent(wire, get("/", *lines))
    for name in ("upgrade", "connection", "http2-settings"):
        assert header_of(head, name) is None
