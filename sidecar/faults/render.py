"""How a fault is told to a client (faults.md: on the wire).

An answer that the proxy makes itself gets a body: problem+json (RFC 9457), text
or HTML by Accept, or, for gRPC, a trailers-only answer. An answer of the
application gets header fields only; its body is never touched.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import proxy_error_of
from sidecar.model import Fields, Processed

if TYPE_CHECKING:
    from sidecar.model import Fault

DOCS = "https://sidecar.316/faults"  # A name, not an address: RFC 9457, 3.1.1.

_JSON = b"application/problem+json"
_TEXT = b"text/plain; charset=utf-8"
_HTML = b"text/html; charset=utf-8"
_GRPC = b"application/grpc"
_UNSAFE = re.compile(r"[^ -~]|[\"\\]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OK = 200
_REASONS = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}


@dataclass(slots=True)
class LocalReply:
    """An answer made here."""

    status: int
    reason: bytes
    fields: Fields
    body: bytes


@dataclass(slots=True)
class ReplyRequest:
    """What of a request decides how its fault is told."""

    accept: bytes
    content_type: bytes
    profile: str  # "rfc9209" or "envoy".
    expose: str  # "full" or "minimal".


def render(fault: Fault, status: int, request: ReplyRequest) -> LocalReply:
    """Return the answer for a request that failed here."""
    if request.profile == "envoy" and status == fault.spec.status:
        status = fault.spec.envoy_status
    fields = tag_fields(fault, None)
    if fault.retry_after_s is not None:
        seconds = max(1, -int(-fault.retry_after_s // 1))
        fields.append((b"Retry-After", b"%d" % seconds))
    if fault.processed is Processed.NO:
        fields.append((b"x-316-processed", b"no"))
    if request.content_type.startswith(_GRPC):
        return _grpc_reply(fault, fields)
    kind, body = _body(fault, status, request)
    fields.append((b"Content-Type", kind))
    return LocalReply(status, _REASONS.get(status, b"Error"), fields, body)


def tag_fields(fault: Fault, received_status: int | None) -> Fields:
    """Return the header fields that name a fault (RFC 9209, section 2)."""
    spec = fault.spec
    parts = ["sidecar"]
    error = proxy_error_of(spec)
    if error is not None and received_status is None:
        parts.append(f"error={error}")
    if received_status is not None:
        parts.append(f"received-status={received_status}")
    parts.append(f'details="{_UNSAFE.sub("", spec.code)}"')
    return [
        (b"x-316-code", spec.code.encode()),
        (b"x-316-fault-id", fault.fault_id.encode()),
        (b"Proxy-Status", "; ".join(parts).encode()),
    ]


def _grpc_reply(fault: Fault, fields: Fields) -> LocalReply:
    fields += [
        (b"Content-Type", _GRPC),
        (b"grpc-status", b"%d" % fault.spec.grpc_status),
        (b"grpc-message", fault.spec.code.encode()),
    ]
    return LocalReply(_OK, b"OK", fields, b"")


def _body(fault: Fault, status: int, request: ReplyRequest) -> tuple[bytes, bytes]:
    members = _members(fault, status, request.expose)
    kind = negotiate(request.accept)
    if kind == _JSON:
        return kind, json.dumps(members, ensure_ascii=False).encode() + b"\n"
    members = {name: printable(str(v)) for name, v in members.items() if name != "type"}
    if kind == _TEXT:
        lines = [f"{name}: {value}" for name, value in members.items()]
        return kind, "\n".join(lines).encode("utf-8", "backslashreplace") + b"\n"
    return kind, _page(fault, members).encode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """Return a text with its control characters shown: a detail may quote others."""
    return _CONTROL.sub(lambda c: c[0].encode("unicode_escape").decode(), text)


def _members(fault: Fault, status: int, expose: str) -> dict[str, object]:
    spec = fault.spec
    members: dict[str, object] = {
        "type": f"{DOCS}#{spec.code.lower()}",
        "title": spec.title,
        "status": status,
        "detail": fault.detail if expose == "full" else spec.cause,
        "instance": f"urn:316:fault:{fault.fault_id}",
        "code": spec.code,
        "severity": spec.severity.name,
        "processed": fault.processed.value,
    }
    if expose == "full":
        members["fix"] = spec.fix
    return members


def _page(fault: Fault, members: dict[str, object]) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>"
        for name, value in members.items()
    )
    code, title = html.escape(fault.spec.code), html.escape(fault.spec.title)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{code}</title>"
        "<style>body{font:16px/1.5 system-ui;max-width:45rem;margin:4rem auto;"
        "padding:0 1rem}th{text-align:left;vertical-align:top;padding-right:1rem}"
        f"</style><h1>{code}</h1><p>{title}</p><table>{rows}</table></html>\n"
    )


def negotiate(accept: bytes) -> bytes:
    """Return the media type that `Accept` likes best (RFC 9110, 12.5.1)."""
    if not accept:
        return _JSON
    offers = ((_JSON, b"application"), (_TEXT, b"text"), (_HTML, b"text"))
    best, best_rank = _JSON, (0.0, 0)
    for kind, family in offers:
        rank = _rank(accept.lower(), kind.partition(b";")[0], family)
        if rank > best_rank:
            best, best_rank = kind, rank
    return best


def _rank(accept: bytes, kind: bytes, family: bytes) -> tuple[float, int]:
    """Return quality and specificity of the range that fits `kind` best."""
    quality, specificity = 0.0, 0
    for item in accept.split(b","):
        media, _, parameters = item.partition(b";")
        fit = _specificity(media.strip(), kind, family)
        if fit > specificity:
            quality, specificity = _quality(parameters), fit
    return quality, specificity


def _specificity(media: bytes, kind: bytes, family: bytes) -> int:
    if media == kind or (kind == _JSON and media == b"application/json"):
        return 3
    if media == family + b"/*":
        return 2
    return 1 if media == b"*/*" else 0


def _quality(parameters: bytes) -> float:
    for parameter in parameters.split(b";"):
        name, _, value = parameter.strip().partition(b"=")
        if name == b"q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
