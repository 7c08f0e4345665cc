"""What there is to know about one kind of failure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.model import Origin


class Severity(Enum):
    """How bad one such failure is; a high rate makes it worse."""

    P0 = "proxy or whole upstream down, security, configuration"
    P1 = "users see the failure: act now"
    P2 = "degraded, or healing by itself"
    P3 = "caused by the client, injected, or information"


class Layer(Enum):
    """Where it happens."""

    N = "network"
    A = "application"
    D = "data"
    I = "infrastructure"  # noqa: E741 - the letter of the catalogue


class Trigger(Enum):
    """What usually brings it about."""

    HIGH_FREQUENCY = "load or concurrency"
    BOUNDARY = "size, emptiness or odd characters"
    ENVIRONMENT = "a dependency, a configuration or a permission"


class Replay(Enum):
    """When a request that met it may be sent again (RFC 9110, 9.2.2)."""

    ALL = "any method: proven not processed"
    ALL_LATER = "any method, after Retry-After or backoff"
    IDEMPOTENT = "idempotent methods only"
    BY_LIST = "only where the route lists it"
    NEVER = "not at all"


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One entry. `code` is a public name: add new ones, never rename."""

    code: str
    title: str
    severity: Severity
    layer: Layer
    trigger: Trigger
    status: int  # HTTP, by RFC 9209; 499: only in logs; 0: passed through.
    envoy_status: int  # With `status_profile: envoy`.
    grpc_status: int
    proxy_error: str | None  # RFC 9209 error type.
    envoy_flag: str | None
    replay: Replay
    origin: Origin
    blames_endpoint: bool  # Counts as a failure for the circuit breaker.
    cause: str
    fix: str
