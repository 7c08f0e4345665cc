"""What goes on is read alike by all; what the others refuse, the sidecar refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.differential.allowed import ALLOWED, REFUSED_BY_READER
from tests.differential.peers import END, JUDGES, MISSING, Outcome, Peers
from tests.differential.readers import READERS, strict
from tests.differential.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"
)
_PIECES = (
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b";", b",", b"0", b"\x0b", b"\xa0",
    b"\r\n\r\n", b"0\r\n\r\n", b"chunked", b"Content-Length: 5\r\n", b"Host: b\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"HTTP/1.0", b"-",
    b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def peers() -> Iterator[Peers]:
    with Peers.running() as running:
        yield running


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Outcome]]:
    """What has been asked, by row."""
    return {}


@pytest.fixture(params=ROWS)
def row(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def outcomes(
    row: str, peers: Peers, seen: dict[str, dict[str, Outcome]]
) -> dict[str, Outcome]:
    if row not in seen:
        seen[row] = peers.ask(ROWS[row])
    return seen[row]


def whole(stream: bytes) -> bytes:
    """Return the requests in `stream` that are whole; the rest must be well begun."""
    read = strict(stream)
    assert not read.refusal, (read.refusal, stream[read.whole_bytes :])
    return stream[: read.whole_bytes]


def check_read_alike(sent: Outcome, peers: Peers) -> list[str]:
    """All readers split what the sidecar sent on into the same requests.

    Returns:
        Who refused, where it might have read on: reading nothing is safe.
    """
    refused: list[str] = []
    for stream in map(whole, sent.streams):
        expected = strict(stream).requests
        for name, read in READERS.items():
            got = read(stream)
            assert got.requests == expected[: len(got.requests)], name
            assert got.requests == expected or got.refusal, name
            if got.requests != expected:
                refused.append(name)
        wanted = [request for request in expected if request.target != b"/end"]
        if not wanted:
            continue
        for name, outcome in peers.judge(stream.removesuffix(END)).items():
            got_there = outcome.requests
            assert got_there == wanted[: len(got_there)], (name, outcome)
            assert got_there == wanted or outcome.is_refused, (name, outcome)
            if got_there != wanted:
                refused.append(name)
    return refused


def test_what_goes_on_is_read_alike_by_all(
    row: str, outcomes: dict[str, Outcome], peers: Peers
) -> None:
    refused = check_read_alike(outcomes["sidecar"], peers)
    allowed, _ = REFUSED_BY_READER.get(row, ("", ""))
    assert ", ".join(refused) == allowed


def test_what_both_others_refuse_is_refused(
    row: str, outcomes: dict[str, Outcome]
) -> None:
    """But for rows with a reason; a reason that is not needed any more is mended."""
    both_refuse = all(outcomes[name].is_refused for name in JUDGES)
    is_alone = both_refuse and not outcomes["sidecar"].is_refused
    assert is_alone == (row in ALLOWED), outcomes


def test_there_is_a_reason_for_rows_alone() -> None:
    assert ALLOWED.keys() <= ROWS.keys()
    assert REFUSED_BY_READER.keys() <= ROWS.keys()
    assert len(ROWS) >= 100


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a row with some of its bytes gone, doubled, or others in their place."""
    raw = draw(st.sampled_from([raw for raw in ROWS.values() if len(raw) < 1000]))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        gone_bytes = draw(st.integers(0, 12))
        piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=3))
        raw = raw[:at] + piece + raw[at + gone_bytes :]
    return raw


@pytest.mark.timeout(180)  # Some wait for what does not come.
# The same ones each time: CI is not the place to find something new.
@settings(max_examples=60, deadline=None, derandomize=True)
@given(raw=mutated())
def test_what_is_made_of_the_rows_is_no_way_in_either(raw: bytes, peers: Peers) -> None:
    outcomes = peers.ask(raw)
    refused = check_read_alike(outcomes["sidecar"], peers)
    assert not {"strict", "h11"} & {*refused}
    if all(outcomes[name].is_refused for name in JUDGES):
        assert outcomes["sidecar"].is_refused, outcomes
