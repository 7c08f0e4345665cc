"""What a proxy changes in a header section, and nothing else.

Fields go on as they came: order, case, duplicates. Removed are those that mean
one connection only (RFC 9110, 7.6.1) and those that this hop writes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.model import CHUNKED, Fields, hot_value

if TYPE_CHECKING:
    from sidecar.model import RequestHead, ResponseHead
    from sidecar.settings.snapshot import FieldEdits

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
_WRITTEN_HERE = frozenset(  # By this hop, in every request.
    (
        b"traceparent",
        b"tracestate",
        b"x-316-attempt",
        b"x-316-deadline-ms",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-request-id",
    )
)
_NOT_SENT_ON = HOP_BY_HOP | _WRITTEN_HERE
_NOT_SENT_BACK = HOP_BY_HOP | {b"x-316-processed", b"x-316-retry"}
_CONTROL = b"x-316-"
_FRAMING = frozenset((b"content-length", b"host"))  # Connection may not name them.
_LENGTH = frozenset((b"content-length",))
_NO_NAMES: frozenset[bytes] = frozenset()

_NO_CONTENT = 204
_FIRST_FINAL = 200


@hot_value
class Hop:
    """What this hop adds to one request."""

    via: bytes
    client: bytes  # Address of the peer.
    scheme: bytes  # "http" or "https", as the client spoke to us.
    is_trusted: bool  # Its X-Forwarded-* and x-316-* are believed.
    request_id: bytes


def named_by_connection(value: bytes | None) -> frozenset[bytes]:
    """Return the lower-case names that a Connection field lists."""
    if value is None:
        return _NO_NAMES
    return _members(value) - _FRAMING


def _members(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t") for token in value.lower().split(b","))


def edit(fields: Fields, edits: FieldEdits) -> Fields:
    """Return `fields` with `edits` done: remove, then set, then add."""
    replaced = {name.lower() for name, _ in edits.set} | edits.remove
    kept = [field for field in fields if field[0].lower() not in replaced]
    return [*kept, *edits.set, *edits.add]


def request_section(
    head: RequestHead, hop: Hop, host: bytes | None, edits: FieldEdits
) -> bytes:
    """Return the header lines to send upstream, the same for each attempt.

    Without the empty line: what differs from try to try is appended. `host`
    replaces the Host field where it is not None.
    """
    dropped = _NOT_SENT_ON
    connection = head.named.get(b"connection")
    if connection is not None:
        dropped = dropped | named_by_connection(connection)
    fields = [field for field in head.fields if field[0].lower() not in dropped]
    if not hop.is_trusted:
        fields = [f for f in fields if not f[0].lower().startswith(_CONTROL)]
    if host is not None:
        fields = [f for f in fields if f[0].lower() != b"host"]
        fields.insert(0, (b"Host", host))
    if edits:
        fields = edit(fields, edits)
    lines = [b"%b: %b\r\n" % field for field in fields]
    lines.append(_hop_lines(head, hop))
    return b"".join(lines)


def _hop_lines(head: RequestHead, hop: Hop) -> bytes:
    """Return the lines that this hop writes, framing among them."""
    named = head.named
    chain, scheme, asked_host = hop.client, hop.scheme, head.authority
    if hop.is_trusted:
        before = named.get(b"x-forwarded-for")
        if before:
            chain = before + b", " + chain
        scheme = named.get(b"x-forwarded-proto") or scheme
        asked_host = named.get(b"x-forwarded-host") or asked_host
    lines = (
        b"Via: %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
        b"X-Forwarded-Host: %b\r\nx-request-id: %b\r\n"
        % (hop.via, chain, scheme, asked_host, hop.request_id)
    )
    if head.body_bytes == CHUNKED:
        lines += b"Transfer-Encoding: chunked\r\n"
    if b"te" in named and b"trailers" in _members(named[b"te"]):
        lines += b"TE: trailers\r\nConnection: TE\r\n" if not head.upgrade else b""
    if head.upgrade:
        lines += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % named[b"upgrade"]
    return lines


def response_section(
    head: ResponseHead, via: bytes, edits: FieldEdits, extra: Fields
) -> bytes:
    """Return status line and header lines for the client, without framing.

    Content-Length goes on where the body has one; the caller adds
    Transfer-Encoding and Connection as its own connection needs them.
    """
    dropped = _NOT_SENT_BACK
    connection = head.named.get(b"connection")
    if connection is not None and connection not in (b"keep-alive", b"close"):
        dropped = dropped | named_by_connection(connection)
    if head.status < _FIRST_FINAL or head.status == _NO_CONTENT:
        dropped = dropped | _LENGTH  # RFC 9110, 8.6: a client may wait for it.
    fields = [field for field in head.fields if field[0].lower() not in dropped]
    if edits:
        fields = edit(fields, edits)
    if extra:
        replaced = {name.lower() for name, _ in extra} - {b"proxy-status"}
        fields = [f for f in fields if f[0].lower() not in replaced]
        fields += extra
    lines = [b"%b: %b\r\n" % field for field in fields]
    return b"HTTP/1.1 %d %b\r\n%bVia: %b\r\n" % (
        head.status,
        head.reason,
        b"".join(lines),
        via,
    )
