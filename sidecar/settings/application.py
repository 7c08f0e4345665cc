"""How the application is checked: the models, and what they come to.

    health:
      application:
        http: {path: /healthz}      # or tcp: {}, or command: [...]

Off unless one of the three is there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from sidecar.policy.health import HealthLimits
from sidecar.policy.hook_limit import HookLimits
from sidecar.settings.base import FieldName, FieldValue, Method, Settings
from sidecar.settings.hosts import is_loopback
from sidecar.settings.snapshot import Address, FieldMatch
from sidecar.settings.units import (
    Duration,
    Port,
    Positive,
    PositiveDuration,
    Ratio,
    Shape,
    parse_positive_ratio,
    parse_size,
)
from sidecar.wire.secret_names import without_secrets_of_urls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sidecar.settings.snapshot import Upstream

_LOOPBACK: Final = "127.0.0.1"
_STATUSES = re.compile("([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")

CheckPath = Annotated[
    str, Shape(r"/[!-\"$-~]*", "a path: starts with /, visible ASCII, without #")
]
CheckHost = Annotated[
    str, Shape(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+", "a host such as 127.0.0.1 or ::1")
]
HookUrl = Annotated[
    str, Shape(r"https?://[^\s/?#]+[!-\"$-~]*", "a URL such as http://host:8080/path")
]
Word = Annotated[str, Shape(r"[^\x00]+", "a word of a command, not empty")]


def parse_statuses(value: Any) -> tuple[int, int]:
    """Return the first and the last status of "200" or "200-399"."""
    match = _STATUSES.fullmatch(str(value))
    if match is not None:
        low, high = int(match[1]), int(match[2] or match[1])
        if low <= high:
            return low, high
    msg = f"{value!r} is not a status or a range such as 200 or 200-399"
    raise ValueError(msg)


def checked_statuses(value: int | str) -> int | str:
    """Return a status or a range as it was written, if it is one."""
    parse_statuses(value)
    return value


def parse_amount(value: Any) -> int | float:
    """Return bytes of "400MiB", or the ratio of "90%"."""
    is_share = isinstance(value, float) or (
        isinstance(value, str) and value.endswith("%")
    )
    amount = parse_positive_ratio(value) if is_share else parse_size(value)
    if not amount:
        msg = "must be over 0"
        raise ValueError(msg)
    return amount


Statuses = Annotated[
    int | str,
    AfterValidator(checked_statuses),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": f"^(?:{_STATUSES.pattern})$"},
            ]
        }
    ),
]
Amount = Annotated[
    int | float,
    BeforeValidator(parse_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(%|B|[KMG]iB)?$"},
                {"type": "number", "exclusiveMinimum": 0},
            ],
            "examples": ["400MiB", "90%"],
        }
    ),
]


class HttpCheckSettings(Settings):
    """A request that the application has to answer."""

    path: CheckPath = "/"
    port: Port | None = None
    host: CheckHost | None = None
    method: Method = "GET"
    status: tuple[Statuses, ...] = Field(
        default=("200-399",), json_schema_extra={"minItems": 1}
    )
    headers: dict[FieldName, FieldValue] = Field(default={})
    body_contains: Annotated[str, Field(min_length=1)] | None = None


class TcpCheckSettings(Settings):
    """A connection that the application has to take."""

    port: Port | None = None
    host: CheckHost | None = None


class HttpHookSettings(Settings):
    """A request that is to help."""

    url: HookUrl
    method: Method = "POST"
    headers: dict[FieldName, FieldValue] = Field(default={})


class RecoverySettings(Settings):
    """What is done when the application is unhealthy: one of the two."""

    http: HttpHookSettings | None = None
    command: tuple[Word, ...] = ()
    after: Positive = 1
    timeout: PositiveDuration = 10.0
    min_interval: Duration = 300.0
    max_per_hour: Positive = 3


class ApplicationSettings(Settings):
    """The check of the application: one of http, tcp and command."""

    http: HttpCheckSettings | None = None
    tcp: TcpCheckSettings | None = None
    command: tuple[Word, ...] = ()
    interval: PositiveDuration = 5.0
    timeout: PositiveDuration = 1.0
    jitter: Ratio = 0.1
    unhealthy_after: Positive = 3
    healthy_after: Positive = 2
    start_period: Duration = 30.0
    response_time: PositiveDuration | None = None
    memory: Amount | None = None
    when_unhealthy: Literal["pass", "refuse"] = "pass"
    liveness_after: Duration = 30.0
    recovery: RecoverySettings | None = None


class _Endpoints(Protocol):
    """An upstream: as it is written, or as it is served."""

    @property
    def endpoints(self) -> tuple[Address, ...]: ...


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A request, and which answer is a good one."""

    address: Address
    method: str
    path: str
    statuses: tuple[tuple[int, int], ...]  # The first and the last of each range.
    headers: tuple[FieldMatch, ...]  # What they say may be a secret.
    body_contains: str | None

    def __str__(self) -> str:
        """Return it as a person would say it: a query may hold secrets."""
        return f"{self.method} http://{self.address}{self.path.partition('?')[0]}"


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """A connection."""

    address: Address

    def __str__(self) -> str:
        """Return it as a person would say it."""
        return f"a connection to {self.address}"


@dataclass(frozen=True, slots=True)
class CommandCheck:
    """A command that ends with 0 when all is well."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        """Return it as a person would say it: arguments may be secrets."""
        return f"command {self.words[0]}"


@dataclass(frozen=True, slots=True)
class HttpHook:
    """A request that is to help."""

    method: str
    url: str
    headers: tuple[FieldMatch, ...]

    def __str__(self) -> str:
        """Return it as a person would say it."""
        return f"{self.method} {without_secrets_of_urls(self.url.partition('?')[0])}"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is to help, when, and for how long."""

    act: HttpHook | CommandCheck
    limits: HookLimits
    timeout_s: float


@dataclass(frozen=True, slots=True)
class ApplicationCheck:
    """All that is looked at of the application, and what follows."""

    probe: HttpCheck | TcpCheck | CommandCheck
    limits: HealthLimits
    interval_s: float
    timeout_s: float
    jitter_ratio: float
    response_time_s: float | None
    memory_max_bytes: int | None
    memory_max_ratio: float | None  # Of the memory limit of the application.
    ports: frozenset[int]  # Where its processes listen.
    is_refusing: bool  # Requests, while it is unhealthy.
    liveness_after_s: float
    recovery: Recovery | None


def compile_application(
    settings: ApplicationSettings | None, upstreams: Sequence[Upstream]
) -> ApplicationCheck | None:
    """Return the check that is wanted; `upstreams` are those of inbound routes."""
    if settings is None or not is_on(settings):
        return None
    addresses = local_addresses(upstreams)
    probe = _probe(settings, addresses)
    known = {address.port for address in addresses}
    if not isinstance(probe, CommandCheck):
        known.add(probe.address.port)
    memory = settings.memory
    return ApplicationCheck(
        probe=probe,
        limits=HealthLimits(
            settings.unhealthy_after, settings.healthy_after, settings.start_period
        ),
        interval_s=settings.interval,
        timeout_s=settings.timeout,
        jitter_ratio=settings.jitter,
        response_time_s=settings.response_time,
        memory_max_bytes=memory if isinstance(memory, int) else None,
        memory_max_ratio=memory if isinstance(memory, float) else None,
        ports=frozenset(known),
        is_refusing=settings.when_unhealthy == "refuse",
        liveness_after_s=settings.liveness_after,
        recovery=_recovery(settings.recovery),
    )


def is_on(settings: ApplicationSettings) -> bool:
    """Tell whether a check is written down."""
    return bool(settings.http or settings.tcp or settings.command)


def local_addresses(upstreams: Sequence[_Endpoints]) -> list[Address]:
    """Return where the application listens: `upstreams` are those of inbound routes."""
    found = {a for u in upstreams for a in u.endpoints if is_loopback(a.host)}
    return sorted(found, key=str)


def _probe(
    settings: ApplicationSettings, addresses: list[Address]
) -> HttpCheck | TcpCheck | CommandCheck:
    http, tcp = settings.http, settings.tcp
    if http is not None:
        return HttpCheck(
            address=_address(http, addresses),
            method=http.method,
            path=http.path,
            statuses=tuple(map(parse_statuses, http.status)),
            headers=_fields(http.headers),
            body_contains=http.body_contains,
        )
    if tcp is not None:
        return TcpCheck(_address(tcp, addresses))
    return CommandCheck(settings.command)


def _address(
    check: HttpCheckSettings | TcpCheckSettings, addresses: list[Address]
) -> Address:
    """Return where to ask: what is left out is where inbound routes lead to."""
    first = addresses[0] if addresses else Address(_LOOPBACK, 0)
    if check.port is None:
        return first if check.host is None else Address(check.host, first.port)
    return Address(check.host or first.host, check.port)


def _recovery(settings: RecoverySettings | None) -> Recovery | None:
    if settings is None:
        return None
    act: HttpHook | CommandCheck = CommandCheck(settings.command)
    if settings.http is not None:
        http = settings.http
        act = HttpHook(http.method, http.url, _fields(http.headers))
    limits = HookLimits(settings.after, settings.min_interval, settings.max_per_hour)
    return Recovery(act, limits, settings.timeout)


def _fields(headers: dict[str, str]) -> tuple[FieldMatch, ...]:
    return tuple(FieldMatch(name, value) for name, value in headers.items())
