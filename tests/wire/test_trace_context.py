"""Trace headers in and out."""

from __future__ import annotations

from random import Random

import pytest

from sidecar.model import TraceContext
from sidecar.wire.trace_context import attempt_span_id, begin, is_sampled

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_a_valid_parent_is_kept() -> None:
    value = f"00-{TRACE}-{SPAN}-01".encode()
    context = begin({b"traceparent": value, b"tracestate": b"a=b"}, Random(1), 0)
    assert f"{context.trace_id:032x}" == TRACE
    assert f"{context.parent_id:016x}" == SPAN
    assert context.sampled
    assert context.state == b"a=b"


@pytest.mark.parametrize(
    "value",
    [
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        "nonsense",
    ],
)
def test_an_invalid_one_starts_a_new_trace(value: str) -> None:
    context = begin({b"traceparent": value.encode()}, Random(1), 0)
    assert f"{context.trace_id:032x}" != TRACE
    assert context.parent_id == 0


@pytest.mark.parametrize(
    "named",
    [
        {b"b3": f"{TRACE}-{SPAN}-1".encode()},
        {
            b"x-b3-traceid": TRACE.encode(),
            b"x-b3-spanid": SPAN.encode(),
            b"x-b3-sampled": b"1",
        },
    ],
)
def test_b3_is_understood(named: dict[bytes, bytes]) -> None:
    context = begin(named, Random(1), 0)
    assert f"{context.trace_id:032x}" == TRACE
    assert context.sampled


@pytest.mark.parametrize(("ratio", "sampled"), [(0.0, False), (1.0, True)])
def test_the_ratio_decides_for_new_traces(ratio: float, *, sampled: bool) -> None:
    assert begin({}, Random(1), ratio).sampled is sampled


def test_every_attempt_has_a_span_of_its_own() -> None:
    """Never 0, which would be no span (W3C Trace Context, 3.2.2.4)."""
    for span_id in (1, 7, (1 << 64) - 3):
        context = TraceContext(1, 0, span_id, False, b"")
        ids = [attempt_span_id(context, n) for n in range(1, 3)]
        assert len({*ids, span_id, 0}) == 4


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (b"a=1,b=2", b"a=1,b=2"),
        (b"a=1, b=2", b"a=1, b=2"),
        (b"A=1", b""),
        (b"a", b""),
        (b"a=1," * 40, b""),
        (b"a=" + b"x" * 600, b""),
    ],
)
def test_a_bad_state_does_not_spoil_a_good_parent(state: bytes, kept: bytes) -> None:
    value = f"00-{TRACE}-{SPAN}-01".encode()
    context = begin({b"traceparent": value, b"tracestate": state}, Random(1), 0)
    assert context.parent_id
    assert context.state == kept


def test_a_decision_may_come_alone() -> None:
    """`b3: 0` asks not to sample the trace that begins here."""
    assert not begin({b"b3": b"0"}, Random(1), 1.0).sampled
    assert begin({b"b3": b"1"}, Random(1), 0.0).sampled
    assert begin({b"x-b3-flags": b"1"}, Random(1), 0.0).sampled


def test_a_higher_ratio_keeps_what_a_lower_one_keeps() -> None:
    ids = [Random(n).getrandbits(128) for n in range(200)]
    few = {i for i in ids if is_sampled(i, 0.2)}
    many = {i for i in ids if is_sampled(i, 0.6)}
    assert few < many < set(ids)
