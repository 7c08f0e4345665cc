"""What goes on as it came, what ends at this hop, and what this hop says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sidecar.wire.head import parse_request, parse_response
from tests.support.proxy import header_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
UNTRUSTED: dict[str, Any] = {"trusted_peers": []}


def sent(wire: FakeWire, *lines: str, path: str = "/") -> bytes:
    """Return the head that the origin gets."""
    client = wire.client()
    client.send(get(path, *lines))
    head = wire.origin().take()
    wire.origin().send(OK)
    return head


def returned(wire: FakeWire, *lines: str) -> bytes:
    """Return the answer that the client gets to a response with these fields."""
    head = ["HTTP/1.1 200 OK", "Content-Length: 2", *lines, "", "ok"]
    return wire.ask(get(), "\r\n".join(head).encode("latin-1"))


@pytest.mark.parametrize(
    "path", ["/a%2Fb/../c?x=1&&y=%20", "//x//", "/%00%zz", "/?", "/a;b=c/?d?e", "/~'()"]
)
def test_the_target_goes_on_byte_by_byte(wire: FakeWire, path: str) -> None:
    """What is normalised here, somebody behind us reads differently."""
    assert sent(wire, path=path).startswith(f"GET {path} HTTP/1.1\r\n".encode())


def test_order_case_and_duplicates_stay(wire: FakeWire) -> None:
    lines = [
        "X-B: 2",
        "x-a: 1",
        "X-B: 3",
        "ACCEPT:*/*",
        "Cookie: a=b",
        "cookie: c=\xe9",
    ]
    head = sent(wire, *lines)
    assert "\r\n".join(["Host: test", *lines]).encode("latin-1") in head
    answer = returned(wire, *lines, "Set-Cookie: a", "set-cookie: b")
    expected = [*lines, "Set-Cookie: a", "set-cookie: b"]
    assert "\r\n".join(expected).encode("latin-1") in answer


@pytest.mark.parametrize(
    "line",
    [
        "Keep-Alive: 5",
        "Proxy-Connection: x",
        "Proxy-Authorization: x",
        "Proxy-Authenticate: x",
        "TE: gzip",
        "Connection: keep-alive",
    ],
)
def test_what_is_for_one_connection_ends_here(wire: FakeWire, line: str) -> None:
    """RFC 9110, 7.6.1: in both directions, however it is spelt."""
    name = line.partition(":")[0]
    for spelt in (line, line.lower(), line.upper()):
        assert header_of(sent(wire, spelt), name) is None
        assert header_of(returned(wire, spelt), name) is None


def test_what_connection_names_ends_here(wire: FakeWire) -> None:
    lines = ("Connection: X-One, x-two", "X-ONE: 1", "X-Two: 2", "X-Three: 3")
    for head in (sent(wire, *lines), returned(wire, *lines)):
        assert header_of(head, "x-one") is None
        assert header_of(head, "x-two") is None
        assert header_of(head, "x-three") == "3"


def test_another_client_asks_the_same_and_is_sent_the_same(wire: FakeWire) -> None:
    """What is remembered of one does not leak into another."""
    lines = ("Accept: */*", "Connection: X-One", "X-One: 1")
    first, second = sent(wire, *lines), sent(wire, *lines)
    varying = ("x-request-id", "traceparent")
    for name in varying:
        assert header_of(first, name) != header_of(second, name)
    plain = [
        [
            x
            for x in head.split(b"\r\n")
            if not x.lower().startswith((b"x-req", b"trace"))
        ]
        for head in (first, second)
    ]
    assert plain[0] == plain[1]


def test_no_exchange_changes_what_is_remembered(make: MakeWire) -> None:
    """Many messages share a section, of this client and of others."""
    edits = {"remove": ["Accept"], "set": {"A": "b"}, "add": {"Vary": "x"}}
    wire = make(request_headers=edits, response_headers=edits, retry={"preset": "off"})
    asked, told = get("/", "Accept: x"), b"HTTP/1.1 503 No\r\nVary: y\r\n\r\n"
    for _ in range(2):
        parse_request(asked)
        parse_response(told, "GET")
    sections = parse_request(asked).section, parse_response(told, "GET").section
    before = [(list(one.lines), dict(one.named)) for one in sections]
    wire.ask(asked, told)
    wire.origin().send_eof()
    assert parse_request(asked).section is sections[0]
    assert parse_response(told, "GET").section is sections[1]
    assert [(one.lines, one.named) for one in sections] == before


def test_each_way_is_told_of_this_hop(wire: FakeWire) -> None:
    """RFC 9110, 7.6.3: behind those that were there before."""
    for head in (sent(wire, "Via: 1.0 x"), returned(wire, "Via: 1.0 x")):
        vias = [x for x in head.split(b"\r\n") if x.startswith(b"Via: ")]
        assert vias[0] == b"Via: 1.0 x"
        assert vias[1].startswith(b"Via: 1.1 sidecar")


def test_a_client_does_not_learn_what_would_look_like_a_loop(wire: FakeWire) -> None:
    """It could send it back, and have a P0 told at will."""
    told = header_of(returned(wire), "via") or ""
    assert sent(wire, f"Via: {told}").startswith(b"GET / HTTP/1.1")


def test_a_request_of_this_very_proxy_goes_in_a_circle(wire: FakeWire) -> None:
    via = header_of(sent(wire), "via")
    answer = wire.ask(get("/", f"Via: {via}"))
    assert header_of(answer, "x-316-code") == "316-PROXY-LOOP"


FORWARDED = (
    "X-Forwarded-For: 10.0.0.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop",
)


@pytest.mark.parametrize(
    ("top", "expected"),
    [
        ({}, ["10.0.0.9, 127.0.0.1", "https", "shop"]),
        (UNTRUSTED, ["127.0.0.1", "http", "test"]),
    ],
)
def test_what_is_said_of_others_is_believed_of_trusted_peers(
    make: MakeWire, top: dict[str, Any], expected: list[str]
) -> None:
    wire = make(top=top)
    head = sent(wire, *FORWARDED)
    names = [line.partition(":")[0] for line in FORWARDED]
    assert [header_of(head, name) for name in names] == expected
    assert head.lower().count(b"x-forwarded-") == 3


def test_trust_is_of_the_peer_and_not_of_the_proxy(make: MakeWire) -> None:
    wire = make(top={"trusted_peers": ["10.0.0.0/8"]})
    for peer, expected in (("10.1.2.3", "a, 10.1.2.3"), ("8.8.8.8", "8.8.8.8")):
        client = wire.client(peer)
        client.send(get("/", "X-Forwarded-For: a"))
        assert header_of(wire.origin().take(), "x-forwarded-for") == expected
        wire.origin().send(OK)


def test_a_request_id_is_kept_or_made(wire: FakeWire) -> None:
    assert header_of(sent(wire, "X-Request-Id: abc"), "x-request-id") == "abc"
    made = [str(header_of(sent(wire), "x-request-id")) for _ in range(3)]
    assert len(set(made)) == 3
    assert {len(one) for one in made} == {32}


@pytest.mark.parametrize("given", ["", "x" * 129])
def test_a_request_id_that_is_none_is_replaced(wire: FakeWire, given: str) -> None:
    head = sent(wire, f"x-request-id: {given}")
    assert header_of(head, "x-request-id") not in {given, None}
    assert head.lower().count(b"x-request-id") == 1


def trace_of(head: bytes) -> list[str]:
    return str(header_of(head, "traceparent")).split("-")


def test_a_valid_trace_goes_on(wire: FakeWire) -> None:
    """With this hop's own span as the parent, and the state as it came."""
    head = sent(wire, f"traceparent: 00-{TRACE}-{SPAN}-01", "tracestate: a=b, c=d")
    version, trace, span, flags = trace_of(head)
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert span not in {SPAN, "0" * 16}
    assert header_of(head, "tracestate") == "a=b, c=d"


@pytest.mark.parametrize(
    "value",
    [
        f"00-{'0' * 32}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        "x",
        "",
    ],
)
def test_an_invalid_one_starts_a_new_trace(wire: FakeWire, value: str) -> None:
    """W3C Trace Context, 3.3: and its state goes with it."""
    head = sent(wire, f"traceparent: {value}", "tracestate: a=b")
    assert trace_of(head)[1] not in {TRACE, "0" * 32}
    assert header_of(head, "tracestate") is None
    assert head.count(b"traceparent") == 1


@pytest.mark.parametrize(
    "lines",
    [
        (f"b3: {TRACE}-{SPAN}-1",),
        (f"X-B3-TraceId: {TRACE}", f"X-B3-SpanId: {SPAN}", "X-B3-Sampled: 1"),
    ],
)
def test_b3_is_understood_and_goes_on(wire: FakeWire, lines: tuple[str, ...]) -> None:
    head = sent(wire, *lines)
    assert trace_of(head)[1::2] == [TRACE, "01"]
    assert all(line.encode() in head for line in lines)


def test_the_absolute_form_goes_on_with_its_own_host(wire: FakeWire) -> None:
    """RFC 9112, 3.2.2: it wins over Host."""
    client = wire.client()
    client.send(b"GET http://shop:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
    head = wire.origin().take()
    assert head.startswith(b"GET /x?y HTTP/1.1\r\nHost: shop:81\r\n")
    assert header_of(head, "x-forwarded-host") == "shop:81"
    assert head.lower().count(b"\r\nhost:") == 1
    wire.origin().send(OK)


def test_the_asterisk_form_goes_on(wire: FakeWire) -> None:
    client = wire.client()
    client.send(get("*", method="OPTIONS"))
    assert wire.origin().take().startswith(b"OPTIONS * HTTP/1.1\r\n")
    wire.origin().send(OK)


def test_control_headers_of_strangers_end_here(make: MakeWire) -> None:
    wire = make(top=UNTRUSTED)
    head = sent(wire, "x-316-attempt: 7", "x-316-expose: full", "X-316-Retry: no")
    assert header_of(head, "x-316-attempt") == "1"
    assert header_of(head, "x-316-expose") is None
    assert header_of(head, "x-316-retry") is None


def test_what_is_between_two_proxies_does_not_go_back(wire: FakeWire) -> None:
    answer = returned(wire, "x-316-processed: no", "x-316-retry: exhausted", "A: b")
    assert b"x-316-" not in answer
    assert header_of(answer, "a") == "b"


def test_status_and_reason_go_back_as_they_came(wire: FakeWire) -> None:
    raw = b"HTTP/1.0 299 So \xe9 so\r\nContent-Length: 0\r\n\r\n"
    assert wire.ask(get(), raw).startswith(b"HTTP/1.1 299 So \xe9 so\r\n")


def test_edits_of_the_route_are_done(make: MakeWire) -> None:
    """Remove, then set, then add; what they do not name stays where it is."""
    edits = {"remove": ["A"], "set": {"B": "new"}, "add": {"C": "more"}}
    wire = make(request_headers=edits, response_headers=edits)
    lines = ("D: 1", "a: 1", "b: 1", "C: 1", "B: 2")
    for head in (sent(wire, *lines), returned(wire, *lines)):
        order = [line for line in head.split(b"\r\n") if line[:1] in b"ABCDabcd"]
        kept = [line for line in order if line[1:2] == b":"]
        assert kept == [b"D: 1", b"C: 1", b"B: new", b"C: more"]


def test_paths_are_rewritten_and_nothing_else(make: MakeWire) -> None:
    wire = make(matches=[{"path": {"value": "/api"}}], rewrite={"prefix": "/v2"})
    assert sent(wire, path="/api/%2e/x?y=/api").startswith(b"GET /v2/%2e/x?y=/api HTTP")
