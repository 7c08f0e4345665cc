"""TRACE and OPTIONS count their hops (RFC 9110, 7.6.2).

Max-Forwards: 0    the request ends here: it is answered, and not sent on
Max-Forwards: n    it goes on with n - 1
no Max-Forwards    it goes on as it is

A TRACE is answered with the request as it came (9.3.8), but for fields that may be
secret: so a script that can send one learns nothing that it did not write itself.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.render import LocalReply
from sidecar.model import NO_BODY, FieldLine, HeaderSection, RequestHead
from sidecar.wire.secret_names import is_secret

METHODS: Final = frozenset(("OPTIONS", "TRACE"))

_KEY: Final = b"max-forwards"
_HOPS: Final = re.compile(rb"[0-9]{1,100}")
_MOST: Final = 255  # Hops that we count; RFC 9110 lets a recipient have such a limit.
# Beside what is secret everywhere: to whoever can make a browser send a TRACE.
_ALSO_SECRET: Final = re.compile(rb"cert|csrf|jwt|key|x-316-")


def settle(head: RequestHead) -> RequestHead | LocalReply:
    """Return `head` as it goes on, with one hop less, or the answer that ends it here.

    Raises:
        ProxyFault: Max-Forwards is not one number, or a TRACE has a body.
    """
    if head.method == "TRACE" and head.body_bytes != NO_BODY:
        msg = "TRACE has a body"  # RFC 9110, 9.3.8.
        raise ProxyFault(FaultCode.VALIDATION_ERR, msg)
    value = head.named.get(_KEY)
    if value is None:
        return head
    if _HOPS.fullmatch(value) is None:
        msg = "Max-Forwards is not one number"
        raise ProxyFault(FaultCode.VALIDATION_ERR, msg)
    hops = int(value)
    return _with_hops(head, min(hops - 1, _MOST)) if hops else _answer(head)


def _answer(head: RequestHead) -> LocalReply:
    if head.method == "OPTIONS":  # What the application allows is not known here.
        return LocalReply(200, b"OK", [], b"")
    lines = [line.raw for line in head.section.lines if not _is_secret(line.key)]
    fields = [(b"Content-Type", b"message/http")]  # RFC 9112, 10.1.
    return LocalReply(200, b"OK", fields, head.line + b"".join(lines) + b"\r\n")


def _is_secret(key: bytes) -> bool:
    return is_secret(key.decode("ascii")) or _ALSO_SECRET.search(key) is not None


def _with_hops(head: RequestHead, hops: int) -> RequestHead:
    value = b"%d" % hops
    lines = [
        line
        if line.key != _KEY
        else FieldLine(_KEY, value, _line(line, value), line.use)
        for line in head.section.lines
    ]
    section: HeaderSection[object] = HeaderSection(lines, {**head.named, _KEY: value})
    return RequestHead(
        head.method,
        head.line,
        head.target,
        head.path,
        head.query,
        head.minor,
        head.authority,
        head.host,
        section,
        head.body_bytes,
        head.keep_alive,
        head.upgrade,
    )


def _line(line: FieldLine, value: bytes) -> bytes:
    """Return a line of the same spelling with another value."""
    return b"%b: %b\r\n" % (line.raw[: len(line.key)], value)
