"""The compiled `alerts`: who is told of what, when, and how often.

Part of the snapshot, so every class here compares by value. What may be secret is a
`SecretSource`: no text of a plan has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.settings.secret_source import SecretSource

NO_SECRET = SecretSource()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to POST messages to, and in whose words."""

    url: SecretSource
    format: str = "json"  # "json", "slack" or "dingtalk".
    secret: SecretSource = NO_SECRET  # Signs messages to DingTalk.
    ca_file: str | None = None  # None: the system's.


@dataclass(frozen=True, slots=True)
class Mail:
    """The server that takes mail, and whom it is for."""

    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    is_starttls: bool = True  # Refused if the server cannot.
    is_tls: bool = False  # From the first byte on.
    username: str = ""
    password: SecretSource = NO_SECRET
    ca_file: str | None = None


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody to tell; one of `webhook` and `mail` is there."""

    name: str
    webhook: Webhook | None = None
    mail: Mail | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which groups are meant; what is empty asks for nothing."""

    codes: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()  # "P0" to "P3".
    routes: frozenset[str] = frozenset()
    upstreams: frozenset[str] = frozenset()

    @property
    def is_of_all(self) -> bool:
        """Tell whether nothing is asked for."""
        return self == Selection()


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition, and who is told once it holds."""

    name: str
    select: Selection
    receivers: tuple[str, ...]
    states: frozenset[str] = frozenset()  # Empty: any in which it goes on.
    rate_per_s: float = 0.0
    share_ratio: float = 0.0  # Of the route's requests.
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Silence:
    """What nobody is told of for a while."""

    select: Selection
    starts_ns: int  # Time of day, both.
    until_ns: int
    comment: str = ""

    def holds_at(self, wall_ns: int) -> bool:
        """Tell whether it is in force."""
        return self.starts_ns <= wall_ns < self.until_ns


@dataclass(frozen=True, slots=True)
class AlertPlan:
    """All of it; without receivers nobody is told of anything."""

    receivers: tuple[Receiver, ...] = ()
    rules: tuple[Rule, ...] = ()
    silences: tuple[Silence, ...] = ()
    repeat_s: float = 4 * 3600.0
    keep_firing_s: float = 900.0  # What began again so soon after its end was told.
    group_wait_s: float = 10.0
    messages: int = 20  # To one receiver,
    per_s: float = 600.0  # in so long.
    timeout_s: float = 10.0  # Of one attempt.
    give_up_s: float = 600.0  # From the first attempt of a message.
    page_url: str = ""
    runbook_url: str = ""
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Know the receivers by name."""
        object.__setattr__(self, "names", tuple(r.name for r in self.receivers))


NO_ALERTS = AlertPlan()
