"""Where a request stands in its trace, read from and written to its header.

W3C Trace Context (level 1) first, then B3 in its one-line and many-line forms.
What is not valid is as if it were not there: a new trace begins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sidecar.model import TraceContext

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

_W3C = re.compile(
    rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
_B3 = re.compile(rb"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]))?(?:-.*)?")
_HEX = re.compile(rb"[0-9a-f]{16}|[0-9a-f]{32}")
_MAX_STATE_BYTES = 512
_RATIO_BITS = (1 << 56) - 1  # The random part that samplers agree to look at.


def begin(
    named: Mapping[bytes, bytes], rng: Random, sample_ratio: float
) -> TraceContext:
    """Return the context of this hop, in the caller's trace or in a new one.

    A caller's decision to sample is kept; a new trace is sampled by its id, as
    OpenTelemetry's ratio sampler does.
    """
    span_id = rng.getrandbits(64) or 1
    value = named.get(b"traceparent")
    if value is not None:
        context = _from_w3c(value, named.get(b"tracestate", b""), span_id)
        if context is not None:
            return context
    if b"b3" in named or b"x-b3-traceid" in named:
        context = _from_b3(named, span_id)
        if context is not None:
            return context
    trace_id = rng.getrandbits(128) or 1
    sampled = (trace_id & _RATIO_BITS) < sample_ratio * (_RATIO_BITS + 1)
    return TraceContext(trace_id, 0, span_id, sampled, b"")


def traceparent(trace_id: int, span_id: int, *, sampled: bool) -> bytes:
    """Return the field to send on."""
    return b"00-%032x-%016x-%02x" % (trace_id, span_id, sampled)


def _from_w3c(value: bytes, state: bytes, span_id: int) -> TraceContext | None:
    match = _W3C.fullmatch(value.strip())
    if match is None or (match[4] is not None and value.startswith(b"00")):
        return None
    trace_id, parent_id = int(match[1], 16), int(match[2], 16)
    if trace_id == 0 or parent_id == 0:
        return None
    if len(state) > _MAX_STATE_BYTES:
        state = b""
    sampled = bool(int(match[3], 16) & 1)
    return TraceContext(trace_id, parent_id, span_id, sampled, state)


def _from_b3(named: Mapping[bytes, bytes], span_id: int) -> TraceContext | None:
    one_line = _B3.fullmatch(named.get(b"b3", b"").strip().lower())
    if one_line is not None:
        trace, parent, decision = one_line.groups()
    else:
        trace = named.get(b"x-b3-traceid", b"").lower()
        parent = named.get(b"x-b3-spanid", b"").lower()
        decision = named.get(b"x-b3-sampled", named.get(b"x-b3-flags"))
        if not _HEX.fullmatch(trace) or not _HEX.fullmatch(parent):
            return None
    trace_id, parent_id = int(trace, 16), int(parent, 16)
    if trace_id == 0 or parent_id == 0:
        return None
    return TraceContext(trace_id, parent_id, span_id, decision in {b"1", b"d"}, b"")
