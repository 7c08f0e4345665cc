"""The targets: a function that takes bytes, and raises when its sentence is not true.

None of them is told what is right for an input: two readings of it are held to
account, or one and the list of what may be refused.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from sidecar.policy.deadline import parse_deadline_ms, parse_grpc_timeout
from sidecar.policy.retry import parse_retry_after
from sidecar.route.explain import explain
from sidecar.route.table import RouteTable
from sidecar.settings.load import load_text
from sidecar.settings.problem import Problem, SettingsError
from sidecar.upstream.pool import idle_limit_s
from sidecar.wire import trace_context
from sidecar.wire.framing import (
    ChunkedReader,
    FramingError,
    encode_chunk,
    encode_last_chunk,
)
from sidecar.wire.head import HEAD_END, HeadError, parse_request, parse_response
from tests.fuzz import forwarding
from tests.fuzz.talk import talk

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.model import Fields

    Target = Callable[[bytes], None]

REFUSALS = frozenset((400, 414, 431, 501, 505))
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
_TRACE_NAMES = (
    b"traceparent", b"tracestate", b"b3", b"x-b3-traceid", b"x-b3-spanid",
    b"x-b3-sampled", b"x-b3-flags",
)  # fmt: skip
_MAX_BY_BYTE = 1024  # What is longer would take long.
_MAX_DELAY_S = 99_999_999 * 3600.0

_ROUTES = """
upstreams: {app: {endpoints: ["10.0.0.1:80"]}}
routes:
  - {name: exact, upstream: app, matches: [{path: {type: Exact, value: /a}}]}
  - name: host
    upstream: app
    hosts: ["a.b", "*.b"]
    matches: [{path: {type: PathPrefix, value: /a/}}]
  - name: pattern
    upstream: app
    matches:
      - {path: {type: RegularExpression, value: "/[ab]+/.*"}, method: GET}
      - {path: {type: RegularExpression, value: "(?s)/x.y"}}
  - name: fields
    upstream: app
    matches:
      - path: {type: PathPrefix, value: /}
        headers: [{name: x, value: "1"}]
        query: [{name: q, value: "a b"}]
      - path: {type: PathPrefix, value: /a}
        query: [{name: q, value: "[0-9]+", type: RegularExpression}]
  - {name: rest, upstream: app, hosts: ["*"], priority: -1}
"""


def first_head(data: bytes) -> bytes:
    """Return a head as a connection would cut it off: from its first line on."""
    while data.startswith(b"\r\n"):
        data = data[2:]
    return data.partition(HEAD_END)[0] + HEAD_END


def check_refusal(error: HeadError) -> None:
    """The client is told one of the statuses that are documented, and why."""
    assert error.status in REFUSALS, error.status
    assert error.detail


def head(data: bytes) -> None:
    """A request head is refused, or h11 reads what is sent on of it as we did."""
    raw = first_head(data)
    try:
        parsed = parse_request(raw)
    except HeadError as error:
        check_refusal(error)
        return
    again = parse_request(raw)  # Some of its lines are remembered by now.
    assert forwarding.facts(again) == forwarding.facts(parsed)
    for is_trusted in (False, True):
        sent = forwarding.sent_on(parsed, is_trusted=is_trusted)
        forwarding.check_same(parsed, sent)


def response(data: bytes) -> None:
    """A response head is refused, or h11 reads what a client gets of it as we did."""
    method = METHODS[data[0] % len(METHODS)] if data else "GET"
    raw = first_head(data[1:])
    try:
        parsed = parse_response(raw, method)
    except HeadError as error:
        check_refusal(error)
        return
    forwarding.check_response(parsed, method)


def body(data: bytes) -> None:
    """A chunked body is the same in all pieces, and when it is written anew."""
    step, raw = (data[0] % 61 or 1, data[1:]) if data else (1, b"")
    whole = read_chunked(raw, len(raw) or 1)
    for piece_bytes in (1, step) if len(raw) <= _MAX_BY_BYTE else (step,):
        pieces = read_chunked(raw, piece_bytes)
        if whole is None or pieces is None:
            assert whole is pieces, (whole, pieces)
        else:
            assert pieces == whole, (pieces, whole)
    if whole is None or whole[3] is False:
        return
    content, _, trailers, _ = whole
    anew = (encode_chunk(content) if content else b"") + encode_last_chunk(trailers)
    assert read_chunked(anew + b"next", 7) == (content, b"next", trailers, True)
    assert forwarding.body_by_h11(anew) == (content, trailers)


Body = tuple[bytes, bytes, "Fields", bool]


def read_chunked(raw: bytes, piece_bytes: int) -> Body | None:
    """Return content, what follows, trailers, whether it was whole; None: refused."""
    reader = ChunkedReader()
    content, at = b"", 0
    try:
        while at < len(raw) and not reader.is_complete:
            content += reader.feed(raw[at : at + piece_bytes])
            at += piece_bytes
    except FramingError:
        return None
    is_whole = reader.end_of_input()
    assert is_whole == reader.is_complete
    return content, reader.rest + raw[at:], reader.trailers, is_whole


_NOTHING_TOLD = Problem("file", 0, 0, "", "")  # It has no words.


def settings(data: bytes) -> None:
    """A file is a configuration, or a list of problems, each with a place and words."""
    text = data.decode("utf-8", "replace")
    try:
        loaded = load_text(text, "file")
    except SettingsError as error:
        problems = error.problems or [_NOTHING_TOLD]
    else:
        problems = loaded.warnings
        RouteTable(loaded.snapshot.routes)
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + 2
    lines += text.count("\u2028") + text.count("\u2029")
    for problem in problems:
        assert problem.message
        assert problem.file == "file"
        assert 0 <= problem.line <= lines, problem
        assert (problem.column > 0) == (problem.line > 0), problem
        assert "\n" not in str(problem), problem


def values(data: bytes) -> None:
    """A value that steers the proxy is nothing, or a number within its bounds."""
    deadline_s = parse_deadline_ms(data)
    if deadline_s is not None:
        assert 0 <= deadline_s < 1e7
    grpc_s = parse_grpc_timeout(data)
    if grpc_s is not None:
        assert 0 <= grpc_s <= _MAX_DELAY_S
    wait_s = parse_retry_after(data, 1.7e9)
    if wait_s is not None:
        assert wait_s >= 0  # Also not a NaN.
    assert 0 <= idle_limit_s(60.0, data) <= 60.0


def trace(data: bytes) -> None:
    """A trace context is a valid one, and written as W3C it is read as the same."""
    given = zip(_TRACE_NAMES, data.split(b"\n"), strict=False)
    named = {name: value for name, value in given if value}
    context = trace_context.begin(named, Random(1), 0.5)
    assert 0 < context.trace_id < 1 << 128
    assert 0 < context.span_id < 1 << 64
    assert 0 <= context.parent_id < 1 << 64
    line = (context.trace_id, context.span_id, context.sampled)
    named = {b"traceparent": b"00-%032x-%016x-%02x" % line}
    if context.state:
        named[b"tracestate"] = context.state
    read = trace_context.begin(named, Random(2), 0.5)
    assert (read.trace_id, read.parent_id, read.sampled) == line
    assert read.state == context.state


def route(data: bytes) -> None:
    """The table takes the route that a linear reading of all of them explains."""
    try:
        parsed = parse_request(first_head(data))
    except HeadError:
        return
    found = _TABLE.find(parsed)
    explained = explain(_SNAPSHOT.routes, parsed)
    assert found == explained.winner, (found, explained.winner)


_SNAPSHOT = load_text(_ROUTES).snapshot
_TABLE = RouteTable(_SNAPSHOT.routes)
TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (head, response, body, settings, values, trace, route, talk)
}
