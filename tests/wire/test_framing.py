"""Bodies: whole or byte by byte, the same content, the same end."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import CHUNKED, NO_BODY, UNTIL_CLOSE, Fields
from sidecar.wire.framing import (
    FramingError,
    body_reader,
    encode_chunk,
    encode_last_chunk,
)

MAX_TRAILER_BYTES = 16 * 1024
TOKEN = "!#$%&'*+-.^_`|~019AZaz"
TRAILERS = st.lists(
    st.tuples(
        st.text(TOKEN, min_size=1, max_size=9).map(lambda name: f"X-{name}".encode()),
        st.text("ab \t:,\xe9", max_size=9).map(lambda v: v.strip(" \t").encode()),
    ),
    max_size=4,
)
ODDITIES = st.lists(  # What a body is made of, in no good order.
    st.sampled_from(
        [
            b"\r\n",
            b"\n",
            b"\r",
            b"0",
            b"1",
            b"a",
            b"3\r\nabc\r\n",
            b"0\r\n",
            b"X: y\r\n",
            b"X : y\r\n",
            b"Host: b\r\n",
            b";",
            b"\0",
            b" ",
            b"\xff",
        ]
    ),
    max_size=12,
).map(b"".join)

Result = tuple[bytes, bool, bytes, Fields] | str


def read(data: bytes, body_bytes: int, pieces: list[int]) -> Result:
    """Feed `data` cut at `pieces`; return what was read, or the error."""
    reader = body_reader(body_bytes)
    content, rest = b"", b""
    cuts = sorted({0, len(data), *(p for p in pieces if p < len(data))})
    try:
        for start, end in pairwise(cuts):
            if reader.is_complete:
                rest += data[start:end]
            else:
                content += reader.feed(data[start:end])
                rest = reader.rest
    except FramingError as error:
        return type(error).__name__
    return content, reader.is_complete, rest, reader.trailers


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=5),
    trailers=TRAILERS,
    behind=st.binary(max_size=20),
    pieces=st.lists(st.integers(0, 400)),
)
def test_what_was_chunked_comes_back(
    chunks: list[bytes], trailers: Fields, behind: bytes, pieces: list[int]
) -> None:
    coded = b"".join(map(encode_chunk, chunks)) + encode_last_chunk(trailers)
    expected = (b"".join(chunks), True, behind, trailers)
    assert read(coded + behind, CHUNKED, pieces) == expected


@given(
    data=st.text("0123456789abcdefX;=: \r\n-+").map(str.encode),
    pieces=st.lists(st.integers(0, 60)),
)
def test_whole_and_in_pieces_are_read_alike(data: bytes, pieces: list[int]) -> None:
    assert read(data, CHUNKED, pieces) == read(data, CHUNKED, list(range(len(data))))


@given(length=st.integers(0, 50), data=st.binary(max_size=80))
def test_a_length_takes_its_bytes_and_no_more(length: int, data: bytes) -> None:
    result = read(data, length, [])
    assert isinstance(result, tuple)
    assert result[0] == data[:length]
    assert result[1] == (len(data) >= length)


def test_odd_sizes_are_refused() -> None:
    for line in (b"+5", b"-5", b"0x5", b" 5", b"5 ", b"", b"5\t", b"f" * 16, b"5;\0"):
        assert read(line + b"\r\nabcde\r\n0\r\n\r\n", CHUNKED, []) == "FramingError", (
            line
        )


def test_odd_trailers_are_refused_and_dangerous_ones_dropped() -> None:
    assert read(b"0\r\nA : b\r\n\r\n", CHUNKED, []) == "FramingError"
    result = read(b"0\r\nContent-Length: 3\r\nX: 1\r\n\r\n", CHUNKED, [])
    assert result == (b"", True, b"", [(b"X", b"1")])


def test_a_trailer_section_has_a_limit() -> None:
    data = b"0\r\n" + b"X: y\r\n" * 5000
    assert read(data, CHUNKED, []) == "TrailersTooLargeError"


@given(data=ODDITIES, pieces=st.lists(st.integers(0, 60)))
def test_broken_bodies_break_alike_in_pieces(data: bytes, pieces: list[int]) -> None:
    """Whole, in pieces and byte by byte: the same result or the same error."""
    whole = read(data, CHUNKED, [])
    assert read(data, CHUNKED, pieces) == whole
    assert read(data, CHUNKED, list(range(len(data)))) == whole


@given(
    body_bytes=st.integers(UNTIL_CLOSE, 40).filter(lambda n: n != CHUNKED),
    data=st.binary(max_size=60),
)
def test_plain_bodies_are_read_alike_byte_by_byte(body_bytes: int, data: bytes) -> None:
    whole = read(data, body_bytes, [])
    assert read(data, body_bytes, list(range(len(data)))) == whole


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=9), max_size=3), trailers=TRAILERS
)
def test_a_body_cut_short_is_not_whole(chunks: list[bytes], trailers: Fields) -> None:
    """No proper prefix of a coded body ends it."""
    coded = b"".join(map(encode_chunk, chunks)) + encode_last_chunk(trailers)
    for length in range(len(coded)):
        reader = body_reader(CHUNKED)
        reader.feed(coded[:length])
        assert not reader.end_of_input()


@pytest.mark.parametrize(
    ("body_bytes", "data", "is_whole"),
    [
        (NO_BODY, b"", True),
        (3, b"ab", False),
        (3, b"abc", True),
        (UNTIL_CLOSE, b"ab", True),
        (CHUNKED, b"1\r\na\r\n", False),
    ],
)
def test_the_end_of_input_tells_whole_from_cut(
    body_bytes: int, data: bytes, *, is_whole: bool
) -> None:
    reader = body_reader(body_bytes)
    reader.feed(data)
    assert reader.end_of_input() is is_whole


def test_what_follows_the_end_is_left_alone() -> None:
    """The next message, pipelined, is nobody's body."""
    assert read(b"abcGET /", 3, []) == (b"abc", True, b"GET /", [])
    assert read(b"1\r\na\r\n0\r\n\r\n0\r\n", CHUNKED, []) == (b"a", True, b"0\r\n", [])


@pytest.mark.parametrize("line", [b"3;a=b", b"3 ; a", b"003", b'3;q="x y"', b"3;\xff"])
def test_extensions_are_dropped(line: bytes) -> None:
    data = line + b"\r\nabc\r\n0;z\r\n\r\n"
    assert read(data, CHUNKED, []) == (b"abc", True, b"", [])


@pytest.mark.parametrize(
    "data",
    [
        b"3\nabc\r\n0\r\n\r\n",  # A bare LF ends no line.
        b"3\rabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",  # No line end behind the data.
        b"3\r\nabc\n0\r\n\r\n",
        b"2\r\nabc\r\n0\r\n\r\n",  # Longer than its size.
        b"0\r\nX: a\r\n folded\r\n\r\n",
        b"0\r\nX: a\nY: b\r\n\r\n",
        b"0\r\nX: a\rY: b\r\n\r\n",
        b"0\r\nX: \0\r\n\r\n",
        b"0\r\n: a\r\n\r\n",
        b"0\r\nX\r\n\r\n",
    ],
)
def test_what_others_may_read_differently_is_refused(data: bytes) -> None:
    assert read(data, CHUNKED, []) == "FramingError"


@pytest.mark.parametrize(("pad", "is_read"), [(509, True), (510, False), (9999, False)])
def test_a_size_line_has_a_limit(pad: int, *, is_read: bool) -> None:
    """512 bytes with its CRLF, however they come."""
    data = b"0;".ljust(pad + 1, b"x") + b"\r\n\r\n"
    for pieces in ([], list(range(len(data)))):
        assert (read(data, CHUNKED, pieces) == (b"", True, b"", [])) is is_read


def test_an_endless_size_line_is_not_held() -> None:
    assert read(b"0;" + b"x" * 600, CHUNKED, []) == "FramingError"


@pytest.mark.parametrize("above", [-1, 0, 1, 2, 3])
def test_the_limit_of_trailers_is_the_same_in_pieces(above: int) -> None:
    """A body is not refused for the way that the network cut it."""
    section = b"X: \r\n\r\n"
    value = b"y" * (MAX_TRAILER_BYTES + above - len(section))
    data = b"0\r\nX: " + value + b"\r\n\r\n"
    expected = (
        "TrailersTooLargeError" if above > 0 else (b"", True, b"", [(b"X", value)])
    )
    for pieces in ([], [len(data) - 1], [len(data) - 2], [len(data) - 3]):
        assert read(data, CHUNKED, pieces) == expected


@pytest.mark.timeout(5)
def test_blanks_in_a_trailer_cost_no_more_than_other_bytes() -> None:
    """A pattern that backtracks would hold the event loop for many minutes."""
    data = b"0\r\nX:" + b" " * 16_000 + b"\0\r\n\r\n"
    assert read(data, CHUNKED, []) == "FramingError"


@given(
    sizes=st.lists(st.integers(1, 40), max_size=30),
    pieces=st.lists(st.integers(0, 900)),
    is_upper=st.booleans(),
)
def test_small_chunks_are_read_like_any_others(
    sizes: list[int], pieces: list[int], *, is_upper: bool
) -> None:
    """They are taken in a row; what they hold may look like framing."""
    content = [(b"\r\n0\r\n\r\n1" * 6)[:size] for size in sizes]
    form = b"%X\r\n%b\r\n" if is_upper else b"%x\r\n%b\r\n"
    coded = b"".join(form % (len(chunk), chunk) for chunk in content) + b"0\r\n\r\n"
    assert read(coded, CHUNKED, pieces) == (b"".join(content), True, b"", [])


@pytest.mark.parametrize("broken", [b"1\r\nab\r\n", b"e\r\nab\r\n0", b"1\r\na\n"])
def test_a_broken_one_among_small_chunks_is_found(broken: bytes) -> None:
    coded = b"1\r\na\r\n" * 9 + broken + b"1\r\na\r\n" * 9 + b"0\r\n\r\n"
    for pieces in ([], list(range(len(coded)))):
        assert read(coded, CHUNKED, pieces) == "FramingError"


@pytest.mark.parametrize(("count", "is_read"), [(160, True), (170, False)])
def test_extensions_have_a_limit_in_excess_of_the_content(
    count: int, *, is_read: bool
) -> None:
    """Each of these is a hundred bytes more than what it comes with."""
    data = (b"1;" + b"a" * 100 + b"\r\nb\r\n") * count + b"0\r\n\r\n"
    whole: Result = (b"b" * count, True, b"", [])
    expected = whole if is_read else "FramingError"
    assert read(data, CHUNKED, []) == expected


def test_a_trailer_for_this_hop_ends_here() -> None:
    reader = body_reader(CHUNKED, frozenset((b"a", b"b")))
    assert reader.feed(b"0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n") == b""
    assert reader.trailers == [(b"C", b"3")]
