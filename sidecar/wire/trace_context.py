"""Where a request stands in its trace, read from and written to its header.

W3C Trace Context (level 1) first, then B3 in its one-line and many-line forms.
What is not valid is as if it were not there: a new trace begins. A caller that
names a trace but leaves the decision to us (B3 can) gets ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sidecar.model import TraceContext

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

# Version 00 has these four parts alone; a later one may have more (section 3.2.4).
_W3C: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-+\--~]*)?"
)
_STATE_MEMBER: Final = re.compile(
    rb"[a-z0-9][a-z0-9_\-*/]{0,255}(@[a-z][a-z0-9_\-*/]{0,13})?=[ -+\--<>-~]{0,256}"
)
_B3: Final = re.compile(
    rb"([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?"
)
_B3_IDS: Final = re.compile(rb"([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})")
_B3_DECISIONS: Final = {
    b"1": True,
    b"d": True,  # Debug: sampled, whatever it costs.
    b"true": True,  # As old senders write it.
    b"0": False,
    b"false": False,
}
_MAX_STATE_BYTES: Final = 512
_MAX_STATE_MEMBERS: Final = 32
_MAX_SPAN_ID: Final = (1 << 64) - 1
_NAMES: Final = frozenset(
    (b"traceparent", b"b3", b"x-b3-traceid", b"x-b3-sampled", b"x-b3-flags")
)
_RANDOM_SPAN: Final = 1 << 56  # The part of an id that samplers agree to look at.
_RANDOM_BITS: Final = _RANDOM_SPAN - 1


def begin(
    named: Mapping[bytes, bytes], rng: Random, sample_ratio: float
) -> TraceContext:
    """Return the context of this hop, in the caller's trace or in a new one.

    Args:
        named: Header fields by lower-case name.
        rng: Source of new ids.
        sample_ratio: Share of the traces to sample whose caller did not decide.
    """
    ids = rng.getrandbits(192)
    span_id = ids & _MAX_SPAN_ID or 1
    if not _NAMES.isdisjoint(named):
        context = _from_w3c(named, span_id) if b"traceparent" in named else None
        return context or _from_b3(named, rng, span_id, sample_ratio)
    trace_id = ids >> 64 or 1
    sampled = (trace_id & _RANDOM_BITS) >= (1.0 - sample_ratio) * _RANDOM_SPAN
    return TraceContext(trace_id, 0, span_id, sampled, b"")


def attempt_span_id(context: TraceContext, n: int) -> int:
    """Return the id of the span of attempt `n`, from 1.

    It follows from that of the request, which is random: so the attempts of one
    request differ, and chance is asked once.
    """
    return (context.span_id + n) & _MAX_SPAN_ID or 1


def is_sampled(trace_id: int, ratio: float) -> bool:
    """Tell whether a trace is among those that `ratio` keeps.

    Every proxy with the same ratio keeps the same traces, and one with a higher
    ratio keeps these and more.

    Source:
        OpenTelemetry, "TraceState: Probability Sampling": the low 56 bits of
        the id are its randomness, kept when not below a threshold.
    """
    return (trace_id & _RANDOM_BITS) >= (1.0 - ratio) * _RANDOM_SPAN


def _from_w3c(named: Mapping[bytes, bytes], span_id: int) -> TraceContext | None:
    match = _W3C.fullmatch(named[b"traceparent"].strip())
    if match is None or (match[5] is not None and match[1] == b"00"):
        return None
    trace_id, parent_id = int(match[2], 16), int(match[3], 16)
    if trace_id == 0 or parent_id == 0:
        return None
    sampled = bool(int(match[4], 16) & 1)
    state = _checked_state(named.get(b"tracestate", b""))
    return TraceContext(trace_id, parent_id, span_id, sampled, state)


def _checked_state(state: bytes) -> bytes:
    """Return `tracestate` as it came, or nothing where it breaks its grammar.

    A bad one must not spoil a good `traceparent` (section 3.3).
    """
    if not state or len(state) > _MAX_STATE_BYTES:
        return b""
    members = [member.strip(b" \t") for member in state.split(b",")]
    if len(members) > _MAX_STATE_MEMBERS:
        return b""
    if all(not member or _STATE_MEMBER.fullmatch(member) for member in members):
        return state
    return b""


def _from_b3(
    named: Mapping[bytes, bytes], rng: Random, span_id: int, sample_ratio: float
) -> TraceContext:
    trace_id, parent_id, decision = _read_b3(named)
    if not trace_id or not parent_id:
        trace_id, parent_id = rng.getrandbits(128) or 1, 0
    if decision is None:
        decision = is_sampled(trace_id, sample_ratio)
    return TraceContext(trace_id, parent_id, span_id, decision, b"")


def _read_b3(named: Mapping[bytes, bytes]) -> tuple[int, int, bool | None]:
    """Return trace, parent (0 for none) and the caller's decision, if it made one.

    A decision may come alone: `b3: 0` asks not to sample the trace begun here.
    """
    line = named.get(b"b3", b"").strip().lower()
    if line:
        match = _B3.fullmatch(line)
        if match is None:
            return 0, 0, _B3_DECISIONS.get(line)
        decision = None if match[3] is None else _B3_DECISIONS[match[3]]
        return int(match[1], 16), int(match[2], 16), decision
    decision = _B3_DECISIONS.get(named.get(b"x-b3-sampled", b"").strip().lower())
    if named.get(b"x-b3-flags", b"").strip() == b"1":
        decision = True
    ids = b"%b-%b" % (named.get(b"x-b3-traceid", b""), named.get(b"x-b3-spanid", b""))
    match = _B3_IDS.fullmatch(ids.lower())
    if match is None:
        return 0, 0, decision
    return int(match[1], 16), int(match[2], 16), decision
