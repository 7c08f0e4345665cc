"""How the endpoints of an upstream stand: what attempts say of them, who is next.

    pick          an endpoint for an attempt, around those that are out
    settle        what an attempt that has ended says of its endpoint
    is_refusal    a peer that is busy: that speaks against nobody
    is_redirect   nobody was there, or was told: another one gets the request instead

The policy (`policy.outlier`) decides on plain values; here they are gathered. Nothing
of it is asked while all is well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.model import Phase, Processed
from sidecar.policy.outlier import Sign
from sidecar.policy.retry import SAFE

if TYPE_CHECKING:
    from sidecar.attempt import Try
    from sidecar.exchange import Exchange
    from sidecar.policy.outlier import Health
    from sidecar.runtime import UpstreamState
    from sidecar.upstream.pool import Endpoint

_FAILED: Final = frozenset((502, 503, 504))
_RETRY_AFTER_S: Final = 1.0
# Nobody is there: whoever asks next would learn the same.
_ABSENT: Final = frozenset(
    (
        FaultCode.DNS_ERR,
        FaultCode.DNS_TIMEOUT,
        FaultCode.DEST_UNROUTABLE,
        FaultCode.CONN_ERR,
        FaultCode.CONN_REFUSED,
        FaultCode.CONN_TIMEOUT,
    )
)
# What a peer refuses unprocessed because it has too much to do.
_BUSY: Final = frozenset(
    code.spec.code.encode()
    for code in (
        FaultCode.SHED,
        FaultCode.SHED_ALL,
        FaultCode.OVERLOAD,
        FaultCode.MEM_PRESSURE,
        FaultCode.POOL_EXHAUSTED,
        FaultCode.RATE_LIMITED,
        FaultCode.FAULT_ABORT,
    )
)
# And because it is not to be asked for now.
_AWAY: Final = frozenset(
    code.spec.code.encode() for code in (FaultCode.DRAINING, FaultCode.CIRCUIT_OPEN)
)


def pick(exchange: Exchange, attempt: Try, upstream: UpstreamState) -> Endpoint:
    """Choose among several endpoints when some are out, or one was tried.

    Raises:
        ProxyFault: All are down, and that is to be told at once.
    """
    outlier, now_s = upstream.outlier, exchange.runtime.clock.now_s()
    # Whoever failed once is not risked again.
    if outlier is not None and outlier.is_any_out and not exchange.attempts:
        is_safe = exchange.head.method in SAFE
        index = outlier.take_probe(upstream.healths, now_s, is_safe=is_safe)
        if index >= 0:
            attempt.is_probe = True
            return upstream.pool.endpoints[index]
    endpoints = sound(upstream, now_s)
    tried = {record.endpoint for record in exchange.attempts}
    skip = [i for i, e in enumerate(endpoints) if e.name in tried]
    return endpoints[upstream.balancer.pick(len(endpoints), skip)]


def sound(upstream: UpstreamState, now_s: float) -> list[Endpoint]:
    """Return the endpoints to choose from: all, while none is out.

    Raises:
        ProxyFault: All are down, and that is to be told at once.
    """
    endpoints, outlier = upstream.pool.endpoints, upstream.outlier
    if outlier is None or not outlier.is_any_out:
        return endpoints
    chosen = outlier.choose(upstream.healths, now_s)
    if not chosen:
        raise _all_down(upstream)
    return [endpoints[index] for index in chosen]


def settle(attempt: Try, health: Health, now_s: float) -> bool:
    """Take what an attempt says of its endpoint.

    Returns:
        Whether it speaks against the endpoint alone: it could not be reached, and
        others can, or are asked next. That is no reason to stop sending to the
        upstream.
    """
    upstream = attempt.route.upstream
    outlier = upstream.outlier
    endpoint = attempt.endpoint
    if outlier is None or endpoint is None or endpoint.is_removed:
        return False
    sign, fellows = sign_of(attempt), upstream.healths
    outlier.settle(
        health,
        sign,
        fellows,
        attempt.start_s,
        now_s,
        cause=_words(attempt),
        is_probe=attempt.is_probe,
    )
    if outlier.has_sound_other(health, fellows):
        return sign is Sign.ABSENT or (
            sign is Sign.BAD and attempt.has_lost_connection()
        )
    rules = attempt.route.route.retry
    others = 0 if rules.is_off else min(rules.max_retries, len(fellows) - 1)
    return sign is Sign.ABSENT and attempt.is_followed and attempt.n <= others


def sign_of(attempt: Try) -> Sign:
    """Return what an attempt says of its endpoint."""
    fault, head = attempt.fault, attempt.head
    if fault is not None:
        if not fault.spec.blames_endpoint or fault.phase is Phase.QUEUE:
            return Sign.NEUTRAL
        return Sign.ABSENT if fault.code in _ABSENT else Sign.BAD
    if head is None:
        return Sign.NEUTRAL
    if head.status not in _FAILED:
        return Sign.GOOD
    code = _refused_by_peer(attempt)
    if code is None:
        return Sign.BAD
    if code in _AWAY:
        return Sign.AWAY
    # What else it did not process, it could not hand on: its application is not there.
    return Sign.NEUTRAL if not code or code in _BUSY else Sign.ABSENT


def is_refusal(attempt: Try) -> bool:
    """Tell an answer of a peer that is busy, or is not to be asked for now."""
    code = _refused_by_peer(attempt)
    return code is not None and (code in _BUSY or code in _AWAY)


def is_redirect(attempt: Try) -> bool:
    """Tell a failure of who is absent, after which another one is asked instead.

    No endpoint has more to do for that, so it is no load that a budget had to bound.
    """
    if attempt.route.upstream.outlier is None:
        return False
    fault = attempt.fault
    has_said_nothing = fault is not None and fault.processed is Processed.NO
    if has_said_nothing and attempt.has_lost_connection():
        return True  # It was closed before anything was sent.
    return sign_of(attempt) in (Sign.ABSENT, Sign.AWAY)


def _refused_by_peer(attempt: Try) -> bytes | None:
    """Return the code of a peer's answer that nothing was processed."""
    head = attempt.head
    if head is None or not attempt.route.upstream.settings.is_peer:
        return None
    if head.named.get(b"x-316-processed") != b"no":
        return None
    return head.named.get(b"x-316-code", b"")


def _words(attempt: Try) -> str:
    """Return what an attempt came to, in a few words."""
    if attempt.fault is not None:
        return attempt.fault.spec.code
    code = _refused_by_peer(attempt)
    if code is not None and code in _AWAY:
        return code.decode("latin-1")
    return str(attempt.status)


def _all_down(upstream: UpstreamState) -> ProxyFault:
    names = ", ".join(
        f"{health.name} {health.standing.value} ({health.cause})"
        for health in upstream.healths[:3]
    )
    return ProxyFault(
        FaultCode.UPSTREAM_UNHEALTHY,
        f"upstream {upstream.settings.name}: no endpoint is left: {names}",
        retry_after_s=_RETRY_AFTER_S,
    )
