"""What makes `alerts` unusable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.settings import passing
from sidecar.settings.problem import nearest, shown
from sidecar.settings.secret_source import is_http

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings import models
    from sidecar.settings.alerting import (
        AlertSettings,
        MailSettings,
        SelectionSettings,
        WebhookSettings,
    )
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_, Source


def find_alert_problems(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield what makes the alerts unusable."""
    alerts = settings.alerts
    yield from _receiver_problems(alerts, source)
    yield from _rule_problems(settings, source)
    for index, silence in enumerate(alerts.silences):
        at: Path_ = ("alerts", "silences", index)
        if silence.until <= silence.starts:
            message = "is not after its start: it silences nothing"
            yield source.problem((*at, "until"), message)
        yield from _name_problems(settings, silence, at, source)


def _receiver_problems(alerts: AlertSettings, source: Source) -> Iterator[Problem]:
    for name, receiver in alerts.receivers.items():
        at: Path_ = ("alerts", "receivers", name)
        if (receiver.webhook is None) == (receiver.mail is None):
            what = "neither" if receiver.webhook is None else "both"
            message = f"has {what} of webhook and mail: it must have one of them"
            yield source.problem(at, message)
        if receiver.webhook is not None:
            yield from _hook_problems(receiver.webhook, (*at, "webhook"), source)
        if receiver.mail is not None:
            yield from _mail_problems(receiver.mail, (*at, "mail"), source)


def _rule_problems(settings: models.FileSettings, source: Source) -> Iterator[Problem]:
    alerts = settings.alerts
    seen: dict[str, int] = {}
    for index, rule in enumerate(alerts.rules):
        at: Path_ = ("alerts", "rules", index)
        if rule.name in seen:
            message = (
                f"{rule.name!r} is the name of alerts.rules[{seen[rule.name]}], too"
            )
            yield source.problem((*at, "name"), message)
        seen.setdefault(rule.name, index)
        for place, wanted in enumerate(rule.receivers):
            if wanted not in alerts.receivers:
                message = f"there is no receiver {wanted!r}"
                hint = nearest(wanted, alerts.receivers)
                yield source.problem((*at, "receivers", place), message, hint)
        yield from _name_problems(settings, rule, at, source)


def _hook_problems(
    hook: WebhookSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    given = [k for k in ("url", "url_file", "url_env") if getattr(hook, k) is not None]
    if not given:
        yield source.problem(at, "has none of url, url_file and url_env")
    elif len(given) > 1:
        message = f"and {given[0]} exclude each other: keep one of them"
        yield source.problem((*at, given[-1]), message)
    if hook.url_file is not None and is_http(hook.url_file):  # Not to be shown.
        message = "is an URL, not the path of a file that has it"
        yield source.problem((*at, "url_file"), message)
    yield from _twice(hook, "secret", at, source)
    has_secret = hook.secret_file is not None or hook.secret_env is not None
    if has_secret and hook.format != "dingtalk":
        message = f"is for DingTalk's signature; format {hook.format} has none"
        key = "secret_file" if hook.secret_file is not None else "secret_env"
        yield source.problem((*at, key), message, "set format: dingtalk")


def _mail_problems(mail: MailSettings, at: Path_, source: Source) -> Iterator[Problem]:
    if not mail.to:
        yield source.problem((*at, "to"), "is empty: there is nobody to write to")
    yield from _twice(mail, "password", at, source)
    has_password = mail.password_file is not None or mail.password_env is not None
    if has_password != (mail.username is not None):
        message = "username and a password (password_file or password_env) go together"
        yield source.problem(at, message)
    if mail.tls and mail.starttls and "starttls" in mail.model_fields_set:
        message = "and tls exclude each other: TLS is there from the start, or begins"
        yield source.problem((*at, "starttls"), message)


def _twice(given: object, what: str, at: Path_, source: Source) -> Iterator[Problem]:
    keys = (f"{what}_file", f"{what}_env")
    if all(getattr(given, key) is not None for key in keys):
        message = f"and {keys[0]} exclude each other: keep one of them"
        yield source.problem((*at, keys[1]), message)


def _name_problems(
    settings: models.FileSettings, given: SelectionSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    """Yield routes and upstreams that do not exist."""
    routes = [r.name for r in (*settings.routes, *passing.routes(settings))]
    upstreams = [*settings.upstreams, *passing.upstreams(settings)]
    for key, known in (("routes", routes), ("upstreams", upstreams)):
        for place, name in enumerate(getattr(given, key)):
            if name not in known:
                message = f"there is no {key[:-1]} {shown(name)}"
                yield source.problem((*at, key, place), message, nearest(name, known))
