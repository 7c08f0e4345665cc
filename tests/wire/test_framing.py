"""Bodies: whole or byte by byte, the same content, the same end."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sidecar.model import CHUNKED, Fields
from sidecar.wire.framing import (
    FramingError,
    body_reader,
    encode_chunk,
    encode_last_chunk,
)

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
    trailers=st.lists(st.just((b"X-T", b"v")), max_size=2),
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
