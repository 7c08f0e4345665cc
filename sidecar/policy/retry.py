"""Whether an attempt that failed is made again, and if not, why not.

The first question is whether the application may have acted on the request. If
that is disproved, any method may be sent again; otherwise only an idempotent
one (RFC 9110, 9.2.2). What the route lists beyond that comes second, and the
limits (count, time, body, budget) last. The budget is asked by the caller.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING

from sidecar.faults.catalogue import FaultCode
from sidecar.faults.spec import Replay
from sidecar.model import Processed, hot_value
from sidecar.policy.backoff import Backoff

if TYPE_CHECKING:
    from random import Random

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))

_MIN_TRY_S = 0.01  # Nothing useful ends in less.
_TOO_EARLY = 425
_GATEWAY = frozenset((502, 503, 504))


_CONNECT_CODES = ("316-CONN-", "316-DNS-", "316-TLS-", "316-DEST-")
_STALLS = frozenset(
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


_SAFE = frozenset((Condition.CONNECT_FAILURE, Condition.REFUSED, Condition.RESET))
PRESETS = {
    "off": frozenset[Condition](),
    "safe": _SAFE,
    "idempotent": _SAFE | {Condition.GATEWAY_ERROR, Condition.PER_TRY_TIMEOUT},
}


@dataclass(frozen=True, slots=True)
class RetryRules:
    """When one route tries again."""

    preset: str = "safe"
    max_retries: int = 2
    backoff: Backoff = field(default_factory=Backoff)
    on: frozenset[Condition] = _SAFE
    codes: frozenset[int] = frozenset()  # Status codes.
    fault_codes: frozenset[str] = frozenset()  # Codes that the application raises.
    methods: frozenset[str] = IDEMPOTENT
    body_buffer_bytes: int = 64 * 1024
    exclude_tried: bool = True
    respect_retry_after: bool = True
    max_retry_after_s: float = 1.0
    idempotency_key: bool = False  # Makes a POST or PATCH with the field retriable.


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
    RETRY_AFTER_TOO_LONG = "retry_after_too_long"
    BUDGET = "budget"


@hot_value
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
    app_code: str = ""
    retry_after_s: float | None = None
    connect_p50_s: float = 0.0


@hot_value
class Retry:
    """Make another attempt."""

    delay_s: float
    needs_fresh_connection: bool


def decide(rules: RetryRules, trial: Trial, rng: Random) -> Retry | StopReason:
    """Return the next attempt, or why there is none."""
    reason = _forbidden(rules, trial)
    if reason is not None:
        return reason
    delay_s = _delay_s(rules, trial, rng)
    if delay_s is None:
        return StopReason.RETRY_AFTER_TOO_LONG
    if trial.deadline_left_s - delay_s < max(_MIN_TRY_S, trial.connect_p50_s):
        return StopReason.DEADLINE
    return Retry(delay_s, needs_fresh_connection=trial.fault is not None)


def _forbidden(rules: RetryRules, trial: Trial) -> StopReason | None:
    if trial.is_client_gone:
        return StopReason.CLIENT_GONE
    if trial.has_response_started:
        return StopReason.RESPONSE_STARTED
    if rules.preset == "off":
        return StopReason.OFF
    is_proven = trial.processed is Processed.NO
    if not (
        _is_listed_unprocessed(rules, trial) if is_proven else _is_listed(rules, trial)
    ):
        return StopReason.NOT_RETRIABLE
    if not is_proven and not _may_repeat(rules, trial):
        return StopReason.METHOD
    if trial.is_upgrade and not is_proven:
        return StopReason.UPGRADE
    if trial.status and not is_proven and trial.is_marked_retry:
        return StopReason.UPPER_HOP
    if trial.retries_made >= rules.max_retries:
        return StopReason.EXHAUSTED
    return None if trial.is_body_replayable else StopReason.BODY_TOO_LARGE


def _is_listed_unprocessed(rules: RetryRules, trial: Trial) -> bool:
    """Tell whether an attempt that did nothing is made again."""
    if trial.status:
        return Condition.REFUSED in rules.on
    fault = trial.fault
    if fault is None or fault.spec.replay in (Replay.NEVER, Replay.ALL_LATER):
        return False  # What this proxy refused it would refuse again at once.
    is_connect = fault.spec.code.startswith(_CONNECT_CODES)
    return (Condition.CONNECT_FAILURE if is_connect else Condition.REFUSED) in rules.on


def _is_listed(rules: RetryRules, trial: Trial) -> bool:
    """Tell whether an attempt that may have done something is made again."""
    if trial.fault is None:
        return (
            trial.status in rules.codes
            or (trial.app_code in rules.fault_codes and bool(trial.app_code))
            or (trial.status in _GATEWAY and Condition.GATEWAY_ERROR in rules.on)
            or (trial.status >= 500 and Condition.SERVER_ERROR in rules.on)  # noqa: PLR2004 - the class
        )
    if trial.fault in _STALLS:
        return Condition.PER_TRY_TIMEOUT in rules.on
    return trial.fault.spec.replay is Replay.IDEMPOTENT and Condition.RESET in rules.on


def _may_repeat(rules: RetryRules, trial: Trial) -> bool:
    return trial.method in rules.methods or (
        rules.idempotency_key and trial.has_idempotency_key
    )


def _delay_s(rules: RetryRules, trial: Trial, rng: Random) -> float | None:
    if trial.retry_after_s is not None and rules.respect_retry_after:
        fits = trial.retry_after_s <= rules.max_retry_after_s
        return trial.retry_after_s if fits else None
    if (
        trial.has_other_endpoint
        and trial.status == 0
        and trial.processed is Processed.NO
    ):
        return 0.0
    return rules.backoff.delay_s(trial.retries_made + 1, rng)


def is_refusal(status: int, *, is_first_on_reused: bool) -> bool:
    """Tell whether a status alone proves that nothing was processed.

    425 says so itself (RFC 8470); a 408 as the first bytes on a connection that
    was idle is how some servers say that they closed it.
    """
    return status == _TOO_EARLY or (status == 408 and is_first_on_reused)  # noqa: PLR2004 - Request Timeout


_SECONDS = re.compile(rb"[0-9]{1,9}")


def parse_retry_after(value: bytes, now_wall_s: float) -> float | None:
    """Return the wait that Retry-After asks for, in either of its forms."""
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(int(value))
    try:
        when = parsedate_to_datetime(value.decode("ascii"))
    except (ValueError, UnicodeDecodeError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)  # RFC 9110, 5.6.7: always GMT.
    return max(0.0, when.timestamp() - now_wall_s)
