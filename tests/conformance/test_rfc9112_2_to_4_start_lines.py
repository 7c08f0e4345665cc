"""RFC 9112, sections 2 to 4: messages, request lines and targets, status lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import (
    assert_refused,
    assert_replaced,
    request,
    response,
    returned,
    sent,
)
from tests.support.proxy import header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

HOST = b"Host: test"


# 2. Message.


@pytest.mark.parametrize("lines", [b"\r\n", b"\r\n\r\n\r\n"])
def test_empty_lines_before_a_request_are_ignored(wire: FakeWire, lines: bytes) -> None:
    assert sent(wire, lines + get("/a")).startswith(b"GET /a HTTP/1.1\r\n")


@pytest.mark.parametrize("before", [b"\n", b"\r", b" ", b"\t", b"\0", b"\r\r\n"])
def test_nothing_else_may_stand_before_a_request(wire: FakeWire, before: bytes) -> None:
    assert_refused(wire, before + get())


@pytest.mark.parametrize("blank", [b" ", b"\t", b" X: y\r\n", b"\x0b"])
def test_white_space_below_the_start_line_is_refused(
    wire: FakeWire, blank: bytes
) -> None:
    assert_refused(wire, b"GET / HTTP/1.1\r\n" + blank + HOST + b"\r\n\r\n")
    assert_replaced(wire, b"HTTP/1.1 200 OK\r\n" + blank + b"A: b\r\n\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\nA: b\r\n\r\n",
        b"GET / HTTP/1.1\rHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: te\rst\r\n\r\n",
    ],
)
def test_only_crlf_ends_a_line(wire: FakeWire, raw: bytes) -> None:
    """A bare CR must be refused; a bare LF is what smuggled requests are made of."""
    assert_refused(wire, raw)


def test_a_head_of_bare_lfs_is_no_head(wire: FakeWire) -> None:
    """It is not read as one, and what follows is a part of it: so it is refused."""
    assert_refused(wire, b"GET / HTTP/1.1\nHost: test\n\n")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\r\nA: b\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_only_crlf_ends_a_line_of_a_response(wire: FakeWire, raw: bytes) -> None:
    assert_replaced(wire, raw)


@pytest.mark.parametrize(
    "raw", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET /\r\n\r\n", b"hello\r\n\r\n"]
)
def test_what_is_not_http_1_is_refused(wire: FakeWire, raw: bytes) -> None:
    assert_refused(wire, raw)


def test_octets_beyond_ascii_go_on_as_they_are(wire: FakeWire) -> None:
    assert b"\r\nA: \xe9\xff\r\n" in sent(wire, get("/", "A: \xe9\xff"))
    assert b"\r\nA: \xe9\xff\r\n" in returned(wire, response(b"A: \xe9\xff"))


@pytest.mark.parametrize("minor", [b"0", b"1"])
def test_each_way_this_hop_says_its_own_version(wire: FakeWire, minor: bytes) -> None:
    assert b" HTTP/1.1\r\n" in sent(wire, request(b"GET / HTTP/1." + minor, HOST))
    raw = response(b"Content-Length: 0", line=b"HTTP/1.%b 200 OK" % minor)
    assert returned(wire, raw).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("version", "status"),
    [
        (b"HTTP/1.2", 505),
        (b"HTTP/1.9", 505),
        (b"HTTP/0.9", 505),
        (b"HTTP/2.0", 505),
        (b"HTTP/3.0", 505),
        (b"HTTP/1.01", 400),
        (b"HTTP/01.1", 400),
        (b"HTTP/1", 400),
        (b"HTTP/1.1.1", 400),
        (b"HTTP/1,1", 400),
        (b"HTTP/ 1.1", 400),
        (b"HTTPS/1.1", 400),
        (b"http/1.1", 400),
        (b"HTTP/1.\xb9", 400),
        (b"", 400),
    ],
)
def test_a_version_that_is_not_spoken_is_refused(
    wire: FakeWire, version: bytes, status: int
) -> None:
    assert_refused(wire, request(b"GET / " + version, HOST), status)


def test_the_preface_of_http_2_is_answered_in_http_1(wire: FakeWire) -> None:
    assert_refused(wire, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)


# 3. Request line.


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET\x0b/ HTTP/1.1",
        b"GET /\tHTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\x0c HTTP/1.1",
        b"GET /\0 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /#a HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET HTTP/1.1",
        b"/ HTTP/1.1",
    ],
)
def test_a_malformed_request_line_is_refused(wire: FakeWire, line: bytes) -> None:
    """One space on each side of a target of visible ASCII; nothing is corrected."""
    assert_refused(wire, request(line, HOST))


@pytest.mark.parametrize(
    ("method", "status"),
    [
        (b"get", 501),
        (b"Get", 501),
        (b"BREW", 501),
        (b"X" * 200, 501),
        (b"GET\0", 400),
        (b"G/T", 400),
        (b"G(T", 400),
        (b"\xc7ET", 400),
        (b'"GET"', 400),
    ],
)
def test_a_method_that_does_not_exist_is_refused(
    wire: FakeWire, method: bytes, status: int
) -> None:
    """Names are case-sensitive; one that is no token is no method at all."""
    assert_refused(wire, request(method + b" / HTTP/1.1", HOST), status)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "PROPFIND"])
def test_a_method_goes_on_as_it_came(wire: FakeWire, method: str) -> None:
    assert sent(wire, get("/", method=method)).startswith(f"{method} / ".encode())


def test_a_request_line_of_8000_bytes_is_read(wire: FakeWire) -> None:
    """And one beyond the limit is told to be too long, as soon as it is."""
    target = "/" + "x" * (8000 - len("GET / HTTP/1.1"))
    assert target.encode() in sent(wire, get(target))
    assert_refused(wire, get("/" + "x" * 9000), 414)


# 3.2. Request target, and Host.


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (b"A: b",),
        (HOST, HOST),
        (HOST, b"host: other"),
        (b"Host: a, b",),
        (b"Host:",),
        (b"Host: ",),
        (b"Host: :80",),
        (b"Host: a b",),
        (b"Host: a/b",),
        (b"Host: a?b",),
        (b"Host: user@a",),
        (b"Host: a:b",),
        (b"Host: a:65536",),
        (b"Host: a:-1",),
        (b"Host: a:80:80",),
        (b"Host: [::1",),
        (b"Host: [::1]a",),
        (b"Host: ::1",),
        (b"Host: http://a",),
        (b"Host: a\\b",),
        (b"Host: \xff",),
        (b"Host: a\tb",),
        (b"Host: a\0b",),
    ],
)
@pytest.mark.parametrize("target", [b"/", b"http://a/", b"*"])
def test_host_is_there_once_and_well_formed(
    wire: FakeWire, fields: tuple[bytes, ...], target: bytes
) -> None:
    method = b"OPTIONS" if target == b"*" else b"GET"
    assert_refused(wire, request(b"%b %b HTTP/1.1" % (method, target), *fields))


def test_http_1_0_may_leave_host_out_but_not_say_it_twice(wire: FakeWire) -> None:
    raw = sent(wire, b"GET / HTTP/1.0\r\n\r\n")
    assert raw.count(b"\r\nHost: 10.0.0.1:80\r\n") == 1
    assert_refused(wire, request(b"GET / HTTP/1.0", HOST, HOST))
    assert_refused(wire, request(b"GET / HTTP/1.0", b"Host: a b"))


@pytest.mark.parametrize(
    "target", [b"x", b"?a", b"./", b"test:80", b"*", b"*/", b"%2F"]
)
def test_a_target_of_no_known_form_is_refused(wire: FakeWire, target: bytes) -> None:
    """The asterisk is for OPTIONS, host and port for CONNECT."""
    assert_refused(wire, request(b"GET %b HTTP/1.1" % target, HOST))


@pytest.mark.parametrize(
    ("target", "line", "host"),
    [
        (b"http://a/b?c", b"GET /b?c HTTP/1.1", "a"),
        (b"http://a", b"GET / HTTP/1.1", "a"),
        (b"http://a?c", b"GET /?c HTTP/1.1", "a"),
        (b"HTTP://A:80/", b"GET / HTTP/1.1", "A:80"),
        (b"http://[::1]:8/b", b"GET /b HTTP/1.1", "[::1]:8"),
        (b"http://test/", b"GET / HTTP/1.1", "test"),
    ],
)
def test_the_absolute_form_becomes_origin_form_with_one_host(
    wire: FakeWire, target: bytes, line: bytes, host: str
) -> None:
    """3.2.2: the host of the target replaces Host, whatever that says."""
    head = sent(wire, request(b"GET %b HTTP/1.1" % target, b"A: b", HOST))
    assert head.startswith(line + b"\r\n")
    assert header_of(head, "host") == host
    assert head.lower().count(b"\r\nhost:") == 1
    assert header_of(head, "x-forwarded-host") == host


def test_the_absolute_form_decides_the_route(make: MakeWire) -> None:
    """Whoever trusts Host here and the target there is fooled."""
    wire = make(hosts=["public.test"])
    raw = request(b"GET http://secret.test/ HTTP/1.1", b"Host: public.test")
    assert status_of(wire.ask(raw)) == 404
    raw = request(b"GET http://public.test/ HTTP/1.1", b"Host: secret.test")
    assert status_of(wire.ask(raw, OK)) == 200
    assert header_of(wire.origin().received, "host") == "public.test"


@pytest.mark.parametrize(
    "target",
    [
        b"http:///b",
        b"http://",
        b"http://:80/",
        b"http://u@a/",
        b"http://u:p@a/",
        b"http://a:b/",
        b"http://a:65536/",
        b"http://a/#b",
        b"http:/a",
        b"https://a/",
        b"ftp://a/",
        b"ws://a/",
    ],
)
def test_an_absolute_form_that_means_nothing_here_is_refused(
    wire: FakeWire, target: bytes
) -> None:
    """RFC 9110, 4.2.1 and 4.2.4: no empty host, no user; 7.4: https needs TLS."""
    assert_refused(wire, request(b"GET %b HTTP/1.1" % target, HOST))


@pytest.mark.parametrize(
    "target", [b"test:443", b"/", b"*", b"http://a/", b"a:0", b"a:99999"]
)
def test_connect_is_not_served(wire: FakeWire, target: bytes) -> None:
    assert_refused(wire, request(b"CONNECT %b HTTP/1.1" % target, HOST), 501)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (b"*", b"OPTIONS * HTTP/1.1"),
        (b"http://a", b"OPTIONS * HTTP/1.1"),
        (b"http://a:80", b"OPTIONS * HTTP/1.1"),
        (b"http://a/", b"OPTIONS / HTTP/1.1"),
        (b"http://a?b", b"OPTIONS /?b HTTP/1.1"),
    ],
)
def test_options_of_a_server_as_a_whole_goes_on_as_an_asterisk(
    wire: FakeWire, target: bytes, line: bytes
) -> None:
    """3.2.4: also where the absolute form has neither path nor query."""
    head = sent(wire, request(b"OPTIONS %b HTTP/1.1" % target, HOST))
    assert head.startswith(line + b"\r\n")


# 4. Status line.


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 0x1 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 2\xb20 OK",
        b"HTTP/1.1 OK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b" HTTP/1.1 200 OK",
        b"200 OK",
    ],
)
def test_a_malformed_status_line_is_replaced(wire: FakeWire, line: bytes) -> None:
    assert_replaced(wire, response(b"Content-Length: 0", line=line))


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 "])
def test_the_space_before_a_reason_is_always_sent(wire: FakeWire, line: bytes) -> None:
    answer = returned(wire, response(b"Content-Length: 0", line=line))
    assert answer.startswith(b"HTTP/1.1 200 \r\n")
