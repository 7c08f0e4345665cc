"""Heads: what is accepted means one thing only."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import CHUNKED, UNTIL_CLOSE
from sidecar.wire.head import HeadError, parse_request, parse_response


def request(line: bytes = b"GET / HTTP/1.1", *fields: bytes) -> bytes:
    return b"\r\n".join([line, b"Host: a", *fields]) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET /\x80 HTTP/1.1", 400),
        (b"FOO / HTTP/1.1", 501),
        (b"get / HTTP/1.1", 501),
        (b"GET /#x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"CONNECT a:1 HTTP/1.1", 501),
        (b"GET / HTTP/1.1 ", 400),
    ],
)
def test_odd_request_lines(line: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        parse_request(request(line))
    assert caught.value.status == status


def test_the_absolute_form_decides_the_host() -> None:
    head = parse_request(request(b"GET http://B:80/x?y HTTP/1.1"))
    assert (head.authority, head.host, head.path) == (b"B:80", b"b", b"/x")
    assert head.query == b"y"


def test_http_2_in_disguise_is_not_offered_on() -> None:
    fields = (b"Connection: Upgrade", b"Upgrade: h2c")
    assert parse_request(request(b"GET / HTTP/1.1", *fields)).upgrade is None


@pytest.mark.parametrize(
    ("status", "method", "fields", "length"),
    [
        (200, "HEAD", b"Content-Length: 5\r\n", 0),
        (204, "GET", b"", 0),
        (304, "GET", b"Content-Length: 5\r\n", 0),
        (200, "GET", b"", UNTIL_CLOSE),
        (200, "GET", b"Content-Length: 5\r\n", 5),
        (200, "GET", b"Transfer-Encoding: chunked\r\n", CHUNKED),
    ],
)
def test_where_a_response_ends(
    status: int, method: str, fields: bytes, length: int
) -> None:
    raw = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields)
    assert parse_response(raw, method).body_bytes == length


@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from([b"A", b"Content-Length", b"Transfer-Encoding", b"B "]),
            st.sampled_from(
                [b"5", b"+5", b"chunked", b"5, 5", b"x\x0by", b"\xffz", b""]
            ),
        ),
        max_size=3,
    )
)
def test_what_is_accepted_another_parser_reads_alike(
    fields: list[tuple[bytes, bytes]],
) -> None:
    raw = request(b"POST / HTTP/1.1", *(b": ".join(field) for field in fields))
    try:
        head = parse_request(raw)
    except HeadError:
        return
    peer = h11.Connection(h11.SERVER)
    peer.receive_data(raw)
    event = peer.next_event()
    assert isinstance(event, h11.Request)
    named = dict(event.headers)
    assert (head.body_bytes == CHUNKED) == (b"transfer-encoding" in named)
    assert max(head.body_bytes, 0) == int(named.get(b"content-length", b"0"))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    """Whatever comes, there is a head or the one documented error."""
    for parse in (parse_request, lambda raw: parse_response(raw, "GET")):
        try:
            parse(data + b"\r\n\r\n")
        except HeadError:
            continue
