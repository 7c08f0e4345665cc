"""The key `alerts`: its models, and the plan that they become.

    alerts:
      receivers: {oncall: {webhook: {url_file: /etc/sidecar/hook, format: slack}}}
      rules: [{name: refused, codes: [316-CONN-REFUSED], receivers: [oncall]}]

Without rules severities decide: P0 and P1 go to every receiver, P2 to the webhooks.
A secret is never written down here: `*_file` and `*_env` say where it is. An URL may
be, for one of a host of one's own is none.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from sidecar.settings.alert_plan import (
    NO_SECRET,
    AlertPlan,
    Mail,
    Receiver,
    Rule,
    Selection,
    Silence,
    Webhook,
)
from sidecar.settings.base import AppCode, FilePath, Name, Settings
from sidecar.settings.problem import shown
from sidecar.settings.secret_source import SecretSource, is_http
from sidecar.settings.units import (
    Duration,
    Port,
    Positive,
    PositiveDuration,
    PositiveRatio,
    Shape,
)

SeverityName = Literal["P0", "P1", "P2", "P3"]
StateName = Literal["new", "ongoing", "regressed"]
_NS_PER_S = 1_000_000_000
# Of one line, and nothing that a header of a mail could be broken with.
MailAddress = Annotated[
    str,
    Shape(
        r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})",
        "a mail address such as ops@example.com",
    ),
]
MailHost = Annotated[
    str, Shape(r"[A-Za-z0-9_](?:[A-Za-z0-9._:-]{0,252})", "a host such as smtp.example")
]
Variable = Annotated[
    str,
    Shape(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "the name of a variable", is_shown=False),
]
Family = Annotated[str, Shape(r"[A-Z0-9]{1,32}", "a family such as CONN")]
Line = Annotated[str, Shape(r"[^\x00-\x1f\x7f]{1,200}", "a line of text")]


def _http_url(value: Any) -> Any:
    """Return an URL; what is wrong with it is told without it, for it may be secret."""
    if isinstance(value, str) and not is_http(value):
        msg = "is not an URL such as https://hooks.example.com/alerts"
        raise ValueError(msg)
    return value


def parse_moment(value: Any) -> int:
    """Return nanoseconds since 1970 of "2026-01-31T12:00:00Z"."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        msg = f"{shown(value)} is not a time with its zone: 2026-01-31T12:00:00Z"
        raise ValueError(msg)
    return int(moment.timestamp()) * _NS_PER_S


def format_moment(wall_ns: int) -> str:
    """Return a time that `parse_moment` reads as this one."""
    moment = datetime.fromtimestamp(wall_ns // _NS_PER_S, tz=UTC)
    return moment.isoformat().replace("+00:00", "Z")


Url = Annotated[str, BeforeValidator(_http_url)]
Moment = Annotated[
    int,
    BeforeValidator(parse_moment),
    PlainSerializer(format_moment, when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["2026-01-31T12:00:00Z"]}),
]


class WebhookSettings(Settings):
    """A URL that takes messages by POST; it is given once."""

    url: Url | None = None
    url_file: FilePath | None = None
    url_env: Variable | None = None
    format: Literal["json", "slack", "dingtalk"] = "json"
    secret_file: FilePath | None = None
    secret_env: Variable | None = None
    ca_file: FilePath | None = None


def _by_either_name(schema: dict[str, Any]) -> None:
    """Let a schema ask for `from` where `sender` is not, as the model does."""
    schema["required"].remove("sender")
    schema["oneOf"] = [{"required": [name]} for name in ("sender", "from")]


class MailSettings(Settings):
    """A mail server, and who gets mail."""

    model_config = ConfigDict(json_schema_extra=_by_either_name)

    host: MailHost
    port: Port | None = None
    sender: MailAddress = Field(validation_alias=AliasChoices("sender", "from"))
    to: tuple[MailAddress, ...]
    starttls: bool = True
    tls: bool = False
    username: Line | None = None
    password_file: FilePath | None = None
    password_env: Variable | None = None
    ca_file: FilePath | None = None


class ReceiverSettings(Settings):
    """Somebody to tell, by one of the two ways."""

    webhook: WebhookSettings | None = None
    mail: MailSettings | None = None


class SelectionSettings(Settings):
    """Groups of failures; each key that is there must fit."""

    codes: tuple[AppCode, ...] = ()
    families: tuple[Family, ...] = ()
    severities: tuple[SeverityName, ...] = ()
    routes: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()


class AlertRuleSettings(SelectionSettings):
    """What somebody is told of; without receivers the severity decides who."""

    name: Name
    states: tuple[StateName, ...] = ()
    rate_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    share: PositiveRatio | None = None
    after: Duration = Field(default=0.0, validation_alias=AliasChoices("after", "for"))
    receivers: tuple[str, ...] = ()


class SilenceSettings(SelectionSettings):
    """What nobody is told of, for a while."""

    starts: Moment = Field(default=0, validation_alias=AliasChoices("starts", "from"))
    until: Moment
    comment: Line | None = None


class RateLimitSettings(Settings):
    """How many messages one receiver gets; what is beyond waits for the next."""

    messages: Positive = 20
    per: PositiveDuration = 600.0


class AlertSettings(Settings):
    """Who is told of failures, without Prometheus."""

    receivers: dict[Name, ReceiverSettings] = Field(default={})
    rules: tuple[AlertRuleSettings, ...] = ()
    silences: tuple[SilenceSettings, ...] = ()
    repeat: PositiveDuration = 4 * 3600.0
    keep_firing: Duration = 900.0
    group_wait: Duration = 10.0
    rate_limit: RateLimitSettings = RateLimitSettings()
    timeout: PositiveDuration = 10.0
    give_up: PositiveDuration = 600.0
    page_url: Url | None = None
    runbook_url: Url | None = None


def compile_alerts(alerts: AlertSettings) -> AlertPlan:
    """Return the plan of settings that no problem was found in."""
    limit = alerts.rate_limit
    return AlertPlan(
        receivers=tuple(_receiver(*item) for item in alerts.receivers.items()),
        rules=tuple(rules_of(alerts)),
        silences=tuple(
            Silence(selection(s), s.starts, s.until, s.comment or "")
            for s in alerts.silences
        ),
        repeat_s=alerts.repeat,
        keep_firing_s=alerts.keep_firing,
        group_wait_s=alerts.group_wait,
        messages=limit.messages,
        per_s=limit.per,
        timeout_s=alerts.timeout,
        give_up_s=alerts.give_up,
        page_url=alerts.page_url or "",
        runbook_url=alerts.runbook_url or "",
    )


def rules_of(alerts: AlertSettings) -> list[Rule]:
    """Return all rules; one that names no receivers becomes two, by severity.

    Each receiver is in one of the two, so that what it waits for (`after`) does not
    begin anew whenever a P2 becomes a P1.
    """
    hooks = tuple(n for n, r in alerts.receivers.items() if r.webhook is not None)
    others = tuple(n for n in alerts.receivers if n not in hooks)
    found = []
    for rule in alerts.rules or (AlertRuleSettings(name="default"),):
        if rule.receivers:
            found.append(_rule(rule, selection(rule), rule.receivers))
            continue
        for severities, receivers in (
            (("P0", "P1", "P2"), hooks),
            (("P0", "P1"), others),
        ):
            asked = frozenset(rule.severities or severities).intersection(severities)
            if asked and receivers:
                select = selection(rule, asked)
                found.append(_rule(rule, select, receivers))
    return found


def selection(
    given: SelectionSettings, severities: frozenset[str] | None = None
) -> Selection:
    """Return what is selected; `severities` instead of those that are given."""
    return Selection(
        codes=frozenset(given.codes),
        families=frozenset(given.families),
        severities=frozenset(given.severities) if severities is None else severities,
        routes=frozenset(given.routes),
        upstreams=frozenset(given.upstreams),
    )


def _rule(
    rule: AlertRuleSettings, select: Selection, receivers: tuple[str, ...]
) -> Rule:
    return Rule(
        name=rule.name,
        select=select,
        receivers=receivers,
        states=frozenset(rule.states),
        rate_per_s=rule.rate_per_s or 0.0,
        share_ratio=rule.share or 0.0,
        after_s=rule.after,
    )


def _receiver(name: str, given: ReceiverSettings) -> Receiver:
    return Receiver(
        name,
        None if given.webhook is None else _webhook(given.webhook),
        None if given.mail is None else _mail(given.mail),
    )


def _webhook(hook: WebhookSettings) -> Webhook:
    return Webhook(
        url=_source(hook.url_file, hook.url_env, hook.url),
        format=hook.format,
        secret=_source(hook.secret_file, hook.secret_env),
        ca_file=hook.ca_file,
    )


def _mail(mail: MailSettings) -> Mail:
    return Mail(
        host=mail.host,
        port=mail.port or (465 if mail.tls else 587),
        sender=mail.sender,
        to=mail.to,
        is_starttls=mail.starttls and not mail.tls,
        is_tls=mail.tls,
        username=mail.username or "",
        password=_source(mail.password_file, mail.password_env),
        ca_file=mail.ca_file,
    )


def _source(
    file: str | None, variable: str | None, given: str | None = None
) -> SecretSource:
    if file or variable or given:
        return SecretSource(file or "", variable or "", given or "")
    return NO_SECRET
