"""What goes on, as the proxy writes it, read by the proxy and by h11."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import h11

from sidecar import forwarding
from sidecar.accept.response import ResponseWriter
from sidecar.model import NO_BODY
from sidecar.route.table import RouteTable
from sidecar.settings.load import from_upstream
from sidecar.settings.snapshot import FieldEdits
from sidecar.wire import trace_context
from sidecar.wire.fields import Hop, response_section
from sidecar.wire.head import parse_request

if TYPE_CHECKING:
    from sidecar.model import Fields, RequestHead, ResponseHead

ENDPOINT = b"127.0.0.1:1"
_SNAPSHOT = from_upstream(ENDPOINT.decode()).snapshot
_TABLE = RouteTable(_SNAPSHOT.routes)
_MAX_BYTES = 1 << 20
_OURS = frozenset(  # Names that this hop writes; it may have dropped the caller's.
    b"via x-forwarded-for x-forwarded-proto x-forwarded-host x-request-id"
    b" traceparent tracestate x-316-attempt x-316-deadline-ms grpc-timeout"
    b" transfer-encoding connection upgrade te host".split()
)
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization"
    b" proxy-connection te transfer-encoding upgrade".split()
)
_BARE = frozenset((204, 304))


class Facts(NamedTuple):
    """What a request head says."""

    method: str
    path: bytes
    query: bytes | None
    authority: bytes
    body_bytes: int
    keep_alive: bool
    upgrade: bytes | None
    fields: Fields


def facts(head: RequestHead) -> Facts:
    return Facts(
        head.method, head.path, head.query, head.authority, head.body_bytes,
        head.keep_alive, head.upgrade, head.fields,
    )  # fmt: skip


def sent_on(head: RequestHead, *, is_trusted: bool) -> bytes:
    """Return the head of the first attempt."""
    hop = Hop(b"sidecar-1", b"127.0.0.1", b"http", is_trusted=is_trusted)
    found = _TABLE.find(head)
    assert found is not None
    common = forwarding.common_lines(head, hop, found, _SNAPSHOT.upstreams["app"])
    rng = Random(1)
    trace = trace_context.begin(head.named, rng, 0.0)
    request_id = forwarding.request_id(head, trace, rng)
    return forwarding.head_of_attempt(common, request_id, trace, 1, 5.0)


def check_same(head: RequestHead, sent: bytes) -> None:
    """What was sent on says the same: to this parser, and to h11."""
    seen = parse_request(sent, 1000)
    assert (seen.method, seen.path, seen.query) == (head.method, head.path, head.query)
    assert seen.body_bytes == head.body_bytes
    assert seen.upgrade == head.upgrade
    assert seen.keep_alive
    assert seen.authority == (head.authority or seen.authority)
    assert seen.authority in (head.authority, ENDPOINT)
    dropped = _OURS | _HOP_BY_HOP | _listed(head)
    kept = [field for field in head.fields if _goes_on(field[0].lower(), dropped)]
    assert [f for f in seen.fields if _goes_on(f[0].lower(), dropped)] == kept
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_BYTES)
    judge.receive_data(sent)
    request = judge.next_event()
    assert isinstance(request, h11.Request), request
    assert request.method == head.method.encode()
    assert request.target == (head.target if head.target[:1] in b"/*" else seen.target)
    fields = [(name.lower(), value) for name, value in seen.fields]
    assert [(name, value) for name, value in request.headers] == fields
    following = judge.next_event()
    has_body = head.body_bytes not in (NO_BODY, 0)
    assert (following is h11.NEED_DATA) == has_body, following


def _listed(head: RequestHead) -> frozenset[bytes]:
    """Return the names that its Connection lists, but for those that frame it."""
    value = head.named.get(b"connection", b"").lower()
    names = frozenset(name.strip(b" \t") for name in value.split(b","))
    return names - {b"content-length"}


def _goes_on(key: bytes, dropped: frozenset[bytes]) -> bool:
    return key not in dropped and not key.startswith(b"x-316-")


_SAID_ANEW = {
    b"via",
    b"x-316-code",
    b"x-316-fault-id",
    b"x-316-processed",
    b"x-316-retry",
}


class _Sink(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """All is taken at once."""


def check_response(head: ResponseHead, method: str) -> None:
    """What the client gets says the same to h11: status, fields, where it ends."""
    sink = _Sink()
    writer = ResponseWriter(sink, 64 * 1024)
    section = response_section(head, b"Via: 1.1 sidecar\r\n", FieldEdits(), [])
    if head.status == 101:
        writer.upgrade(section, head.named[b"upgrade"])
    elif head.status < 200:
        writer.interim(section)
    else:
        writer.start(section, head, method, b"")
    judge = _asked(method, is_upgrade=head.status == 101)
    judge.receive_data(sink.written)
    got = judge.next_event()
    assert isinstance(got, h11.Response | h11.InformationalResponse), got
    assert (got.status_code, got.reason) == (head.status, head.reason)
    _check_fields(head, list(got.headers))
    if head.status >= 200:
        following = judge.next_event()
        ends = head.body_bytes in (NO_BODY, 0) or method == "HEAD"
        ends = ends or head.status in _BARE
        assert isinstance(following, h11.EndOfMessage) == ends, following


def _asked(method: str, *, is_upgrade: bool) -> h11.Connection:
    judge = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_BYTES)
    fields = [("Host", "a")]
    if is_upgrade:
        fields += [("Connection", "Upgrade"), ("Upgrade", "x")]
    judge.send(h11.Request(method=method, target="/", headers=fields))
    judge.send(h11.EndOfMessage())
    return judge


def _check_fields(head: ResponseHead, got: list[tuple[bytes, bytes]]) -> None:
    value = head.named.get(b"connection", b"").lower()
    dropped = {name.strip(b" \t") for name in value.split(b",")} - {b"content-length"}
    dropped |= _HOP_BY_HOP | _SAID_ANEW
    if head.status < 200 or head.status in {204, 205}:
        dropped |= {b"content-length"}
    fields = [(name.lower(), value) for name, value in head.fields]
    kept = [field for field in fields if field[0] not in dropped]
    assert [field for field in got if field[0] not in dropped] == kept


def body_by_h11(raw: bytes) -> tuple[bytes, Fields]:
    """Return content and trailers of a chunked body as h11 reads them."""
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_BYTES)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    judge.receive_data(head + raw)
    content = b""
    while True:
        event = judge.next_event()
        if isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            return content, [(name, value) for name, value in event.headers.raw_items()]
        else:
            assert isinstance(event, h11.Request), event
