"""What a proxy changes in a header section, and nothing else.

Fields go on as they came: order, case, duplicates. Removed are those that mean
one connection only (RFC 9110, 7.6.1) and those that this hop writes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sidecar.model import (
    CHUNKED,
    SENT_ON,
    SENT_ON_IF_TRUSTED,
    STAYS_HERE,
    Fields,
    spelt,
)

if TYPE_CHECKING:
    from sidecar.model import HeaderSection, RequestHead, ResponseHead
    from sidecar.settings.snapshot import FieldEdits

HOP_BY_HOP: Final = frozenset(
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
_WRITTEN_HERE: Final = frozenset(  # By this hop, in every request.
    (
        b"grpc-timeout",
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
_NOT_SENT_ON: Final = HOP_BY_HOP | _WRITTEN_HERE
_NOT_SENT_BACK: Final = HOP_BY_HOP | {
    b"x-316-code",  # Written anew where it is one.
    b"x-316-fault-id",
    b"x-316-processed",
    b"x-316-retry",
}
_CONTROL: Final = b"x-316-"
_FRAMING: Final = frozenset(
    (b"content-length", b"host")
)  # Connection may not name them.
_FORWARDED: Final = frozenset(
    (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
)
_PLAIN_CONNECTION: Final = frozenset((b"keep-alive", b"close"))  # They name no field.
_NOTHING: frozenset[bytes] = frozenset()

_MAX_KEPT_BYTES: Final = 2048  # Of a connection; it may be idle for long.
_NO_CONTENT: Final = 204
_RESET_CONTENT: Final = 205
_UPGRADE_REQUIRED: Final = 426
_FIRST_FINAL: Final = 200
_VIA: Final = b"Via: 1.1 "
_VIA_1_0: Final = b"Via: 1.0 "


def request_use(key: bytes) -> int:
    """Return what becomes of a request's field of that name at this hop.

    Many frameworks cannot tell "_" from "-" in a name (RFC 3875, 4.1.18): what is
    only let be in that disguise could be taken for what this hop says.
    """
    if b"_" in key:
        key = key.replace(b"_", b"-")
        if key in _FRAMING or key.startswith(_CONTROL):
            return STAYS_HERE
    if key in _NOT_SENT_ON:
        return STAYS_HERE
    return SENT_ON_IF_TRUSTED if key.startswith(_CONTROL) else SENT_ON


def response_use(key: bytes) -> int:
    """Return what becomes of a response's field of that name at this hop."""
    return STAYS_HERE if key in _NOT_SENT_BACK else SENT_ON


class Hop:
    """What this hop adds to the requests of one client connection.

    Args:
        via: Names this process.
        client: Address of the peer.
        scheme: "http" or "https", as the client spoke to us.
        is_trusted: Its X-Forwarded-* and x-316-* are believed.
    """

    __slots__ = (
        "_lines",
        "_lines_of",
        "client",
        "is_trusted",
        "kept",
        "kept_of",
        "scheme",
        "via",
    )

    def __init__(
        self, via: bytes, client: bytes, scheme: bytes, *, is_trusted: bool
    ) -> None:
        self.via = via
        self.client = client
        self.scheme = scheme
        self.is_trusted = is_trusted
        self._lines_of: tuple[int, bytes] | None = None  # Minor version, authority.
        self._lines = b""
        self.kept_of: HeaderSection[Any] | None = None  # Of the last request.
        self.kept = b""  # What `request_section` made of that.

    def lines(self, head: RequestHead) -> bytes:
        """Return Via and X-Forwarded-*; mostly the same as for the last request."""
        if self.is_trusted and not _FORWARDED.isdisjoint(head.named):
            return self._new_lines(head)
        wanted = (head.minor, head.authority)
        if wanted != self._lines_of:
            self._lines_of = wanted
            self._lines = self._new_lines(head)
        return self._lines

    def _new_lines(self, head: RequestHead) -> bytes:
        chain, scheme, asked_host = self.client, self.scheme, head.authority
        if self.is_trusted:
            before = head.named.get(b"x-forwarded-for")
            if before:
                chain = before + b", " + chain
            scheme = head.named.get(b"x-forwarded-proto") or scheme
            asked_host = head.named.get(b"x-forwarded-host") or asked_host
        return (
            b"Via: 1.%d %b\r\nX-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n"
            b"X-Forwarded-Host: %b\r\n"
            % (head.minor, self.via, chain, scheme, asked_host)
        )


def named_by_connection(value: bytes | None) -> frozenset[bytes]:
    """Return the lower-case names that a Connection field lists."""
    if value is None or value.lower() in _PLAIN_CONNECTION:
        return _NOTHING
    return _members(value) - _FRAMING


def _members(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t") for token in value.lower().split(b","))


def without_empty(value: bytes) -> bytes:
    """Return a list without the members that are empty (RFC 9110, 5.6.1.2)."""
    members = [member.strip(b" \t") for member in value.split(b",")]
    return b", ".join([member for member in members if member])


def edit(fields: Fields, edits: FieldEdits) -> Fields:
    """Return `fields` with `edits` done: remove, then set, then add."""
    replaced = {name.lower() for name, _ in edits.set} | edits.remove
    kept = [field for field in fields if field[0].lower() not in replaced]
    return [*kept, *edits.set, *edits.add]


def request_section(
    head: RequestHead, hop: Hop, host: bytes | None, edits: FieldEdits
) -> bytes:
    """Return the header lines to send upstream, the same for each attempt.

    Without request id and empty line: what differs from try to try is appended.
    `host` replaces the Host field where it is not None.
    """
    section = head.section
    is_plain = host is None and not edits.is_any and head.minor == 1
    if is_plain and section is hop.kept_of:
        return hop.kept
    most = SENT_ON_IF_TRUSTED if hop.is_trusted else SENT_ON
    named = head.named
    if host is not None or edits.is_any or b"connection" in named or head.minor == 0:
        kept = _edited_request(head, most, host, edits)
    else:
        kept = section.sent_on(most)
    kept += hop.lines(head)
    if head.body_bytes == CHUNKED:
        kept += b"Transfer-Encoding: chunked\r\n"
    if head.upgrade:
        asked = without_empty(named[b"upgrade"])
        kept += b"Connection: Upgrade\r\nUpgrade: %b\r\n" % asked
    elif b"te" in named and b"trailers" in _members(named[b"te"]):
        kept += b"TE: trailers\r\nConnection: TE\r\n"
    if is_plain and len(kept) <= _MAX_KEPT_BYTES:
        hop.kept_of, hop.kept = section, kept
    return kept


def _edited_request(
    head: RequestHead, most: int, host: bytes | None, edits: FieldEdits
) -> bytes:
    """Return the lines that are kept where more than their names decides."""
    dropped = named_by_connection(head.named.get(b"connection"))
    if host is not None:
        dropped |= {b"host"}
    if head.minor == 0:
        dropped |= {b"expect"}  # It cannot hear of a 100 (RFC 9110, 10.1.1).
    kept = [x for x in head.section.lines if x.use <= most and x.key not in dropped]
    first = b"" if host is None else b"Host: %b\r\n" % host
    if not edits.is_any:
        return first + b"".join([line.raw for line in kept])
    fields = edit(spelt(kept), edits)
    return first + b"".join([b"%b: %b\r\n" % field for field in fields])


def response_section(
    head: ResponseHead, via_line: bytes, edits: FieldEdits, extra: Fields
) -> bytes:
    """Return status line and header lines for the client, without framing.

    Content-Length goes on where the body has one; the caller adds
    Transfer-Encoding and Connection as its own connection needs them.

    Args:
        head: What came from upstream.
        via_line: The whole line that names this hop; a line with Date may precede it.
        edits: Those of the route.
        extra: Fields that this hop says; they replace those of the same name.
    """
    connection = head.named.get(b"connection")
    is_bare = head.status < _FIRST_FINAL or head.status in _BARE
    if extra or edits.is_any or is_bare or connection not in _USUAL_CONNECTION:
        kept = _edited_response(head, edits, extra, is_bare=is_bare)
    else:
        kept = head.section.sent_on()
    if head.minor == 0:
        via_line = via_line.replace(_VIA, _VIA_1_0)  # It tells what was received.
    return b"HTTP/1.1 %d %b\r\n%b%b" % (head.status, head.reason, kept, via_line)


def _edited_response(
    head: ResponseHead, edits: FieldEdits, extra: Fields, *, is_bare: bool
) -> bytes:
    dropped = named_by_connection(head.named.get(b"connection"))
    if is_bare:
        dropped |= {b"content-length"}  # RFC 9110, 8.6: a client may wait for it.
    last = _last_lines(head)
    kept = [x for x in head.section.lines if x.use == SENT_ON and x.key not in dropped]
    if not extra and not edits.is_any:
        return b"".join([line.raw for line in kept]) + last
    fields = edit(spelt(kept), edits)
    if extra:
        replaced = {name.lower() for name, _ in extra} - {b"proxy-status"}
        fields = [f for f in fields if f[0].lower() not in replaced]
        fields += extra
    return b"".join([b"%b: %b\r\n" % field for field in fields]) + last


def _last_lines(head: ResponseHead) -> bytes:
    """Return what a few statuses must say of this hop's connection."""
    if head.status == _RESET_CONTENT:  # It has no content (RFC 9110, 15.3.6), but a
        return b"Content-Length: 0\r\n"  # reader that knows only lengths asks for one.
    offered = head.named.get(b"upgrade")
    if head.status == _UPGRADE_REQUIRED and offered:  # RFC 9110, 15.5.22.
        return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % offered
    return b""


def is_switch_asked(asked: bytes | None, answered: bytes) -> bool:
    """Tell whether a 101 switches to what was asked for (RFC 9110, 7.8).

    Args:
        asked: Upgrade of the request, in lower case; None: nothing was.
        answered: Upgrade of the response.
    """
    return asked is not None and _members(answered) <= _members(asked)


_BARE: Final = frozenset((_NO_CONTENT, _RESET_CONTENT))
_USUAL_CONNECTION: Final = (None, b"keep-alive", b"close")
