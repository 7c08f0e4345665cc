"""Whether an attempt that failed is made again, and if not, why not.

The first question is whether the application may have acted on the request. If
that is disproved, any method may be sent again; otherwise only an idempotent
one (RFC 9110, 9.2.2). What the route lists beyond that comes second, and the
limits (count, time, body, budget) last. The budget is asked by the caller.

What the rules of a route come to is worked out once, as sets of codes and of
statuses; a decision only looks there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Final

from sidecar.faults.catalogue import FaultCode, application_spec, find
from sidecar.faults.spec import Replay
from sidecar.model import Processed
from sidecar.policy.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

IDEMPOTENT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))

_MIN_TRY_S: Final = 0.01  # Nothing useful ends in less.
_REQUEST_TIMEOUT: Final = 408
_TOO_EARLY: Final = 425
REFUSALS: Final = frozenset(
    (_REQUEST_TIMEOUT, _TOO_EARLY)
)  # May prove that nothing was done.
_GATEWAY: Final = frozenset((502, 503, 504))
_SERVER_ERRORS: Final = frozenset(range(500, 600))
_KEYED: Final = frozenset(
    ("POST", "PATCH")
)  # What an Idempotency-Key makes idempotent.

_NO: Final = Processed.NO  # Through the class, 3.11 takes five times as long.
_NOT_CONNECTED: Final = frozenset(
    (
        FaultCode.DNS_ERR,
        FaultCode.DNS_TIMEOUT,
        FaultCode.DEST_UNROUTABLE,
        FaultCode.CONN_ERR,
        FaultCode.CONN_REFUSED,
        FaultCode.CONN_TIMEOUT,
        FaultCode.TLS_PROTO,
    )
)
_STALLS: Final = frozenset(
    (FaultCode.TIMEOUT_TRY, FaultCode.TIMEOUT_READ, FaultCode.TIMEOUT_WRITE)
)


class Condition(Enum):
    """What `on` of a custom policy may list."""

    CONNECT_FAILURE = "connect-failure"
    REFUSED = "refused"  # Proven unprocessed for another reason.
    RESET = "reset"
    PER_TRY_TIMEOUT = "per-try-timeout"
    GATEWAY_ERROR = "gateway-error"
    SERVER_ERROR = "5xx"


_SAFE: Final = frozenset(
    (Condition.CONNECT_FAILURE, Condition.REFUSED, Condition.RESET)
)
PRESETS: Final = {
    "off": frozenset[Condition](),
    "safe": _SAFE,
    "idempotent": _SAFE | {Condition.GATEWAY_ERROR, Condition.PER_TRY_TIMEOUT},
}


class _Compiled:
    """What the rules come to; apart from the fields, for these are not settings."""

    __slots__ = ("is_off", "repeats_refusals", "statuses", "unknown", "unprocessed")

    is_off: bool  # Nothing is ever tried again.
    repeats_refusals: bool  # An answer that says "not processed" is asked for again.
    statuses: frozenset[int]  # Answers that are asked for again.
    unprocessed: frozenset[str]  # 316 codes after which any method is sent again,
    unknown: frozenset[str]  # and after which only what may be repeated is.


@dataclass(frozen=True, slots=True)
class RetryRules(_Compiled):
    """When one route tries again."""

    preset: str = "safe"
    max_retries: int = 2
    backoff: Backoff = field(default_factory=Backoff)
    on: frozenset[Condition] = _SAFE
    codes: frozenset[int] = frozenset()  # Status codes.
    fault_codes: frozenset[str] = frozenset()  # Codes that the application raises.
    methods: frozenset[str] = IDEMPOTENT  # Of what may have been processed.
    body_buffer_bytes: int = 64 * 1024
    respect_retry_after: bool = True
    max_retry_after_s: float = 1.0
    idempotency_key: bool = False  # Makes a POST or PATCH with the field retriable.

    def __post_init__(self) -> None:
        """Work out once what every decision looks at."""
        gateway = _GATEWAY if Condition.GATEWAY_ERROR in self.on else frozenset()
        server = _SERVER_ERRORS if Condition.SERVER_ERROR in self.on else frozenset()
        compiled = {
            "is_off": self.preset == "off" or self.max_retries < 1,
            "repeats_refusals": Condition.REFUSED in self.on,
            "statuses": self.codes | gateway | server,
            "unprocessed": _covered(self.on, is_unprocessed=True),
            "unknown": _covered(self.on, is_unprocessed=False),
        }
        for name, value in compiled.items():
            object.__setattr__(self, name, value)


@cache  # Of the few sets of conditions; there may be 10,000 routes.
def _covered(on: frozenset[Condition], *, is_unprocessed: bool) -> frozenset[str]:
    """Return the 316 codes that `on` asks another attempt for."""
    return frozenset(
        fault.spec.code
        for fault in FaultCode
        if on & _conditions(fault, is_unprocessed=is_unprocessed)
    )


def _conditions(fault: FaultCode, *, is_unprocessed: bool) -> frozenset[Condition]:
    """Return the conditions any of which covers an attempt that met `fault`."""
    replay = fault.spec.replay
    if fault in _STALLS:
        stalled = frozenset((Condition.PER_TRY_TIMEOUT,))
        return stalled | {Condition.REFUSED} if is_unprocessed else stalled
    if replay is Replay.IDEMPOTENT:
        return _SAFE if is_unprocessed else frozenset((Condition.RESET,))
    if replay is not Replay.ALL or not is_unprocessed:
        return frozenset()  # What this proxy refused it would refuse again at once.
    is_connect = fault in _NOT_CONNECTED
    return frozenset((Condition.CONNECT_FAILURE if is_connect else Condition.REFUSED,))


class StopReason(Enum):
    """Why no further attempt was made."""

    NOT_RETRIABLE = "not_retriable"
    OFF = "off"
    METHOD = "method"
    EXHAUSTED = "exhausted"
    BODY_TOO_LARGE = "body_too_large"
    DEADLINE = "deadline"
    RESPONSE_STARTED = "response_started"
    CLIENT_GONE = "client_gone"
    UPGRADE = "upgrade"
    UPPER_HOP = "upper_hop"
    LOWER_HOP = "lower_hop"
    RETRY_AFTER_TOO_LONG = "retry_after_too_long"
    BUDGET = "budget"
    CIRCUIT_OPEN = "circuit_open"  # By the tries before.
    NO_ENDPOINT = "no_endpoint"  # Is left, after the tries before.
    OVERLOAD = "overload"  # Of this proxy: what is left is for first tries.


@dataclass(slots=True)
class Trial:
    """What is known of an attempt that did not succeed."""

    method: str
    retries_made: int
    fault: FaultCode | None  # None when a response came.
    status: int  # 0 when none came.
    processed: Processed
    deadline_left_s: float
    is_body_replayable: bool = True
    is_upgrade: bool = False
    is_client_gone: bool = False
    has_response_started: bool = False  # Towards the client.
    has_idempotency_key: bool = False
    is_marked_retry: bool = False  # A hop before this one is retrying already.
    has_other_endpoint: bool = False
    is_exhausted_below: bool = False  # A hop behind this one has retried in vain.
    has_early_data: bool = False  # The request says so (RFC 8470).
    app_code: str = ""  # Of the answer, whoever raised it.
    retry_after_s: float | None = None
    connect_p50_s: float = 0.0  # What it takes to connect, as a rule.


@dataclass(slots=True)
class Retry:
    """Make another attempt."""

    delay_s: float
    needs_fresh_connection: bool


def decide(rules: RetryRules, trial: Trial, rng: Random) -> Retry | StopReason:
    """Return the next attempt, or why there is none."""
    reason = _forbidden(rules, trial)
    if reason is not None:
        return reason
    fault, delay_s = trial.fault, trial.retry_after_s
    if trial.processed is _NO and trial.has_other_endpoint:
        delay_s = 0.0  # What a refusal says of a later time, it says of its sender.
    elif delay_s is not None and rules.respect_retry_after:
        if delay_s > rules.max_retry_after_s:
            return StopReason.RETRY_AFTER_TOO_LONG
    else:
        delay_s = rules.backoff.delay_s(trial.retries_made + 1, rng)
    left_s = trial.deadline_left_s - delay_s
    if left_s < _MIN_TRY_S or left_s < trial.connect_p50_s:
        return StopReason.DEADLINE
    return Retry(delay_s, fault is not None or trial.status == _REQUEST_TIMEOUT)


def _forbidden(rules: RetryRules, trial: Trial) -> StopReason | None:
    if trial.is_client_gone:
        return StopReason.CLIENT_GONE
    if trial.has_response_started:
        return StopReason.RESPONSE_STARTED
    if rules.is_off:
        return StopReason.OFF
    if trial.fault is None:
        reason = _forbidden_answer(rules, trial)
    elif trial.processed is _NO:
        is_listed = trial.fault.spec.code in rules.unprocessed
        reason = None if is_listed else StopReason.NOT_RETRIABLE
    elif trial.fault.spec.code not in rules.unknown:
        reason = StopReason.NOT_RETRIABLE
    else:
        reason = None if _may_repeat(rules, trial) else StopReason.METHOD
    if reason is not None:
        return reason
    if trial.is_upgrade:
        return StopReason.UPGRADE
    if trial.retries_made >= rules.max_retries:
        return StopReason.EXHAUSTED
    return None if trial.is_body_replayable else StopReason.BODY_TOO_LARGE


def _forbidden_answer(rules: RetryRules, trial: Trial) -> StopReason | None:
    """Return why an answer is the last word, if it is."""
    if trial.processed is _NO and rules.repeats_refusals and not _is_too_early(trial):
        # What a lower hop tried in vain is worth a try elsewhere, and only there.
        is_in_vain = trial.is_exhausted_below and not trial.has_other_endpoint
        return StopReason.LOWER_HOP if is_in_vain else None
    if not _is_listed(rules, trial):
        return StopReason.NOT_RETRIABLE
    if not _may_repeat(rules, trial):
        return StopReason.METHOD
    if trial.is_marked_retry:
        return StopReason.UPPER_HOP
    return StopReason.LOWER_HOP if trial.is_exhausted_below else None


def _is_listed(rules: RetryRules, trial: Trial) -> bool:
    """Tell whether the rules ask for an answer like this one again.

    A failure that the application named itself is its own business, unless its
    name is listed; a name of the catalogue may be a lower hop's.
    """
    code = trial.app_code
    if code and code in rules.fault_codes:
        return True
    if trial.status not in rules.statuses:
        return False
    if trial.status == _TOO_EARLY and trial.has_early_data:
        return False
    is_app_code = find(code) is None and application_spec(code) is not None
    return not is_app_code


def _is_too_early(trial: Trial) -> bool:
    """Tell a 425 that is handed on: one retry, and none of early data.

    Source: RFC 8470, 5.2: who forwarded Early-Data forwards the 425 as well.
    """
    return trial.status == _TOO_EARLY and (
        trial.has_early_data or trial.retries_made > 0
    )


def _may_repeat(rules: RetryRules, trial: Trial) -> bool:
    return trial.method in rules.methods or (
        rules.idempotency_key and trial.has_idempotency_key and trial.method in _KEYED
    )


def is_refusal(status: int, *, is_first_on_reused: bool) -> bool:
    """Tell whether a status alone proves that nothing was processed.

    425 says so itself (RFC 8470); a 408 as the first bytes on a connection that
    was idle is how some servers say that they closed it.
    """
    return status == _TOO_EARLY or (status == _REQUEST_TIMEOUT and is_first_on_reused)


_SECONDS: Final = re.compile(rb"[0-9]+")


def parse_retry_after(value: bytes, now_wall_s: float) -> float | None:
    """Return the wait that Retry-After asks for, in either of its forms.

    Args:
        value: The field's value as received.
        now_wall_s: Seconds since 1970-01-01 UTC.

    Returns:
        Seconds, 0 for a time that is past; None when it cannot be read.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)  # Not by `int`, which refuses thousands of digits.
    try:
        when = parsedate_to_datetime(value.decode("ascii"))
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)  # RFC 9110, 5.6.7: always GMT.
        return max(0.0, when.timestamp() - now_wall_s)
    except (ValueError, OverflowError):
        return None
