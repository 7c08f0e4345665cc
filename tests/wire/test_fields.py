"""Header sections: what a proxy takes out and writes, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import SENT_ON, SENT_ON_IF_TRUSTED, STAYS_HERE
from sidecar.settings.snapshot import FieldEdits
from sidecar.wire.fields import (
    HOP_BY_HOP,
    Hop,
    edit,
    is_switch_asked,
    named_by_connection,
    request_section,
    request_use,
    response_section,
)
from sidecar.wire.head import parse_request, parse_response

if TYPE_CHECKING:
    from sidecar.model import Fields, RequestHead, ResponseHead

VIA = b"1.1 here"
VIA_LINE = b"Via: 1.1 here\r\n"


def stranger() -> Hop:
    return Hop(b"here", b"10.0.0.9", b"http", is_trusted=False)


def peer() -> Hop:
    return Hop(b"here", b"10.0.0.9", b"http", is_trusted=True)


NO_EDITS = FieldEdits()
END_TO_END = st.lists(
    st.tuples(
        st.sampled_from([b"Accept", b"Cookie", b"X-a", b"x-A", b"Set-Cookie", b"Date"]),
        st.sampled_from([b"", b"1", b"a, b", b"\xff"]),
    ),
    max_size=6,
)
SPELLINGS = st.sampled_from([bytes.lower, bytes.upper, bytes.title])


def request(*lines: bytes, line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    return parse_request(b"\r\n".join([line, b"Host: a", *lines]) + b"\r\n\r\n")


def response(*lines: bytes, status: int = 200) -> ResponseHead:
    raw = b"\r\n".join([b"HTTP/1.1 %d OK" % status, *lines]) + b"\r\n\r\n"
    return parse_response(raw, "GET")


def coded(fields: Fields) -> list[bytes]:
    return [name + b": " + value for name, value in fields]


def sent(
    head: RequestHead,
    hop: Hop | None = None,
    host: bytes | None = None,
    edits: FieldEdits = NO_EDITS,
) -> Fields:
    """Return the fields that go upstream, read as the upstream reads them."""
    section = request_section(head, hop or stranger(), host, edits)
    return parse_request(b"GET / HTTP/1.1\r\n" + section + b"\r\n").fields


def sent_back(
    head: ResponseHead, edits: FieldEdits = NO_EDITS, extra: Fields | None = None
) -> Fields:
    """Return the fields that go to the client."""
    section = response_section(head, VIA_LINE, edits, extra or [])
    lines = section.removesuffix(b"\r\n").split(b"\r\n")[1:]
    return [(name, value) for name, _, value in (x.partition(b": ") for x in lines)]


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for key, value in fields if key.lower() == name]


HEADS = st.builds(
    lambda line, fields, last: request(*coded(fields), *last, line=line),
    st.sampled_from([b"GET / HTTP/1.1", b"GET http://b/ HTTP/1.1", b"GET / HTTP/1.0"]),
    END_TO_END,
    st.sampled_from(
        [
            (),
            (b"Connection: X-A",),
            (b"TE: trailers",),
            (b"X-Forwarded-For: 1.2.3.4",),
            (b"x-316-expose: full",),
            (b"Connection: upgrade", b"Upgrade: echo"),
        ]
    ),
)


@given(fields=END_TO_END)
def test_end_to_end_fields_go_on_as_they_came(fields: Fields) -> None:
    """Order, case, duplicates; what this hop writes comes behind them."""
    expected = [(b"Host", b"a"), *fields]
    assert sent(request(*coded(fields)))[: len(expected)] == expected
    assert sent_back(response(*coded(fields))) == [*fields, (b"Via", VIA)]


@given(
    fields=END_TO_END,
    name=st.sampled_from(sorted(HOP_BY_HOP - {b"transfer-encoding", b"te"})),
    spell=SPELLINGS,
)
def test_hop_by_hop_fields_end_here(fields: Fields, name: bytes, spell: object) -> None:
    """RFC 9110, 7.6.1: however they are spelled, in both directions."""
    assert callable(spell)
    lines = [*coded(fields), spell(name) + b": x"]
    assert values(sent(request(*lines)), name) == []
    assert values(sent_back(response(*lines)), name) == []


@given(spell=SPELLINGS, gap=st.sampled_from([b",", b" , ", b",\t", b",,"]))
def test_what_connection_names_ends_here(spell: object, gap: bytes) -> None:
    assert callable(spell)
    lines = (b"X-A: 1", b"x-b: 2", b"X-C: 3", b"Connection: x-a" + gap + spell(b"x-b"))
    for fields in (sent(request(*lines)), sent_back(response(*lines))):
        assert values(fields, b"x-a") == values(fields, b"x-b") == []
        assert values(fields, b"x-c") == [b"3"]


def test_connection_cannot_take_the_framing_away() -> None:
    """Without its length a body would be read as the next request."""
    lines = (b"Content-Length: 3", b"Connection: Content-Length, Host")
    fields = sent(request(*lines))
    assert values(fields, b"content-length") == [b"3"]
    assert values(fields, b"host") == [b"a"]
    assert values(sent_back(response(*lines)), b"content-length") == [b"3"]


@pytest.mark.parametrize(
    ("value", "names"),
    [(None, set()), (b"Close", set()), (b"A,\tb , host", {b"a", b"b"})],
)
def test_names_of_connection(value: bytes | None, names: set[bytes]) -> None:
    assert named_by_connection(value) == names


def test_chunked_is_declared_anew() -> None:
    fields = sent(request(b"Transfer-Encoding: Chunked", line=b"POST / HTTP/1.1"))
    assert values(fields, b"transfer-encoding") == [b"chunked"]
    assert values(fields, b"content-length") == []


@pytest.mark.parametrize(
    ("value", "is_sent"),
    [
        (b"trailers", True),
        (b"gzip;q=0.5, Trailers", True),
        (b"gzip", False),
        (b"x-trailers", False),
        (b"", False),
    ],
)
def test_only_trailers_of_te_goes_on(value: bytes, *, is_sent: bool) -> None:
    """Other codings are between two neighbours; Connection must name TE."""
    fields = sent(request(b"TE: " + value, b"Connection: TE"))
    expected = ([b"trailers"], [b"TE"]) if is_sent else ([], [])
    assert (values(fields, b"te"), values(fields, b"connection")) == expected


def test_an_upgrade_is_handed_on() -> None:
    fields = sent(request(b"Upgrade: WebSocket", b"Connection: close, upgrade"))
    assert values(fields, b"upgrade") == [b"WebSocket"]
    assert values(fields, b"connection") == [b"Upgrade"]


@pytest.mark.parametrize("value", [b"h2c", b"websocket, h2c"])
def test_no_h2c_goes_upstream(value: bytes) -> None:
    """A tunnel to HTTP/2 would pass by every rule of this proxy."""
    fields = sent(request(b"Upgrade: " + value, b"Connection: Upgrade"))
    assert values(fields, b"upgrade") == values(fields, b"connection") == []


FORWARDED = (
    b"X-Forwarded-For: 1.2.3.4",
    b"X-Forwarded-Proto: https",
    b"X-Forwarded-Host: shop",
    b"X-Request-Id: theirs",
)


def test_a_stranger_is_not_believed() -> None:
    """What it says of itself and of us is replaced or dropped."""
    fields = sent(request(*FORWARDED, b"X-316-Expose: full", b"x-316-attempt: 7"))
    assert values(fields, b"x-forwarded-for") == [b"10.0.0.9"]
    assert values(fields, b"x-forwarded-proto") == [b"http"]
    assert values(fields, b"x-forwarded-host") == [b"a"]
    assert values(fields, b"x-request-id") == []
    assert not [name for name, _ in fields if name.lower().startswith(b"x-316-")]


def test_a_trusted_peer_is_believed() -> None:
    """The chain grows; what each attempt writes itself is still replaced."""
    fields = sent(
        request(*FORWARDED, b"X-316-Expose: full", b"x-316-attempt: 7"), peer()
    )
    assert values(fields, b"x-forwarded-for") == [b"1.2.3.4, 10.0.0.9"]
    assert values(fields, b"x-forwarded-proto") == [b"https"]
    assert values(fields, b"x-forwarded-host") == [b"shop"]
    assert values(fields, b"x-316-expose") == [b"full"]
    assert values(fields, b"x-316-attempt") == []


@pytest.mark.parametrize("hop", [stranger(), peer()])
def test_this_hop_names_itself_once(hop: Hop) -> None:
    fields = sent(request(), hop)
    for name, value in (
        (b"via", VIA),
        (b"x-forwarded-for", b"10.0.0.9"),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-host", b"a"),
    ):
        assert values(fields, name) == [value]


def test_vias_of_others_stay() -> None:
    assert values(sent(request(b"Via: 1.0 x")), b"via") == [b"1.0 x", VIA]
    assert values(sent_back(response(b"Via: 1.0 x")), b"via") == [b"1.0 x", VIA]


def test_another_host_comes_first_and_alone() -> None:
    """The service asked for stays known as X-Forwarded-Host."""
    fields = sent(request(b"A: b"), host=b"other:1")
    assert fields[0] == (b"Host", b"other:1")
    assert values(fields, b"host") == [b"other:1"]
    assert values(fields, b"x-forwarded-host") == [b"a"]


def test_edits_remove_then_set_then_add() -> None:
    edits = FieldEdits(
        set=((b"A", b"new"),), add=((b"C", b"3"),), remove=frozenset((b"b", b"c"))
    )
    fields = [(b"a", b"1"), (b"A", b"2"), (b"B", b"1"), (b"c", b"1"), (b"D", b"1")]
    expected = [(b"D", b"1"), (b"A", b"new"), (b"C", b"3")]
    assert edit(fields, edits) == expected
    assert sent(request(*coded(fields)), edits=edits)[1:4] == expected
    assert sent_back(response(*coded(fields)), edits)[:3] == expected


@given(fields=END_TO_END, more=END_TO_END)
def test_edits_touch_only_what_they_name(fields: Fields, more: Fields) -> None:
    edits = FieldEdits(set=((b"X-A", b"z"),), add=tuple(more))
    kept = [field for field in fields if field[0].lower() != b"x-a"]
    assert edit(fields, edits) == [*kept, (b"X-A", b"z"), *more]


def test_edits_know_whether_there_are_any() -> None:
    assert not NO_EDITS.is_any
    assert FieldEdits(remove=frozenset((b"a",))).is_any
    assert FieldEdits(set=((b"A", b"b"),)).is_any
    assert FieldEdits(add=((b"A", b"b"),)).is_any


def test_what_is_between_two_sidecars_does_not_go_back() -> None:
    fields = sent_back(response(b"X-316-Processed: no", b"x-316-retry: 1", b"A: b"))
    assert fields == [(b"A", b"b"), (b"Via", VIA)]


def test_what_this_hop_says_replaces_what_was_said() -> None:
    """But for Proxy-Status, a list to which each hop adds (RFC 9209, 2)."""
    head = response(b"x-request-id: theirs", b"Proxy-Status: there")
    extra = [(b"X-Request-Id", b"r1"), (b"Proxy-Status", b"here")]
    fields = sent_back(head, extra=extra)
    assert values(fields, b"x-request-id") == [b"r1"]
    assert values(fields, b"proxy-status") == [b"there", b"here"]


@pytest.mark.parametrize(
    ("status", "lengths"),
    [(200, [b"5"]), (304, [b"5"]), (100, []), (101, []), (103, []), (204, [])],
)
def test_no_length_where_none_may_be(status: int, lengths: list[bytes]) -> None:
    """RFC 9110, 8.6: a client that believes it waits for a body."""
    lines = (b"Content-Length: 5", b"Upgrade: x", b"Connection: upgrade")
    fields = sent_back(response(*lines, status=status))
    assert values(fields, b"content-length") == lengths


@pytest.mark.parametrize("line", [b"HTTP/1.0 404 No \xe9", b"HTTP/1.1 404 No \xe9"])
def test_the_status_line_is_ours_the_reason_theirs(line: bytes) -> None:
    """RFC 9110, 2.5: a hop speaks its own version."""
    head = parse_response(line + b"\r\n\r\n", "GET")
    section = response_section(head, VIA_LINE, NO_EDITS, [])
    received = line[5:8]
    assert section == b"HTTP/1.1 404 No \xe9\r\nVia: %b here\r\n" % received


@given(heads=st.lists(HEADS, min_size=1, max_size=6), is_trusted=st.booleans())
def test_what_a_hop_remembers_changes_nothing(
    heads: list[RequestHead], *, is_trusted: bool
) -> None:
    """A connection's next request is sent on as if it were its first."""
    hop = peer() if is_trusted else stranger()
    for head in heads:
        fresh = peer() if is_trusted else stranger()
        host = head.authority if head.authority != head.named[b"host"] else None
        expected = request_section(head, fresh, host, NO_EDITS)
        assert request_section(head, hop, host, NO_EDITS) == expected


@given(head=HEADS, other=HEADS)
def test_edits_of_one_route_do_not_reach_another(
    head: RequestHead, other: RequestHead
) -> None:
    """Two routes may be asked in turn on one connection."""
    hop, edits = stranger(), FieldEdits(set=((b"Accept", b"none"),))
    plain = request_section(head, hop, None, NO_EDITS)
    request_section(head, hop, None, edits)
    request_section(other, hop, b"other", NO_EDITS)
    assert request_section(head, hop, None, NO_EDITS) == plain


@pytest.mark.parametrize(
    ("key", "use"),
    [
        (b"x_y", SENT_ON),
        (b"x_forwarded_for", STAYS_HERE),
        (b"x-forwarded_for", STAYS_HERE),
        (b"transfer_encoding", STAYS_HERE),
        (b"content_length", STAYS_HERE),
        (b"host", SENT_ON),
        (b"x_316_a", STAYS_HERE),
        (b"x-316-a", SENT_ON_IF_TRUSTED),
    ],
)
def test_an_underscore_is_no_disguise(key: bytes, use: int) -> None:
    """Behind a gateway interface the two look alike (RFC 9110, 17.10)."""
    assert request_use(key) == use


@pytest.mark.parametrize(
    ("asked", "answered", "is_asked"),
    [
        (b"echo", b"Echo", True),
        (b"a, echo", b"echo", True),
        (b"a, b", b"b,a", True),
        (b"echo", b"echo, h2c", False),
        (b"echo", b"", False),
        (None, b"echo", False),
        (None, b"", False),
    ],
)
def test_a_switch_is_to_what_was_asked_for(
    asked: bytes | None, answered: bytes, *, is_asked: bool
) -> None:
    assert is_switch_asked(asked, answered) is is_asked
