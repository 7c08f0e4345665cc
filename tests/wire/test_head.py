"""Heads: what is accepted means one thing only."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import CHUNKED, NO_BODY, UNTIL_CLOSE
from sidecar.wire.head import CodingError, HeadError, parse_request, parse_response

TOKEN = "!#$%&'*+-.^_`|~019AZaz"
FIELDS = st.lists(
    st.tuples(
        st.text(TOKEN, min_size=1, max_size=9).map(lambda name: f"X-{name}".encode()),
        st.text("ab \t:,\xe9", max_size=9).map(lambda v: v.strip(" \t").encode()),
    ),
    max_size=6,
)
BLANKS = st.sampled_from([b"", b" ", b"\t", b" \t "])
H11_NONE = "h11 refused it"


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
        (b" GET / HTTP/1.1", 400),
        (b"\r\nGET / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/0.9", 505),
        (b"G\0T / HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET /\0 HTTP/1.1", 400),
        (b"GET http://a/#x HTTP/1.1", 400),
        (b"GET ftp://a/ HTTP/1.1", 400),
        (b"GET https://a/ HTTP/1.1", 400),
        (b"GET http:///x HTTP/1.1", 400),
        (b"GET http://:80/x HTTP/1.1", 400),
        (b"GET http://u@a/ HTTP/1.1", 400),
        (b"GET http://a:x/ HTTP/1.1", 400),
        (b"CONNECT / HTTP/1.1", 501),
        (b"CONNECT * HTTP/1.1", 501),
        (b"CONNECT http://a/ HTTP/1.1", 501),
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


@pytest.mark.parametrize("value", [b"h2c", b"H2C", b"websocket, h2c", b"x,\th2"])
def test_http_2_in_disguise_is_not_offered_on(value: bytes) -> None:
    fields = (b"Connection: Upgrade", b"Upgrade: " + value)
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


def refused(raw: bytes) -> int:
    """Return the status with which `raw` is refused."""
    with pytest.raises(HeadError) as caught:
        parse_request(raw)
    return caught.value.status


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", b"/", None),
        (b"/?", b"/", b""),
        (b"/a%2Fb?c?d", b"/a%2Fb", b"c?d"),
        (b"//a/../b", b"//a/../b", None),
        (b"HTTP://a", b"/", None),
        (b"http://a?c", b"/", b"c"),
    ],
)
def test_path_and_query_stay_as_they_came(
    target: bytes, path: bytes, query: bytes | None
) -> None:
    """What is decoded or joined here, somebody behind us decodes again."""
    head = parse_request(request(b"GET %b HTTP/1.1" % target))
    assert (head.target, head.path, head.query) == (target, path, query)


def test_the_asterisk_is_for_options() -> None:
    head = parse_request(request(b"OPTIONS * HTTP/1.1"))
    assert (head.path, head.query, head.host) == (b"*", None, b"a")


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"A.Example", b"a.example"),
        (b"a:80", b"a"),
        (b"a:", b"a"),
        (b"[::1]", b"[::1]"),
        (b"[::A]:80", b"[::a]"),
        (b"10.0.0.1:1", b"10.0.0.1"),
        (b"a:65535", b"a"),
        (b"a:00080", b"a"),
    ],
)
def test_the_host_is_without_port_and_case(value: bytes, host: bytes) -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % value)
    assert (head.authority, head.host) == (value, host)


@pytest.mark.parametrize(
    "value",
    [
        b"a b",
        b"a/b",
        b"a?b",
        b"a#b",
        b"a@b",
        b"a\\b",
        b"a:x",
        b"a:1:2",
        b"a:123456",
        b"a:65536",
        b"a:70000",
        b"",
        b":80",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"[g]",
        b"\xff",
        b'"a"',
        b"<a>",
    ],
)
def test_a_malformed_host_is_refused(value: bytes) -> None:
    assert refused(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % value) == 400


def test_host_is_there_once() -> None:
    """RFC 9112, 3.2: also where both say the same; HTTP/1.0 may leave it out."""
    assert refused(b"GET / HTTP/1.1\r\n\r\n") == 400
    assert refused(request(b"GET / HTTP/1.1", b"host: a")) == 400
    assert refused(request(b"GET http://a/ HTTP/1.1", b"HOST: b")) == 400
    assert refused(request(b"GET / HTTP/1.0", b"Host: b")) == 400
    assert parse_request(b"GET / HTTP/1.0\r\n\r\n").host == b""


@pytest.mark.parametrize(
    "lines",
    [
        b"X: a\r\n folded\r\n",
        b"X: a\r\n\tfolded\r\n",
        b"X: a\rb\r\n",
        b"X: a\r\r\n",
        b"X: a\nY: b\r\n",
        b"X: a\n\r\n",
        b"X : a\r\n",
        b"X\t: a\r\n",
        b"X: \0\r\n",
        b"X\0: a\r\n",
        b"X: \x7f\r\n",
        b": a\r\n",
        b"X\r\n",
        b"X\xff: a\r\n",
        b"X(y): a\r\n",
    ],
)
def test_odd_field_lines_are_refused(lines: bytes) -> None:
    """First or last, in a request or in a response."""
    start, host = b"GET / HTTP/1.1\r\n", b"Host: a\r\n"
    assert refused(start + host + lines + b"\r\n") == 400
    assert refused(start + lines + host + b"\r\n") == 400
    with pytest.raises(HeadError):
        parse_response(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n", "GET")


def test_space_before_the_first_field_is_refused() -> None:
    assert refused(b"GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n") == 400


@pytest.mark.parametrize(
    "fields",
    [
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"content-length: 0"),
        (b"Content-Length: 3", b"Content-Length: 3"),
        (b"Content-Length: 3", b"content-length: 4"),
        (b"Content-Length: 3, 3",),
        (b"Content-Length: +3",),
        (b"Content-Length: -3",),
        (b"Content-Length: 0x3",),
        (b"Content-Length: 3 3",),
        (b"Content-Length: 3.0",),
        (b"Content-Length: \xb2",),
        (b"Content-Length:",),
        (b"Content-Length: 1" + b"0" * 18,),
        (b"Content-Length: 1" + b"0" * 30,),
        (b"Transfer-Encoding:",),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunkedx",),
        (b"Transfer-Encoding: chunked;a=b",),
        (b'Transfer-Encoding: "chunked"',),
        (b"Transfer-Encoding: \x0bchunked",),
        (b"Transfer-Encoding: chunked\x0c",),
        (b"Transfer-Encoding: chunked\xa0",),
        (b"Transfer-Encoding : chunked",),
        (b"Transfer-Encoding:\r\n chunked",),
        (b"Transfer-Encoding: chunked,",),
        (b"Transfer-Encoding: ,chunked",),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: chunked, gzip",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    ],
)
def test_a_length_in_doubt_is_refused(fields: tuple[bytes, ...]) -> None:
    """RFC 9112, 11.2: what could smuggle a request is no request."""
    assert refused(request(b"POST / HTTP/1.1", *fields)) in {400, 501}


def test_http_1_0_has_no_transfer_codings() -> None:
    assert refused(request(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked")) == 400


@pytest.mark.parametrize(
    ("field", "length"),
    [
        (b"X: y", NO_BODY),
        (b"Content-Length: 0", 0),
        (b"Content-Length: 007 \t", 7),
        (b"Content-Length:\t7", 7),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"TRANSFER-ENCODING: CHUNKED ", CHUNKED),
    ],
)
def test_where_a_request_ends(field: bytes, length: int) -> None:
    assert parse_request(request(b"POST / HTTP/1.1", field)).body_bytes == length


def test_fields_are_counted() -> None:
    """Host counts as well."""
    fields = [b"A: b"] * 4
    assert len(parse_request(request(b"GET / HTTP/1.1", *fields), 5).fields) == 5
    with pytest.raises(HeadError) as caught:
        parse_request(request(b"GET / HTTP/1.1", *fields), 4)
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("minor", "connection", "is_kept"),
    [
        (1, b"", True),
        (1, b"Close", False),
        (1, b"keep-alive, close", False),
        (1, b"x-close", True),
        (0, b"", False),
        (0, b"Keep-Alive", True),
        (0, b"keep-alive ,close", False),
    ],
)
def test_close_wins_over_keep_alive(
    minor: int, connection: bytes, *, is_kept: bool
) -> None:
    """RFC 9112, 9.3: in requests and responses alike."""
    field = b"Connection: " + connection
    head = parse_request(request(b"GET / HTTP/1.%d" % minor, field))
    assert head.keep_alive is is_kept
    raw = b"HTTP/1.%d 200 OK\r\n%b\r\n\r\n" % (minor, field)
    assert parse_response(raw, "GET").keep_alive is is_kept


@pytest.mark.parametrize(
    ("line", "connection", "upgrade"),
    [
        (b"GET / HTTP/1.1", b"keep-alive, Upgrade", b"websocket"),
        (b"GET / HTTP/1.1", b"keep-alive", None),
        (b"GET / HTTP/1.0", b"Upgrade", None),
    ],
)
def test_an_upgrade_is_asked_for_by_both_fields(
    line: bytes, connection: bytes, upgrade: bytes | None
) -> None:
    """RFC 9110, 7.8: and never in HTTP/1.0."""
    fields = (b"Upgrade: WebSocket", b"Connection: " + connection)
    assert parse_request(request(line, *fields)).upgrade == upgrade


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/2.0 200 OK",
        b"HTTP/1.2 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 099 X",
        b"HTTP/1.1 20 X",
        b"HTTP/1.1 2000 X",
        b"HTTP/1.1 +20 X",
        b"HTTP/1.1 200 a\0b",
        b"HTTP/1.1 200 a\rb",
        b"HTTP/1.1 200 a\nX: b",
        b" HTTP/1.1 200 OK",
    ],
)
def test_odd_status_lines_are_refused(line: bytes) -> None:
    with pytest.raises(HeadError):
        parse_response(line + b"\r\n\r\n", "GET")


@pytest.mark.parametrize("reason", [b"", b" ", b" OK", b" So \xe9 so"])
def test_a_reason_may_be_anything_printable(reason: bytes) -> None:
    raw = b"HTTP/1.1 200%b\r\n\r\n" % reason
    assert parse_response(raw, "GET").reason == reason[1:]


@pytest.mark.parametrize("status", [100, 101, 103, 204, 304])
@pytest.mark.parametrize("field", [b"", b"Content-Length: 5\r\n"])
def test_some_responses_never_have_a_body(status: int, field: bytes) -> None:
    """RFC 9112, 6.3, rule 1: whatever their fields declare."""
    upgrade = b"Connection: upgrade\r\nUpgrade: x\r\n" if status == 101 else b""
    raw = b"HTTP/1.1 %d X\r\n%b%b\r\n" % (status, field, upgrade)
    assert parse_response(raw, "GET").body_bytes == NO_BODY


def test_a_switch_to_nothing_is_refused() -> None:
    """RFC 9110, 15.2.2: a 101 tells in Upgrade what is spoken from now on."""
    with pytest.raises(HeadError):
        parse_response(b"HTTP/1.1 101 X\r\n\r\n", "GET")


@pytest.mark.parametrize(
    ("minor", "fields"),
    [
        (1, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        (1, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        (1, b"Content-Length: 5\r\nContent-Length: 5\r\n"),
        (1, b"Content-Length: 5, 5\r\n"),
        (1, b"Transfer-Encoding: gzip\r\n"),
        (1, b"Transfer-Encoding: gzip, chunked\r\n"),
        (1, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (0, b"Transfer-Encoding: chunked\r\n"),
    ],
)
def test_a_response_of_doubtful_length_is_refused(minor: int, fields: bytes) -> None:
    with pytest.raises(HeadError):
        parse_response(b"HTTP/1.%d 200 OK\r\n%b\r\n" % (minor, fields), "GET")


@given(fields=FIELDS, before=BLANKS, behind=BLANKS)
def test_fields_come_out_as_they_went_in(
    fields: list[tuple[bytes, bytes]], before: bytes, behind: bytes
) -> None:
    """Order, case and duplicates stay; blanks around a value are not of it."""
    lines = [name + b":" + before + value + behind for name, value in fields]
    head = parse_request(request(b"GET / HTTP/1.1", *lines))
    assert head.fields == [(b"Host", b"a"), *fields]
    raw = b"\r\n".join([b"HTTP/1.1 200 OK", *lines]) + b"\r\n\r\n"
    assert parse_response(raw, "GET").fields == fields
    for name, joined in head.named.items():
        same = [value for key, value in head.fields if key.lower() == name]
        assert joined == b", ".join(same)


def h11_reads(
    raw: bytes, peer: h11.Connection
) -> tuple[list[tuple[bytes, bytes]], str]:
    """Return the fields that h11 sees, and what of the body it waits for."""
    peer.receive_data(raw)
    try:
        event = peer.next_event()
        behind = peer.next_event()
    except h11.RemoteProtocolError:
        return [], H11_NONE
    assert isinstance(event, h11.Request)
    fields = [(bytes(name), bytes(value)) for name, value in event.headers]
    return fields, "none" if isinstance(behind, h11.EndOfMessage) else "some"


@given(
    line=st.sampled_from(
        [
            b"GET / HTTP/1.1",
            b"POST /a?b HTTP/1.1",
            b"PUT /x HTTP/1.0",
            b"GET  / HTTP/1.1",
        ]
    ),
    lines=st.lists(
        st.sampled_from(
            [
                b"A: b",
                b"A:b ",
                b"A : b",
                b" A: b",
                b"A: \xff",
                b"A: \0",
                b"A: b\rC: d",
                b"Host: b",
                b"A: b\nC: d",
                b"Connection: close",
                b"A",
                b"Content-Length: 3",
                b"Content-Length: 0",
                b"Content-Length: 3, 3",
                b"Transfer-Encoding: chunked",
                b"Transfer-Encoding: x, chunked",
                b"transfer-encoding:\tchunked",
                b"Transfer-Encoding: chunked\x0b",
            ]
        ),
        max_size=4,
    ),
)
def test_h11_accepts_what_we_accept_and_reads_the_same(
    line: bytes, lines: list[bytes]
) -> None:
    """Two readers of one head that differ are the root of request smuggling."""
    raw = request(line, *lines)
    try:
        head = parse_request(raw)
    except HeadError:
        return
    fields, body = h11_reads(raw, h11.Connection(h11.SERVER))
    framing = {b"transfer-encoding"}  # Whose value h11 writes in lower case.
    assert [f for f in fields if f[0] not in framing] == [
        (name.lower(), value)
        for name, value in head.fields
        if name.lower() not in framing
    ]
    assert body == ("none" if head.body_bytes == NO_BODY else "some")


@given(
    status=st.sampled_from([200, 204, 304, 404]),
    method=st.sampled_from(["GET", "HEAD"]),
    field=st.sampled_from(
        [
            b"X: y",
            b"Content-Length: 0",
            b"Content-Length: 3",
            b"Content-Length: 3, 3",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
        ]
    ),
)
def test_h11_ends_responses_where_we_do(status: int, method: str, field: bytes) -> None:
    raw = b"HTTP/1.1 %d X\r\n%b\r\n\r\n" % (status, field)
    try:
        head = parse_response(raw, method)
    except HeadError:
        return
    if b"gzip" in field:
        return  # h11 does not know it, and we read it only where no body is.
    peer = h11.Connection(h11.CLIENT)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(raw)
    assert isinstance(peer.next_event(), h11.Response)
    is_over = isinstance(peer.next_event(), h11.EndOfMessage)
    assert is_over is (head.body_bytes == NO_BODY)


@given(st.text("qzQZ\0\r\n\t :/", max_size=40).map(str.encode))
def test_a_refusal_repeats_nothing_of_the_input(data: bytes) -> None:
    """It is logged, and an input could forge a line of the log."""
    marked = b"GET / HTTP/1.1\r\nHost: zqz%bzqz\r\n\r\n" % data
    detail = ""
    try:
        parse_request(marked)
    except HeadError as error:
        detail = error.detail
    assert "zqz" not in detail
    assert detail.isprintable()


def test_fields_are_counted_before_they_are_read() -> None:
    """Reading 64 KiB of the shortest ones takes 70 ms, in which nobody is served."""
    lines = b"A:\r\n" * 100 + b"not a field\r\n"
    with pytest.raises(HeadError) as caught:
        parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
    assert caught.value.status == 431


@pytest.mark.parametrize("value", [b"gzip", b"gzip, chunked", b"xchunked", b"identity"])
def test_a_coding_that_is_not_known_is_told_from_other_mistakes(value: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\n" % value
    with pytest.raises(CodingError):
        parse_response(raw, "GET")


@pytest.mark.parametrize(
    ("status", "method"), [(200, "HEAD"), (204, "GET"), (205, "GET"), (304, "GET")]
)
@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 1" + b"0" * 18 + b"\r\n",
    ],
)
def test_a_doubtful_length_is_refused_also_where_no_body_is(
    status: int, method: str, fields: bytes
) -> None:
    """RFC 9110, 8.6: it would be sent on."""
    with pytest.raises(HeadError):
        parse_response(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, fields), method)


@pytest.mark.parametrize(
    ("value", "canonical"),
    [(b"010", b"10"), (b"00", b"0"), (b"0", b"0"), (b"10", b"10")],
)
def test_a_length_is_kept_without_leading_zeros(value: bytes, canonical: bytes) -> None:
    """In what goes on as well: some read them as octal."""
    for _ in range(2):  # The second time it is remembered.
        head = parse_request(request(b"POST / HTTP/1.1", b"content-length: " + value))
        assert head.named[b"content-length"] == canonical
        assert b"content-length: " + canonical + b"\r\n" in head.section.sent_on()
        assert head.body_bytes == int(canonical)


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://a", b"*"), (b"http://a/", b"/"), (b"http://a?", b"/")],
)
def test_options_of_a_whole_server_in_the_absolute_form(
    target: bytes, path: bytes
) -> None:
    """RFC 9112, 3.2.4: neither a path nor a query."""
    assert parse_request(request(b"OPTIONS %b HTTP/1.1" % target)).path == path
