"""The one place where an error, a limit of time or an answer gets its code."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import FaultCode, ProxyFault, application_spec
from sidecar.model import Limit, Phase, Processed, TimeoutKind
from sidecar.wire.framing import FramingError, TrailersTooLargeError
from sidecar.wire.section import CodingError

if TYPE_CHECKING:
    from sidecar.faults.spec import FaultSpec
    from sidecar.wire.head import HeadError

_TOO_LARGE = 431
BUSINESS_ERROR = 316  # A private convention: the application failed by rule.
_SERVER_ERRORS = range(500, 600)

_MAX_PLACES = 8  # The innermost tell most.
_UNROUTABLE = frozenset((errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL))
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM))
# Our own shortage, nobody else's: descriptors, or memory for sockets.
_SHORT = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_BEFORE_SENDING = frozenset((Phase.QUEUE, Phase.DNS, Phase.CONNECT, Phase.TLS))

_TIMEOUT_CODES = {
    TimeoutKind.REQUEST: FaultCode.TIMEOUT_ERR,
    TimeoutKind.PER_TRY: FaultCode.TIMEOUT_TRY,
    TimeoutKind.PER_TRY_IDLE: FaultCode.TIMEOUT_READ,
    TimeoutKind.CONNECT: FaultCode.CONN_TIMEOUT,
    TimeoutKind.DNS: FaultCode.DNS_TIMEOUT,
    TimeoutKind.STREAM_IDLE: FaultCode.TIMEOUT_IDLE,
    TimeoutKind.TUNNEL_IDLE: FaultCode.TIMEOUT_IDLE,
    TimeoutKind.REQUEST_HEADERS: FaultCode.CLIENT_SLOW,
    TimeoutKind.REQUEST_BODY_IDLE: FaultCode.CLIENT_SLOW,
    TimeoutKind.UPSTREAM_WRITE: FaultCode.TIMEOUT_WRITE,
    TimeoutKind.DOWNSTREAM_WRITE: FaultCode.CLIENT_SLOW,
    TimeoutKind.QUEUE: FaultCode.POOL_EXHAUSTED,
    TimeoutKind.DEADLINE: FaultCode.DEADLINE_EXPIRED,
}

_LIMITS = {
    TimeoutKind.REQUEST_HEADERS: Limit.REQUEST_HEADERS,
    TimeoutKind.REQUEST_BODY_IDLE: Limit.REQUEST_BODY_IDLE,
    TimeoutKind.DOWNSTREAM_WRITE: Limit.DOWNSTREAM_WRITE,
}


def classify_timeout(kind: TimeoutKind, phase: Phase, limit_s: float) -> ProxyFault:
    """Return the fault of a limit of time that was reached."""
    return ProxyFault(
        _TIMEOUT_CODES[kind],
        f"{kind.value} limit of {limit_s:g} s reached in phase {phase.value}",
        phase=phase,
        processed=processed_by(phase),
        timeout=kind,
        limit=_LIMITS.get(kind),
    )


def classify_connect(error: Exception, phase: Phase, endpoint: str) -> ProxyFault:
    """Return the fault of a connection that was not made."""
    if isinstance(error, socket.gaierror):
        code = FaultCode.DNS_ERR
    elif isinstance(error, ssl.SSLError):
        code = _tls_code(error)
    elif isinstance(error, ConnectionRefusedError):
        code = FaultCode.CONN_REFUSED
    elif isinstance(error, OSError) and error.errno in _UNROUTABLE:
        code = FaultCode.DEST_UNROUTABLE
    elif isinstance(error, OSError) and error.errno in _FORBIDDEN:
        code = FaultCode.DEST_PROHIBITED
    elif isinstance(error, OSError) and error.errno in _SHORT:
        return ProxyFault(
            FaultCode.OVERLOAD,
            f"no connection to {endpoint}: {_words(error)}; raise the limit on open"
            " files (ulimit -n), or lower limits.connections",
            phase=phase,
            retry_after_s=1.0,
        )
    else:
        code = FaultCode.CONN_ERR
    return ProxyFault(code, f"{endpoint}: {_words(error)}", phase=phase)


def classify_loss(
    error: Exception | None,
    phase: Phase,
    endpoint: str,
    *,
    is_reused: bool,
    may_have_received: bool,
    has_response_bytes: bool,
) -> ProxyFault:
    """Return the fault of a connection that ended before its response did.

    Args:
        error: What the transport said; None: an orderly end.
        phase: How far the attempt had come.
        endpoint: Where to.
        is_reused: The connection had served before.
        may_have_received: A byte of the request may have left this host.
        has_response_bytes: A part of the response had come.
    """
    detail = f"{endpoint}: {_words(error)}"
    if phase in (Phase.BODY, Phase.TUNNEL):
        return ProxyFault(
            FaultCode.DATA_TRUNCATED, detail, phase=phase, processed=Processed.YES
        )
    processed = Processed.UNKNOWN if may_have_received else Processed.NO
    if isinstance(error, ssl.SSLError):  # In TLS 1.3 an alert comes that late.
        code = _tls_code(error)
    elif has_response_bytes:
        code = FaultCode.CONN_TERMINATED
    elif is_reused:
        code = FaultCode.CONN_STALE
    elif isinstance(error, ConnectionResetError | BrokenPipeError):
        code = FaultCode.CONN_RESET
    else:
        code = FaultCode.CONN_TERMINATED
    return ProxyFault(code, detail, phase=phase, processed=processed)


def classify_malformed(
    error: HeadError | FramingError, phase: Phase, endpoint: str
) -> ProxyFault:
    """Return the fault of an answer that is not HTTP."""
    detail = f"{endpoint}: {error}"
    if isinstance(error, TrailersTooLargeError):
        code = FaultCode.DATA_RESP_TRAILER_SIZE
    elif isinstance(error, FramingError | CodingError):
        code = FaultCode.DATA_TRANSFER_CODING
    elif error.status == _TOO_LARGE:
        code = FaultCode.DATA_RESP_HEADER_SIZE
    else:
        code = FaultCode.PROTO_UPSTREAM
    return ProxyFault(code, detail, phase=phase, processed=Processed.YES)


def classify_answer(status: int, code_field: bytes | None) -> FaultSpec | None:
    """Return what an application's own answer says of a failure, if it does.

    A well-formed `x-316-code` names it; HTTP status 316 is a business error
    without a name; any 5xx is tagged as the application's.
    """
    if code_field is not None:
        spec = application_spec(code_field.decode("latin-1"))
        if spec is not None:
            return spec
    if status == BUSINESS_ERROR:
        return application_spec("316-OP-BUSINESS")
    return FaultCode.UPSTREAM_5XX.spec if status in _SERVER_ERRORS else None


def classify_unexpected(error: BaseException) -> ProxyFault:
    """Return the fault of an exception that nobody foresaw.

    Its words are not told: they may quote a field of the request, or a secret.
    """
    places = places_of(error)
    place = f" at {places[-1]}" if places else ""
    return ProxyFault(
        FaultCode.OP_FAIL,
        f"{type(error).__name__}{place}",
        processed=Processed.UNKNOWN,
        stack=tuple(places),
    )


def places_of(error: BaseException) -> list[str]:
    """Return file and line of each frame that an exception passed, outermost first."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        short = "/".join(file.replace("\\", "/").split("/")[-2:])
        places.append(f"{short}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-_MAX_PLACES:]


def processed_by(phase: Phase) -> Processed:
    """Return what is known of a request whose attempt had come that far."""
    if phase is Phase.REQUEST or phase in _BEFORE_SENDING:
        return Processed.NO
    return Processed.YES if phase in (Phase.BODY, Phase.TUNNEL) else Processed.UNKNOWN


def _tls_code(error: ssl.SSLError) -> FaultCode:
    if isinstance(error, ssl.SSLCertVerificationError):
        return FaultCode.TLS_CERT
    reason = (error.reason or "").upper()
    return FaultCode.TLS_ALERT if "ALERT" in reason else FaultCode.TLS_PROTO


def _words(error: Exception | None) -> str:
    if error is None:
        return "closed by the peer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
