"""RFC 9110, sections 8 to 14: lengths, methods, expectations, conditions, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.sides import post, request, response, returned, sent
from tests.support.proxy import body_of, header_of, status_of
from tests.support.wire import OK, get

if TYPE_CHECKING:
    from tests.exchange.conftest import MakeWire
    from tests.support.wire import FakeWire

IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]
HOST = b"Host: test"


# 8.6. Content-Length.


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 304), ("HEAD", 304)]
)
def test_a_length_that_another_response_would_have_is_told(
    wire: FakeWire, method: str, status: int
) -> None:
    raw = response(b"Content-Length: 70", line=b"HTTP/1.1 %d X" % status)
    answer = returned(wire, raw, get(method=method))
    assert header_of(answer, "content-length") == "70"
    assert body_of(answer) == b""


@pytest.mark.parametrize("value", [b"", b"a", b"5, 5", b"-1", b"5 5", b"9" * 30])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_length_that_is_none_is_never_sent_on(
    wire: FakeWire, method: str, value: bytes
) -> None:
    """Also where it frames nothing: a 304, or the answer to HEAD."""
    raw = response(b"Content-Length: " + value, line=b"HTTP/1.1 304 X")
    assert status_of(returned(wire, raw, get(method=method))) == 502


# 9. Methods.


def test_the_answer_to_head_has_no_content(wire: FakeWire) -> None:
    """9.3.2: that of this proxy neither, but the fields that a GET would get."""
    raw = response(b"Content-Type: a/b", b"ETag: c", b"Content-Length: 7")
    answer = returned(wire, raw, get(method="HEAD"))
    assert b"Content-Type: a/b\r\nETag: c\r\nContent-Length: 7\r\n" in answer
    assert body_of(answer) == b""


def test_a_refusal_of_head_has_no_content(make: MakeWire) -> None:
    wire = make(hosts=["elsewhere.test"])
    answer = wire.ask(get(method="HEAD"))
    assert status_of(answer) == 404
    assert int(str(header_of(answer, "content-length"))) > 0
    assert body_of(answer) == b""


@pytest.mark.parametrize("method", [*IDEMPOTENT, "POST", "PATCH"])
def test_only_what_is_idempotent_is_tried_again(make: MakeWire, method: str) -> None:
    """9.2.2: after a loss from which nobody can tell whether it was acted on."""
    wire = make(retry={"preset": "idempotent", "max_retries": 1})
    client = wire.client()
    client.send(get(method=method))
    wire.origin().send(response(b"Content-Length: 0", line=b"HTTP/1.1 503 No"))
    wire.clock.advance(1)
    assert len(b"".join(o.received for o in wire.origins).split(b" / HTTP/1.1")) == (
        3 if method in IDEMPOTENT else 2
    )
    client.leave()


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_content_of_a_method_that_has_none_goes_on_as_content(
    wire: FakeWire, method: str
) -> None:
    """9.3.1, 9.3.2, 9.3.5: it has no meaning, and must not get one."""
    raw = sent(
        wire,
        get("/", "Content-Length: 2", method=method) + b"ok",
        response(b"Content-Length: 0"),
    )
    assert (header_of(raw, "content-length"), body_of(raw)) == ("2", b"ok")


def test_a_trace_without_a_count_of_hops_goes_to_its_end(wire: FakeWire) -> None:
    answer = returned(wire, OK, get(method="TRACE"))
    assert body_of(answer) == b"ok"


# 10. Context.


def test_an_expectation_goes_on_and_the_body_waits(wire: FakeWire) -> None:
    """10.1.1: the proxy forwards the head at once, and says no 100 of its own."""
    client = wire.client()
    client.send(post(b"Content-Length: 2", b"Expect: 100-continue"))
    assert header_of(wire.origin().take(), "expect") == "100-continue"
    assert client.take() == b""
    wire.origin().send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 100 Continue\r\n")
    client.send(b"ok")
    assert wire.origin().take() == b"ok"
    wire.origin().send(OK)
    assert status_of(client.take()) == 200


def test_a_final_answer_in_place_of_a_100_says_that_it_ends(wire: FakeWire) -> None:
    client = wire.client()
    client.send(post(b"Content-Length: 2", b"Expect: 100-continue"))
    wire.origin().send(response(b"Content-Length: 0", line=b"HTTP/1.1 417 No"))
    answer = client.take()
    assert status_of(answer) == 417
    assert header_of(answer, "connection") == "close"


def test_an_expectation_of_http_1_0_is_ignored(wire: FakeWire) -> None:
    fields = (HOST, b"Content-Length: 2", b"Expect: 100-continue")
    raw = sent(wire, request(b"POST / HTTP/1.0", *fields) + b"ok")
    assert header_of(raw, "expect") is None
    assert body_of(raw) == b"ok"


@pytest.mark.parametrize("value", ["other", "100-continue, other"])
def test_an_unknown_expectation_is_for_the_origin(wire: FakeWire, value: str) -> None:
    assert header_of(sent(wire, get("/", f"Expect: {value}")), "expect") == value


def test_fields_of_the_user_are_not_touched(wire: FakeWire) -> None:
    """10.1, 11.6.2, 12.5: Authorization least of all."""
    lines = [
        "Authorization: Basic YTpi, x",
        "From: a@b",
        "Referer: http://test/x",
        "User-Agent: theirs/1 (a)",
        "Accept: a/b;q=0.1234, */*",
        "Accept-Encoding: gzip;q=0, x",
        "Accept-Language: *",
        'Cookie: a=b; c="d"',
    ]
    assert "\r\n".join(lines).encode() in sent(wire, get("/", *lines))


# 13, 14. Conditions and ranges.


def test_conditions_are_for_the_origin(wire: FakeWire) -> None:
    """13.2.1: who is neither origin nor cache must send them on, and not judge."""
    lines = [
        'If-Match: "a", W/"b"',
        "If-None-Match: *",
        "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT",
        "If-Unmodified-Since: nonsense",
        'If-Range: "a"',
        "Range: bytes=0-1, 5-",
    ]
    assert "\r\n".join(lines).encode() in sent(wire, get("/", *lines))


@pytest.mark.parametrize("status", [206, 304, 412, 416])
def test_the_answer_to_a_condition_or_a_range_goes_back_as_it_came(
    wire: FakeWire, status: int
) -> None:
    """14.4: also a range in a unit that nobody here knows; 15.4.5."""
    lines = [b"Content-Range: cows 1-2/3", b'ETag: "a"', b"Content-Length: 2"]
    raw = response(*lines, line=b"HTTP/1.1 %d X" % status)
    answer = returned(wire, raw + (b"" if status == 304 else b"ok"))
    assert status_of(answer) == status
    assert b"\r\n".join(lines) in answer
    assert body_of(answer) == (b"" if status == 304 else b"ok")


def test_parts_of_a_range_are_not_touched(wire: FakeWire) -> None:
    content = b"--a\r\nContent-Range: bytes 0-1/9\r\n\r\nok\r\n--a--\r\n"
    kind = b"Content-Type: multipart/byteranges; boundary=a"
    length = b"Content-Length: %d" % len(content)
    raw = response(kind, length, line=b"HTTP/1.1 206 X") + content
    assert body_of(returned(wire, raw)) == content
