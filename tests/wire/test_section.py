"""What is remembered of header sections changes nothing but the time it takes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.model import STAYS_HERE, HeaderSection
from sidecar.wire import head, section
from sidecar.wire.fields import request_use, response_use
from sidecar.wire.head import HeadError, parse_request, parse_response
from sidecar.wire.section import SectionReader

if TYPE_CHECKING:
    from collections.abc import Iterator


REQUEST = [
    "method",
    "line",
    "target",
    "path",
    "query",
    "minor",
    "authority",
    "host",
    "named",
    "upgrade",
]
RESPONSE = ["status", "reason", "minor", "named"]
FRAMING = ["body_bytes", "keep_alive"]
START = b"GET / HTTP/1.1"
LINES = [
    b"Host: a",
    b"host: A:80",
    b"Accept: */*",
    b"accept:x ",
    b"Accept : x",
    b"Connection: close",
    b"Connection: keep-alive, X-A",
    b"Connection: Upgrade",
    b"Upgrade: echo",
    b"Content-Length: 3",
    b"content-length: 4",
    b"Content-Length: +3",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding:\tChunked",
    b"Transfer-Encoding: gzip",
    b"Cookie: a=b",
    b"X-A: 1",
    b"Server: s",
    b"Server: s\rX: y",
    b"Server: \0",
    b" folded",
    b"",
]
REQUESTS = st.builds(
    lambda line, lines: b"\r\n".join([line, *lines, b"", b""]),
    st.sampled_from([START, b"POST /x HTTP/1.1", b"GET / HTTP/1.0"]),
    st.lists(st.sampled_from(LINES), max_size=4),
)
RESPONSES = st.builds(
    lambda line, lines: b"\r\n".join([line, *lines, b"", b""]),
    st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404 No", b"HTTP/1.0 200 OK"]),
    st.lists(st.sampled_from(LINES), max_size=4),
)
BODILESS = st.builds(
    lambda line, lines: b"\r\n".join([line, *lines, b"", b""]),
    st.sampled_from([b"HTTP/1.1 101 X", b"HTTP/1.1 204 X", b"HTTP/1.1 304 X"]),
    st.lists(st.sampled_from(LINES), max_size=4),
)
SWITCH = b"HTTP/1.1 101 X\r\nServer: s\r\n\r\n"
BOTH = (b"Content-Length: 3", b"Transfer-Encoding: chunked")
NO_BODY = b"\r\n".join([b"HTTP/1.1 304 X", *BOTH, b"", b""])


@contextmanager
def nothing_known() -> Iterator[None]:
    """Forget all that was read, and know it again afterwards."""
    kept = head._requests, head._responses, head._methods
    head._requests = request_reader()
    head._responses = SectionReader(
        httptools.HttpResponseParser, b"HTTP/1.1 200 OK", response_use
    )
    head._methods = {}
    yield
    head._requests, head._responses, head._methods = kept


def request_reader() -> SectionReader[head.RequestFacts]:
    return SectionReader(httptools.HttpRequestParser, START, request_use)


def meaning(raw: bytes) -> object:
    """Return all that is read from a head, or that it is refused."""
    parsed: Any
    is_response = raw.startswith(b"HTTP")
    try:
        parsed = parse_response(raw, "GET") if is_response else parse_request(raw)
    except HeadError:
        return "refused"
    lines = parsed.section.lines
    facts = [
        getattr(parsed, name)
        for name in FRAMING + (RESPONSE if is_response else REQUEST)
    ]
    return [*facts, lines, parsed.fields, parsed.section.sent_on()]


def read_again(raws: list[bytes]) -> None:
    """Compare each reading with one that remembers nothing."""
    for raw in [*raws, *raws, *reversed(raws)]:
        with nothing_known():
            first = meaning(raw)
        assert meaning(raw) == first


@given(raws=st.lists(REQUESTS, min_size=1, max_size=4))
def test_a_remembered_request_means_what_a_new_one_means(raws: list[bytes]) -> None:
    """Else what another client sent before would decide how ours is read."""
    read_again(raws)


@given(raws=st.lists(RESPONSES, min_size=1, max_size=4))
def test_a_remembered_response_means_what_a_new_one_means(raws: list[bytes]) -> None:
    read_again(raws)


@example(raws=[b"HTTP/1.1 200 X\r\nServer: s\r\n\r\n", SWITCH])
@example(raws=[b"HTTP/1.1 200 X\r\n%b\r\n\r\n" % line for line in BOTH] + [NO_BODY])
@given(raws=st.lists(BODILESS | RESPONSES, min_size=2, max_size=4))
def test_a_remembered_head_without_a_body_means_the_same(raws: list[bytes]) -> None:
    read_again(raws)


def test_a_section_that_comes_again_is_the_same_object() -> None:
    """Once all of its lines are known; that is what remembering is for."""
    reader, raw = request_reader(), b"Host: a\r\nAccept: x\r\n\r\n"
    reader.read(raw)
    known = reader.read(raw)
    assert reader.read(raw) is known


SECRET = [
    b"Authorization: Bearer s3cret",
    b"Proxy-Authorization: Basic s3cret",
    b"Cookie: sid=s3cret",
    b"Set-Cookie: sid=s3cret",
    b"X-Api-Key: s3cret",
    b"X-Auth-Token: s3cret",
    b"X-CSRF-Token: s3cret",
    b"X-Amz-Security-Token: s3cret",
    b"Referer: http://a/?token=s3cret",
    b"Sec-WebSocket-Key: s3cret",
    b"traceparent: 00-s3cret",
    b"x-request-id: s3cret",
    b"X-Forwarded-For: s3cret",
    b"If-None-Match: s3cret",
    b"X-Whatever: s3cret",
]


@pytest.mark.parametrize("line", SECRET)
def test_nothing_secret_is_remembered(line: bytes) -> None:
    """Neither alone nor as a part of a section, however often it comes."""
    reader = request_reader()
    for spelling in (line, line.lower(), line):
        reader.read(b"Host: a\r\n" + spelling + b"\r\n\r\n")
    assert b"s3cret" not in b"".join([*reader._lines, *reader._sections])


def test_names_that_are_remembered_hold_no_secret() -> None:
    """The list is short: whoever adds to it reads this first."""
    odd = ("auth", "cookie", "key", "token", "secret", "session", "pass", "-id", "ip")
    names = [name.decode() for name in section._REPEATING]
    odd_names = [name for name in names if any(word in name for word in odd)]
    assert odd_names == []


@pytest.mark.parametrize(
    "line", [b"Accept : x", b"Accept: \0", b"Accept: a\rb", b"Accept", b" Accept: x"]
)
def test_a_refused_line_is_not_remembered(line: bytes) -> None:
    reader, raw = request_reader(), b"Host: a\r\n" + line + b"\r\n\r\n"
    for _ in range(3):
        with pytest.raises(HeadError):
            reader.read(raw)
    assert set(reader._lines) <= {b"Host: a"}
    assert set(reader._names) <= {b"Host"}
    assert not reader._sections


@pytest.mark.parametrize(
    "line", [b"X-A", b"X-A: \0", b"X-A: a\rb", b"X-A: \x7f", b"X-A : x", b"X-A: a\nb"]
)
def test_a_known_name_lets_no_odd_line_in(line: bytes) -> None:
    reader = request_reader()
    reader.read(b"X-A: fine\r\n\r\n")
    with pytest.raises(HeadError):
        reader.read(line + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"Host: a", b"Host: a"),
        (b"Host: a", b"host: b"),
        (b"Content-Length: 3", b"Content-Length: 3"),
        (b"Content-Length: 3", b"content-length: 4"),
    ],
)
def test_one_of_a_kind_stays_one_when_both_are_known(one: bytes, other: bytes) -> None:
    """RFC 9112, 3.2 and 6.3: each line alone is fine, and was seen before."""
    reader = request_reader()
    for line in (one, other):
        reader.read(line + b"\r\n\r\n")
    assert {one, other} <= reader._lines.keys()
    for _ in range(2):
        with pytest.raises(HeadError):
            reader.read(one + b"\r\n" + other + b"\r\n\r\n")
    assert reader._sections.keys() <= {one + b"\r\n\r\n", other + b"\r\n\r\n"}


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_two_lengths_are_refused_when_both_are_known(order: slice) -> None:
    """RFC 9112, 6.1: what could smuggle a request is no request."""
    host, length, coding = LINES[0], b"Content-Length: 3", b"Transfer-Encoding: chunked"
    for line in (length, coding):
        parse_request(b"\r\n".join([b"POST / HTTP/1.1", host, line, b"", b""]))
    both = [length, coding][order]
    for _ in range(3):
        with pytest.raises(HeadError):
            parse_request(b"\r\n".join([b"POST / HTTP/1.1", host, *both, b"", b""]))


def test_http_1_0_and_1_1_share_lines_but_not_their_meaning() -> None:
    """Without Connection one closes, the other does not; 1.0 needs no Host."""
    lines = b"Host: a\r\nAccept: shared\r\n\r\n"
    for _ in range(3):
        assert parse_request(b"GET / HTTP/1.1\r\n" + lines).keep_alive
        assert not parse_request(b"GET / HTTP/1.0\r\n" + lines).keep_alive
    for _ in range(3):
        assert parse_request(b"GET / HTTP/1.0\r\nAccept: shared\r\n\r\n").host == b""
        with pytest.raises(HeadError):
            parse_request(b"GET / HTTP/1.1\r\nAccept: shared\r\n\r\n")


def test_too_many_fields_are_too_many_when_they_are_known() -> None:
    raw = START + b"\r\nHost: a\r\n" + b"Accept: x\r\n" * 9 + b"\r\n"
    for _ in range(3):
        assert len(parse_request(raw, 10).fields) == 10
        with pytest.raises(HeadError):
            parse_request(raw, 9)


def test_the_memory_is_bounded() -> None:
    """Whatever clients send: this many lines and sections, each this long."""
    reader = request_reader()
    for n in range(section._MAX_LINES + 100):
        raw = b"Accept: %d\r\n\r\n" % n
        reader.read(raw)
        reader.read(raw)
        assert len(reader._sections) <= section._MAX_SECTIONS
    assert 0 < len(reader._lines) <= section._MAX_LINES


def test_what_is_long_is_not_remembered() -> None:
    reader = request_reader()
    long_line = b"Accept: " + b"x" * section._MAX_LINE_BYTES
    long_section = b"Accept: x\r\n" * 200 + b"\r\n"
    for raw in (long_line + b"\r\n\r\n", long_section):
        for _ in range(3):
            reader.read(raw)
    assert reader._lines.keys() == {b"Accept: x"}
    assert reader._sections == {}


def test_a_line_means_the_same_beside_any_other() -> None:
    reader = request_reader()
    first = reader.read(b"Connection: X-A\r\nX-A: 1\r\nTE: trailers\r\n\r\n")
    again = reader.read(b"TE: trailers\r\nConnection: X-A\r\n\r\n")
    assert [x.use for x in first.lines] == [STAYS_HERE, 0, STAYS_HERE]
    assert again.lines == [first.lines[2], first.lines[0]]


def test_what_is_sent_on_is_asked_for_by_trust() -> None:
    """The answer for one does not become the answer for the other."""
    reader = request_reader()
    raw = b"A: 1\r\nx-316-expose: full\r\nConnection: A\r\n\r\n"
    found = reader.read(raw)
    for _ in range(2):
        assert found.sent_on(0) == b"A: 1\r\n"
        assert found.sent_on(1) == b"A: 1\r\nx-316-expose: full\r\n"


def test_an_empty_section_has_no_lines() -> None:
    found: HeaderSection[head.RequestFacts] = request_reader().read(b"\r\n")
    assert found.lines == []
    assert found.named == {}
    assert found.fields == []
    assert found.sent_on() == b""
