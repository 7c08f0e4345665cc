"""From the bytes of a head to its value, or to a clear refusal.

    head --> start line --> by a pattern of its grammar
         --> the others --> seen before: what was found then
                            new: read by llhttp (httptools), and by a pattern

Both judges must find a new line well-formed, and the same name in it: so bare CR
and LF, folded lines and space before a colon have no way in. What two readers
could understand differently although each line is well-formed (two lengths, two
hosts, odd codings) is refused in every head, with its section of RFC 9112.

llhttp cannot tell where in its input a message ended, so it is only ever given
whole heads; bodies are framed in `framing.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import httptools

from sidecar.model import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    FieldLine,
    RequestHead,
    ResponseHead,
)
from sidecar.wire.fields import request_use, response_use

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/([0-9]\.[0-9])"
)
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?")
_FIELD_LINE = re.compile(  # The value with its blanks: to split them off backtracks.
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)"
)
_HOST = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#:][^/?#]*)([^#]*)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_EMPTY: frozenset[bytes] = frozenset()
_VERSIONS = (b"1.1", b"1.0")
_SLASH = ord("/")
_SINGLE = frozenset((b"content-length", b"host"))
_REPEATING = frozenset(
    b"accept accept-charset accept-encoding accept-language accept-ranges allow"
    b" cache-control connection content-encoding content-language content-length"
    b" content-type date expires host keep-alive pragma server te trailer"
    b" transfer-encoding upgrade upgrade-insecure-requests user-agent vary via"
    b" access-control-allow-headers access-control-allow-methods"
    b" access-control-allow-origin strict-transport-security x-content-type-options"
    b" x-forwarded-host x-forwarded-proto x-frame-options x-powered-by".split()
)
_MAX_KNOWN_LINES = 4096
_MAX_KNOWN_BYTES = 256

_NO_CONTENT = 204
_NOT_MODIFIED = 304
_FIRST_FINAL = 200


class HeadError(Exception):
    """A head that must not be acted on.

    Args:
        detail: What is wrong, for people; holds no bytes of the input.
        status: What a client is to be told: 400, 414, 431, 501 or 505.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class _Heads:
    """Reads the header lines of heads of one kind, by llhttp and by its memory.

    Most lines come again and again, so a line that is likely to is given to
    llhttp once and remembered. What is between lines (two lengths, two hosts) is
    looked at below, in every head. Only names in `_REPEATING` are remembered:
    none whose values are secret, or differ from request to request.
    """

    __slots__ = ("_known", "_parser", "_use_of")

    def __init__(
        self,
        parser: type[httptools.HttpRequestParser | httptools.HttpResponseParser],
        use_of: Callable[[bytes], int],
    ) -> None:
        self._parser = parser
        self._use_of = use_of
        self._known: dict[bytes, FieldLine] = {}

    def read(
        self, start: bytes, texts: list[bytes]
    ) -> tuple[list[FieldLine], dict[bytes, bytes]]:
        """Return the lines of a head, and their values by name.

        Args:
            start: The request or status line, found well-formed.
            texts: The other lines, without their line breaks.

        Raises:
            HeadError: A line is malformed, or a single one is there twice.
        """
        known = self._known
        try:
            lines = [known[text] for text in texts]
        except KeyError:
            lines = self._learn(start, texts)
        named: dict[bytes, bytes] = {}
        for key, value, _, _ in lines:
            if key in named:
                if key in _SINGLE:
                    msg = f"{key.decode()} is there twice"  # RFC 9112, 3.2 and 6.3.
                    raise HeadError(msg)
                named[key] += b", " + value
            else:
                named[key] = value
        return lines, named

    def _learn(self, start: bytes, texts: list[bytes]) -> list[FieldLine]:
        """Have llhttp read the lines that are new."""
        known = self._known
        new = [text for text in texts if text not in known]
        found = dict(zip(new, self.judge(start, new), strict=True))
        lines = [known.get(text) or found[text] for text in texts]
        if len(known) + len(found) > _MAX_KNOWN_LINES:
            known.clear()
        for text, line in found.items():
            if line.key in _REPEATING and len(text) <= _MAX_KNOWN_BYTES:
                known[text] = line
        return lines

    def judge(self, start: bytes, texts: list[bytes]) -> list[FieldLine]:
        """Return lines that both llhttp and the grammar find well-formed."""
        collector = _Collector()
        raw = b"\r\n".join((start, *texts, b"", b""))
        try:
            self._parser(collector).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # It would stop reading HTTP here; a head is all it was given.
        except httptools.HttpParserInvalidMethodError:
            msg = "the method is none that this proxy knows"
            raise HeadError(msg, 501) from None
        except httptools.HttpParserError as error:
            raise HeadError(str(error) or "malformed header section") from None
        lines = [self._line(text) for text in texts]
        if collector.names != [line.raw[: len(line.key)] for line in lines]:
            msg = "the header section can be read in two ways"
            raise HeadError(msg)
        return lines

    def _line(self, text: bytes) -> FieldLine:
        match = _FIELD_LINE.fullmatch(text)
        if match is None:
            msg = "a header field is malformed"
            raise HeadError(msg)
        key = match[1].lower()
        return FieldLine(key, match[2].strip(b" \t"), text + b"\r\n", self._use_of(key))


class _Collector:
    """What llhttp calls.

    A parser is made for each head: one that is kept must be fed bodies, too, and
    refuses what follows a `Connection: close`.
    """

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: list[bytes] = []

    def on_header(self, name: bytes, _: bytes) -> None:
        self.names.append(name)


_requests = _Heads(httptools.HttpRequestParser, request_use)
_responses = _Heads(httptools.HttpResponseParser, response_use)
_methods: dict[bytes, str] = {}  # Those that llhttp knew.


def parse_request(raw: bytes, max_fields: int = 100) -> RequestHead:
    """Parse the head of a request, ending with its empty line.

    Raises:
        HeadError: It is malformed or ambiguous, or has too many fields.
    """
    start, *texts = raw[:-4].split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(start)
    if line is None:
        msg = "the request line is malformed"  # RFC 9112, 3: one SP, no more.
        raise HeadError(msg)
    method, target, version = line.groups()
    if version not in _VERSIONS:
        msg = "only HTTP/1.0 and HTTP/1.1 are spoken here"
        raise HeadError(msg, 505)
    if len(texts) > max_fields:
        msg = f"more than {max_fields} header fields"
        raise HeadError(msg, 431)
    lines, named = _requests.read(start, texts)
    is_1_0 = version == b"1.0"
    host = _host_of(named, is_1_0=is_1_0)
    if target[0] == _SLASH and method != b"CONNECT" and b"#" not in target:
        path, mark, query = target.partition(b"?")
        authority = host
    else:
        authority, path, mark, query = _odd_target(method, target, host)
    tokens = _tokens(named[b"connection"]) if b"connection" in named else _EMPTY
    return RequestHead(
        _methods.get(method) or _known_method(method, start),
        target,
        path,
        query if mark else None,
        0 if is_1_0 else 1,
        authority,
        _host_name(authority),
        lines,
        named,
        _request_length(named, is_1_0=is_1_0),
        b"close" not in tokens and (not is_1_0 or b"keep-alive" in tokens),
        None if is_1_0 or b"upgrade" not in tokens else _upgrade(named),
    )


def parse_response(raw: bytes, method: str) -> ResponseHead:
    """Parse the head of a response to a request with `method`.

    Raises:
        HeadError: It is malformed or ambiguous: the peer cannot be trusted.
    """
    start, *texts = raw[:-4].split(b"\r\n")
    minor, status, reason = _status_line(start)
    lines, named = _responses.read(start, texts)
    tokens = _tokens(named[b"connection"]) if b"connection" in named else _EMPTY
    return ResponseHead(
        status,
        reason,
        minor,
        lines,
        named,
        _response_length(named, status, method, is_1_0=not minor),
        b"close" not in tokens and (minor == 1 or b"keep-alive" in tokens),
    )


@lru_cache(maxsize=256)
def _status_line(start: bytes) -> tuple[int, int, bytes]:
    """Return minor version, status and reason."""
    line = _STATUS_LINE.fullmatch(start)
    if line is None:
        msg = "the status line is malformed"
        raise HeadError(msg)
    return int(line[1]), int(line[2]), line[3] or b""


def _known_method(method: bytes, start: bytes) -> str:
    """Return a method that llhttp knows; a line it was not asked about is new."""
    _requests.judge(start, [])
    return _methods.setdefault(method, method.decode("ascii"))


def _host_of(named: dict[bytes, bytes], *, is_1_0: bool) -> bytes:
    host = named.get(b"host")
    if host is None:
        if is_1_0:
            return b""
        msg = "Host is missing"  # RFC 9112, 3.2.
        raise HeadError(msg)
    if not _is_host(host):
        msg = "Host is malformed"
        raise HeadError(msg)
    return host


@lru_cache(maxsize=1024)
def _is_host(host: bytes) -> bool:
    return _HOST.fullmatch(host) is not None


def _odd_target(
    method: bytes, target: bytes, host: bytes
) -> tuple[bytes, bytes, bytes, bytes]:
    """Return authority, path, "?" and query of a target (RFC 9112, 3.2)."""
    if method == b"CONNECT":
        msg = "CONNECT is not served here"  # Nor are its other forms of target.
        raise HeadError(msg, 501)
    if b"#" in target:
        msg = "the request target has a fragment"
        raise HeadError(msg)
    if target == b"*" and method == b"OPTIONS":
        return host, target, b"", b""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        msg = "the request target has a form that this proxy does not serve"
        raise HeadError(msg)
    authority, rest = absolute.groups()
    if not _is_host(authority):
        msg = "the host of the request target is malformed"
        raise HeadError(msg)
    path, mark, query = rest.partition(b"?")
    return authority, path or b"/", mark, query


@lru_cache(maxsize=1024)
def _host_name(authority: bytes) -> bytes:
    if authority[-1:] == b"]":
        return authority.lower()
    name, colon, port = authority.rpartition(b":")
    return (name if colon and b"]" not in port else authority).lower()


@lru_cache(maxsize=256)
def _tokens(value: bytes) -> frozenset[bytes]:
    return frozenset(token.strip(b" \t") for token in value.lower().split(b","))


def _upgrade(named: dict[bytes, bytes]) -> bytes | None:
    """Return the protocols asked for; HTTP/2 in disguise is not offered on."""
    value = named.get(b"upgrade", b"").lower()
    is_h2 = any(token.startswith(b"h2") for token in _tokens(value))
    return None if not value or is_h2 else value


def _request_length(named: dict[bytes, bytes], *, is_1_0: bool) -> int:
    coding = named.get(b"transfer-encoding")
    if coding is not None:
        if is_1_0:
            msg = "Transfer-Encoding in HTTP/1.0"  # RFC 9112, 6.1.
            raise HeadError(msg)
        if b"content-length" in named:
            msg = "both Content-Length and Transfer-Encoding"  # RFC 9112, 6.1.
            raise HeadError(msg)
        if coding.lower() != b"chunked":
            msg = "a transfer coding other than chunked"
            raise HeadError(msg, 501)
        return CHUNKED
    length = named.get(b"content-length")
    return NO_BODY if length is None else _content_length(length)


def _response_length(
    named: dict[bytes, bytes], status: int, method: str, *, is_1_0: bool
) -> int:
    """Return the length of the body, by the rules of RFC 9112, 6.3."""
    coding = named.get(b"transfer-encoding")
    if (
        method == "HEAD"
        or status < _FIRST_FINAL
        or status in (_NO_CONTENT, _NOT_MODIFIED)
    ):
        return NO_BODY
    if coding is not None:
        if coding.lower() != b"chunked" or is_1_0 or b"content-length" in named:
            msg = "the length of the response is ambiguous"
            raise HeadError(msg)
        return CHUNKED
    length = named.get(b"content-length")
    return UNTIL_CLOSE if length is None else _content_length(length)


@lru_cache(maxsize=1024)
def _content_length(value: bytes) -> int:
    if _DIGITS.fullmatch(value) is None:
        msg = "Content-Length is not a number"
        raise HeadError(msg)
    return int(value)
