"""From the bytes of a head to its value, or to a clear refusal.

The start line is read here by its grammar, the lines below it in `section.py`.
What two readers could understand differently although each line is well-formed
(two lengths, odd codings, odd targets) is refused here, each with its section of
RFC 9112. What a section of HTTP/1.1 means is kept with it: mostly it comes again.

llhttp cannot tell where in its input a message ended, so it is only ever given
whole heads; bodies are framed in `framing.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

import httptools

from sidecar.model import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    HeaderSection,
    RequestHead,
    ResponseHead,
)
from sidecar.wire.fields import request_use, response_use, without_empty
from sidecar.wire.section import CodingError, HeadError, SectionReader, too_many

__all__ = [
    "HEAD_END",
    "CodingError",
    "HeadError",
    "parse_request",
    "parse_response",
]

HEAD_END: Final = b"\r\n\r\n"

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
_VISIBLE: Final = bytes(range(0x21, 0x7F))
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?"
)
# Of a URI, with a name that is not empty (RFC 9110, 4.2.1) and a port that can be.
_HOST: Final = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]+)"
    rb"(?::(?:0*(?:[0-9]{1,4}|[1-5][0-9]{4}|6(?:[0-4][0-9]{3}|5(?:[0-4][0-9]{2}"
    rb"|5(?:[0-2][0-9]|3[0-5])))))?)?"
)
_ABSOLUTE: Final = re.compile(rb"(https?)://([^/?#:][^/?#]*)([^#]*)", re.IGNORECASE)
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_EMPTY: frozenset[bytes] = frozenset()
_SLASH: Final = ord("/")

_NO_CONTENT: Final = 204
_RESET_CONTENT: Final = 205
_NOT_MODIFIED: Final = 304
_FIRST_FINAL: Final = 200
_SWITCHING: Final = 101


class RequestFacts(NamedTuple):
    """What the header section of a request means."""

    authority: bytes
    host: bytes  # Lower case, without the port.
    body_bytes: int
    keep_alive: bool
    upgrade: bytes | None


class ResponseFacts(NamedTuple):
    """What the header section of a response means."""

    body_bytes: int  # If the status and the method allow for a body.
    keep_alive: bool


_requests: SectionReader[RequestFacts] = SectionReader(
    httptools.HttpRequestParser, b"GET / HTTP/1.1", request_use
)
_responses: SectionReader[ResponseFacts] = SectionReader(
    httptools.HttpResponseParser, b"HTTP/1.1 200 OK", response_use
)
_methods: dict[bytes, str] = {}  # Those that llhttp knew.


def parse_request(raw: bytes, max_fields: int = 100) -> RequestHead:
    """Parse the head of a request, ending with its empty line.

    Raises:
        HeadError: It is malformed or ambiguous, or has too many fields.
    """
    end = raw.find(b"\r\n") + 2
    start = raw[: end - 2]
    parts = start.split(b" ")
    if len(parts) != 3 or not parts[1] or parts[1].translate(None, _VISIBLE):  # noqa: PLR2004 - RFC 9112, 3: two SP, no more
        raise HeadError(_BAD_LINE)
    method, target, version = parts
    name = _methods.get(method) or _known_method(method, start, version)
    is_1_1 = version == b"HTTP/1.1"
    if not is_1_1 and version != b"HTTP/1.0":
        raise _bad_version(version)
    section = _requests.read(raw[end:], max_fields)
    if len(section.lines) > max_fields:  # A known one, read under another limit.
        raise too_many(max_fields)
    facts = section.facts if is_1_1 else None
    if facts is None:
        facts = _request_facts(section, is_1_1=is_1_1)
    authority, host, body_bytes, keep_alive, upgrade = facts
    if target[0] == _SLASH and b"#" not in target:
        path, mark, query = target.partition(b"?")
    else:
        authority, path, mark, query = _odd_target(method, target, authority)
        host = _host_name(authority)
    return RequestHead(
        name,
        raw[:end],
        target,
        path,
        query if mark else None,
        1 if is_1_1 else 0,
        authority,
        host,
        section,
        body_bytes,
        keep_alive,
        upgrade,
    )


def parse_response(raw: bytes, method: str) -> ResponseHead:
    """Parse the head of a response to a request with `method`.

    Raises:
        HeadError: It is malformed or ambiguous: the peer cannot be trusted.
    """
    end = raw.find(b"\r\n")
    start = raw[:end]
    minor, status, reason = _status_line(start)
    section = _responses.read(raw[end + 2 :])
    facts = section.facts if minor else None
    if (
        method == "HEAD"
        or status < _FIRST_FINAL
        or status in (_NO_CONTENT, _RESET_CONTENT, _NOT_MODIFIED)
    ):
        _check_bodiless(section.named, status)
        length, keep_alive = NO_BODY, _is_kept(section.named, minor)
    else:
        length, keep_alive = facts or _response_facts(section, minor)
    return ResponseHead(status, reason, minor, section, length, keep_alive)


# Start lines.

_BAD_LINE: Final = "the request line is malformed"


def _known_method(method: bytes, start: bytes, version: bytes) -> str:
    """Return a method that llhttp knows and that is served here."""
    if not _TOKEN.fullmatch(method):
        raise HeadError(_BAD_LINE)
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise _bad_version(version)
    if method == b"CONNECT":
        msg = "CONNECT is not served here"
        raise HeadError(msg, 501)
    _requests.judge(start, [])
    return _methods.setdefault(method, method.decode("ascii"))


def _bad_version(version: bytes) -> HeadError:
    if _VERSION.fullmatch(version) is None:
        return HeadError(_BAD_LINE)
    return HeadError("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)


@lru_cache(maxsize=256)
def _status_line(start: bytes) -> tuple[int, int, bytes]:
    """Return minor version, status and reason."""
    line = _STATUS_LINE.fullmatch(start)
    if line is None:
        msg = "the status line is malformed"
        raise HeadError(msg)
    return int(line[1]), int(line[2]), line[3] or b""


def _odd_target(
    method: bytes, target: bytes, host: bytes
) -> tuple[bytes, bytes, bytes, bytes]:
    """Return authority, path, "?" and query of a target (RFC 9112, 3.2)."""
    if b"#" in target:
        msg = "the request target has a fragment"
        raise HeadError(msg)
    if target == b"*" and method == b"OPTIONS":
        return host, target, b"", b""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        msg = "the request target has a form that this proxy does not serve"
        raise HeadError(msg)
    scheme, authority, rest = absolute.groups()
    if _HOST.fullmatch(authority) is None:
        msg = "the host of the request target is malformed"
        raise HeadError(msg)
    if scheme.lower() != b"http":
        msg = "https is not answered for on a connection without TLS"  # RFC 9110, 7.4.
        raise HeadError(msg)  # Not 421: a proxy must not (15.5.20).
    if not rest and method == b"OPTIONS":
        return authority, b"*", b"", b""  # RFC 9112, 3.2.4.
    path, mark, query = rest.partition(b"?")
    return authority, path or b"/", mark, query


# What a section means.


def _request_facts(
    section: HeaderSection[RequestFacts], *, is_1_1: bool
) -> RequestFacts:
    named = section.named
    authority = _host_of(named, is_1_1=is_1_1)
    upgrade = None
    if is_1_1 and b"upgrade" in _tokens(named.get(b"connection")):
        upgrade = _upgrade(named)
    facts = RequestFacts(
        authority,
        _host_name(authority),
        _request_length(named, is_1_1=is_1_1),
        _is_kept(named, 1 if is_1_1 else 0),
        upgrade,
    )
    if is_1_1:
        section.facts = facts
    return facts


def _response_facts(section: HeaderSection[ResponseFacts], minor: int) -> ResponseFacts:
    named = section.named
    facts = ResponseFacts(_response_length(named, minor), _is_kept(named, minor))
    if minor:
        section.facts = facts
    return facts


def _host_of(named: dict[bytes, bytes], *, is_1_1: bool) -> bytes:
    host = named.get(b"host")
    if host is None:
        if is_1_1:
            msg = "Host is missing"  # RFC 9112, 3.2.
            raise HeadError(msg)
        return b""
    if _HOST.fullmatch(host) is None:
        msg = "Host is malformed"
        raise HeadError(msg)
    return host


def _host_name(authority: bytes) -> bytes:
    if authority[-1:] == b"]":
        return authority.lower()
    name, colon, port = authority.rpartition(b":")
    return (name if colon and b"]" not in port else authority).lower()


def _tokens(value: bytes | None) -> frozenset[bytes]:
    if value is None:
        return _EMPTY
    return frozenset(token.strip(b" \t") for token in value.lower().split(b","))


def _is_kept(named: dict[bytes, bytes], minor: int) -> bool:
    """Tell whether the connection goes on; "close" wins (RFC 9112, 9.3)."""
    tokens = _tokens(named.get(b"connection"))
    return b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens)


def _upgrade(named: dict[bytes, bytes]) -> bytes | None:
    """Return the protocols asked for; HTTP/2 in disguise is not offered on."""
    value = without_empty(named.get(b"upgrade", b"").lower())
    is_h2 = any(token.startswith(b"h2") for token in _tokens(value))
    return None if not value or is_h2 else value


def _request_length(named: dict[bytes, bytes], *, is_1_1: bool) -> int:
    coding = named.get(b"transfer-encoding")
    if coding is None:
        length = named.get(b"content-length")
        return NO_BODY if length is None else _content_length(length)
    if not is_1_1:
        msg = "Transfer-Encoding in HTTP/1.0"  # RFC 9112, 6.1.
        raise HeadError(msg)
    if b"content-length" in named:
        msg = "both Content-Length and Transfer-Encoding"  # RFC 9112, 6.1.
        raise HeadError(msg)
    codings = [part.strip(b" \t") for part in coding.lower().split(b",")]
    if codings == [b"chunked"]:
        return CHUNKED
    if codings[-1] != b"chunked" or codings.count(b"chunked") > 1 or b"" in codings:
        msg = "Transfer-Encoding does not end with chunked, once"  # RFC 9112, 6.3.
        raise HeadError(msg)
    msg = "a transfer coding other than chunked"
    raise HeadError(msg, 501)


def _response_length(named: dict[bytes, bytes], minor: int) -> int:
    """Return the length of the body, by the rules of RFC 9112, 6.3."""
    coding = named.get(b"transfer-encoding")
    if coding is not None:
        if not minor or b"content-length" in named:
            raise HeadError(_AMBIGUOUS)
        if coding.lower() != b"chunked":
            msg = "the response has a transfer coding other than chunked, once"
            raise CodingError(msg)
        return CHUNKED
    length = named.get(b"content-length")
    return UNTIL_CLOSE if length is None else _content_length(length)


def _check_bodiless(named: dict[bytes, bytes], status: int) -> None:
    """Refuse what would be wrong to send on, though no body has to be found.

    Raises:
        HeadError: The length that another response would have is none (RFC 9110,
            8.6), or a 101 does not say to what it switches (15.2.2).
    """
    length = named.get(b"content-length")
    if length is not None:
        _content_length(length)
        if b"transfer-encoding" in named:
            raise HeadError(_AMBIGUOUS)
    if status == _SWITCHING and b"upgrade" not in named:
        msg = "101 does not tell what is spoken from now on"
        raise HeadError(msg)


_AMBIGUOUS: Final = "the length of the response is ambiguous"


def _content_length(value: bytes) -> int:
    if _DIGITS.fullmatch(value) is None:
        msg = "Content-Length is not a number"
        raise HeadError(msg)
    return int(value)
