"""From the bytes of a head to its value, or to a clear refusal.

llhttp (by httptools) does the parsing and refuses most of what is malformed:
bare CR and LF, folded lines, space before a colon, doubled or odd lengths. What
it lets pass although two readers could differ on it is refused here, each with
its section of RFC 9112 or 9110.

llhttp cannot tell where in its input a message ended, so it is only ever given
one whole head; bodies are framed in `framing.py`.
"""

from __future__ import annotations

import re

import httptools

from sidecar.model import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    Fields,
    RequestHead,
    ResponseHead,
)

HEAD_END = b"\r\n\r\n"

_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~]+) HTTP/(\d)\.(\d)\r\n"
)
_STATUS_LINE = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t -~\x80-\xff]*))?\r\n"
)
_HOST = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]{0,5})?"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#:][^/?#]*)([^#]*)", re.IGNORECASE)
_DIGITS = re.compile(rb"[0-9]{1,18}")
_EMPTY: frozenset[bytes] = frozenset()

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


class _Collector:
    """What llhttp calls.

    A parser is made for each head: one that is kept must be fed bodies, too, and
    refuses what follows a `Connection: close`.
    """

    __slots__ = ("fields",)

    def __init__(self) -> None:
        self.fields: Fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))


def parse_request(raw: bytes, max_fields: int = 100) -> RequestHead:
    """Parse the head of a request, ending with its empty line.

    Raises:
        HeadError: It is malformed or ambiguous, or has too many fields.
    """
    line = _REQUEST_LINE.match(raw)
    if line is None:
        msg = "the request line is malformed"  # RFC 9112, 3: one SP, no more.
        raise HeadError(msg)
    method, target, major, minor = line.groups()
    if major != b"1" or minor not in b"01":
        msg = "only HTTP/1.0 and HTTP/1.1 are spoken here"
        raise HeadError(msg, 505)
    fields = _fields_of(httptools.HttpRequestParser, raw)
    if len(fields) > max_fields:
        msg = f"more than {max_fields} header fields"
        raise HeadError(msg, 431)
    fields, named = _name(fields, raw)
    is_1_0 = minor == b"0"
    authority, path, query = _split_target(
        method, target, _host_of(named, is_1_0=is_1_0)
    )
    tokens = _tokens(named.get(b"connection"))
    return RequestHead(
        method.decode("ascii"),
        target,
        path,
        query,
        0 if is_1_0 else 1,
        authority,
        _host_name(authority),
        fields,
        named,
        _request_length(named, is_1_0=is_1_0),
        _is_kept(tokens, is_1_0=is_1_0),
        None if is_1_0 or b"upgrade" not in tokens else _upgrade(named),
    )


def parse_response(raw: bytes, method: str) -> ResponseHead:
    """Parse the head of a response to a request with `method`.

    Raises:
        HeadError: It is malformed or ambiguous: the peer cannot be trusted.
    """
    line = _STATUS_LINE.match(raw)
    if line is None:
        msg = "the status line is malformed"
        raise HeadError(msg)
    minor, status_digits, reason = line.groups()
    status = int(status_digits)
    fields = _fields_of(httptools.HttpResponseParser, raw)
    fields, named = _name(fields, raw)
    tokens = _tokens(named.get(b"connection"))
    is_1_0 = minor == b"0"
    return ResponseHead(
        status,
        reason or b"",
        0 if is_1_0 else 1,
        fields,
        named,
        _response_length(named, status, method, is_1_0=is_1_0),
        _is_kept(tokens, is_1_0=is_1_0),
    )


def _fields_of(
    parser: type[httptools.HttpRequestParser | httptools.HttpResponseParser],
    raw: bytes,
) -> Fields:
    """Return the fields of one whole head, or raise `HeadError`."""
    collector = _Collector()
    try:
        parser(collector).feed_data(raw)
    except httptools.HttpParserUpgrade:
        pass  # It would stop reading HTTP here; a head is all it was given.
    except httptools.HttpParserInvalidMethodError:
        msg = "the method is none that this proxy knows"
        raise HeadError(msg, 501) from None
    except httptools.HttpParserError as error:
        raise HeadError(str(error) or "malformed header section") from None
    return collector.fields


def _name(fields: Fields, raw: bytes) -> tuple[Fields, dict[bytes, bytes]]:
    """Return the fields, trimmed where need be, and their values by name."""
    if b" \r\n" in raw or b"\t\r\n" in raw:  # Trailing space is not of the value.
        fields = [(name, value.strip(b" \t")) for name, value in fields]
    named: dict[bytes, bytes] = {}
    for name, value in fields:
        key = name.lower()
        if key in named:
            if key in {b"host", b"content-length"}:
                msg = f"{key.decode()} is there twice"  # RFC 9112, 3.2 and 6.3.
                raise HeadError(msg)
            named[key] += b", " + value
        else:
            named[key] = value
    return fields, named


def _host_of(named: dict[bytes, bytes], *, is_1_0: bool) -> bytes:
    host = named.get(b"host")
    if host is None:
        if is_1_0:
            return b""
        msg = "Host is missing"  # RFC 9112, 3.2.
        raise HeadError(msg)
    if _HOST.fullmatch(host) is None:
        msg = "Host is malformed"
        raise HeadError(msg)
    return host


def _split_target(
    method: bytes, target: bytes, host: bytes
) -> tuple[bytes, bytes, bytes | None]:
    """Return authority, path and query of a request target (RFC 9112, 3.2)."""
    if method == b"CONNECT":
        msg = "CONNECT is not served here"  # Nor are its other forms of target.
        raise HeadError(msg, 501)
    if b"#" in target:
        msg = "the request target has a fragment"
        raise HeadError(msg)
    if target[:1] == b"/":
        path, mark, query = target.partition(b"?")
        return host, path, query if mark else None
    if target == b"*" and method == b"OPTIONS":
        return host, target, None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        msg = "the request target has a form that this proxy does not serve"
        raise HeadError(msg)
    authority, rest = absolute.groups()
    if _HOST.fullmatch(authority) is None:
        msg = "the host of the request target is malformed"
        raise HeadError(msg)
    path, mark, query = rest.partition(b"?")
    return authority, path or b"/", query if mark else None


def _host_name(authority: bytes) -> bytes:
    if authority[-1:] == b"]":
        return authority.lower()
    name, colon, port = authority.rpartition(b":")
    return (name if colon and b"]" not in port else authority).lower()


def _tokens(value: bytes | None) -> frozenset[bytes]:
    if value is None:
        return _EMPTY
    return frozenset(token.strip(b" \t") for token in value.lower().split(b","))


def _is_kept(tokens: frozenset[bytes], *, is_1_0: bool) -> bool:
    """Tell whether the connection goes on; "close" wins (RFC 9112, 9.3)."""
    return b"close" not in tokens and (not is_1_0 or b"keep-alive" in tokens)


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
        if coding.lower() != b"chunked":
            msg = "a transfer coding other than chunked"
            raise HeadError(msg, 501)
        return CHUNKED
    return _content_length(named.get(b"content-length"), NO_BODY)


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
    return _content_length(named.get(b"content-length"), UNTIL_CLOSE)


def _content_length(value: bytes | None, default: int) -> int:
    if value is None:
        return default
    if _DIGITS.fullmatch(value) is None:
        msg = "Content-Length is not a number"
        raise HeadError(msg)
    return int(value)
