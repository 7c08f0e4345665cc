"""Trace headers in and out."""

from __future__ import annotations

from random import Random

import pytest

from sidecar.wire.trace_context import begin, traceparent

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_a_valid_parent_is_kept() -> None:
    value = f"00-{TRACE}-{SPAN}-01".encode()
    context = begin({b"traceparent": value, b"tracestate": b"a=b"}, Random(1), 0)
    assert f"{context.trace_id:032x}" == TRACE
    assert f"{context.parent_id:016x}" == SPAN
    assert context.sampled
    assert context.state == b"a=b"
    assert traceparent(context.trace_id, context.parent_id, sampled=True) == value


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
