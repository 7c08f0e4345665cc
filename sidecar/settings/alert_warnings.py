"""What `alerts` may say, but hardly mean: a rule that never matches, a secret in plain.

Files and variables are looked at, too: they may be there where it is to serve, so
that they are missing here is a warning.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from sidecar.faults.catalogue import FaultCode, find
from sidecar.settings.alerting import rules_of
from sidecar.settings.hosts import is_loopback
from sidecar.settings.problem import nearest
from sidecar.settings.secret_source import SecretError, SecretSource, is_http
from sidecar.settings.token_file import is_world_readable

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

    from sidecar.settings import models
    from sidecar.settings.alerting import (
        AlertRuleSettings,
        MailSettings,
        SelectionSettings,
        WebhookSettings,
    )
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_, Source

_CODES: Final = {code.spec.code: code.spec for code in FaultCode}
_NEW_S: Final = 60.0  # Of `record.feed.group`: a group is new for so long.
# A P2 that lasts is a P1; a code of an application is a P1.
_RAISED: Final = {"P2": ("P2", "P1")}


def family_of(code: str) -> str:
    """Return the first word of a code after 316-."""
    return code.split("-")[1]


_FAMILIES: Final = {family_of(code) for code in _CODES}


def find_alert_warnings(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield what works, but is hardly meant."""
    alerts = settings.alerts
    for name, receiver in alerts.receivers.items():
        at: Path_ = ("alerts", "receivers", name)
        if receiver.webhook is not None:
            yield from _hook_warnings(receiver.webhook, (*at, "webhook"), source)
        if receiver.mail is not None:
            yield from _mail_warnings(receiver.mail, (*at, "mail"), source)
    for key in ("rules", "silences"):
        for index, given in enumerate(getattr(alerts, key)):
            yield from _code_warnings(given, ("alerts", key, index), source)
    if alerts.receivers:
        yield from _rule_warnings(settings, source)
    elif alerts.rules:
        message = "tell nobody: there are no receivers"
        yield source.problem(("alerts", "rules"), message, "set alerts.receivers")


def _rule_warnings(settings: models.FileSettings, source: Source) -> Iterator[Problem]:
    alerts = settings.alerts
    compiled = rules_of(alerts)
    told = {name for rule in compiled for name in rule.receivers}
    for name in alerts.receivers:
        if name not in told:
            message = "is never told: no rule leads here"
            yield source.problem(("alerts", "receivers", name), message)
    reached = {rule.name for rule in compiled}
    for index, rule in enumerate(alerts.rules):
        at: Path_ = ("alerts", "rules", index)
        if rule.name not in reached:
            message = "tells nobody: without receivers, P3 goes to none, P2 to webhooks"
            yield source.problem(at, message, "name receivers")
        elif (reason := _never(settings, rule)) is not None:
            yield source.problem(at, f"can never match: {reason}")


def _hook_warnings(
    hook: WebhookSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    url = SecretSource(hook.url_file or "", hook.url_env or "", hook.url or "")
    key = next(
        k for k in ("url_file", "url_env", "url") if getattr(hook, k) or k == "url"
    )
    if hook.url is not None and hook.format != "json":
        message = "whoever knows this URL can write there, and it stands here in plain"
        hint = "use url_file or url_env"
        yield source.problem((*at, "url"), message, hint)
    found = yield from _read(url, (*at, key), source)
    if found and not is_http(found):
        yield source.problem((*at, key), "holds no http or https URL")
    elif found:
        parts = urlsplit(found)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            message = "goes over the network in plain HTTP: others can read it"
            yield source.problem((*at, key), message, "use https")
    for name in ("secret_file", "secret_env"):
        yield from _read_key(hook, name, at, source)


def _mail_warnings(mail: MailSettings, at: Path_, source: Source) -> Iterator[Problem]:
    is_plain = not mail.starttls and not mail.tls
    if is_plain and mail.username is not None and not is_loopback(mail.host):
        message = "is off, so the password goes over the network in plain"
        yield source.problem((*at, "starttls"), message, "set starttls: true")
    for name in ("password_file", "password_env"):
        yield from _read_key(mail, name, at, source)


def _read_key(given: object, key: str, at: Path_, source: Source) -> Iterator[Problem]:
    value = getattr(given, key)
    if value is not None:
        is_file = key.endswith("_file")
        secret = SecretSource(value) if is_file else SecretSource(variable=value)
        yield from _read(secret, (*at, key), source)


def _read(
    secret: SecretSource, at: Path_, source: Source
) -> Generator[Problem, None, str]:
    """Yield why a secret cannot be had here; return it, empty where there is none."""
    if secret.file and is_world_readable(secret.file):
        message = "every user of this host may read the file"
        yield source.problem(at, message, "chmod o-r; in Kubernetes: defaultMode 0440")
    try:
        return secret.read(os.environ)
    except SecretError as error:
        yield source.problem(at, f"{error}: until it can be, nobody is told")
        return ""


def _code_warnings(
    given: SelectionSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    """Yield names that no failure of the proxy has; those of applications are free."""
    for key, known in (("codes", _CODES), ("families", _FAMILIES)):
        for place, name in enumerate(getattr(given, key)):
            if name not in known:
                message = (
                    f"{name!r} is not in the catalogue: only an application has it"
                )
                hint = nearest(name, known)
                yield source.problem((*at, key, place), message, hint)


def _never(settings: models.FileSettings, rule: AlertRuleSettings) -> str | None:
    """Return why no group can ever be one of these."""
    families = {family_of(code) for code in rule.codes}
    if rule.families and families and families.isdisjoint(rule.families):
        return "none of codes is of one of families"
    severities = _possible(rule.codes)
    if rule.severities and severities.isdisjoint(rule.severities):
        return f"its codes are {', '.join(sorted(severities))} alone"
    if set(rule.states) == {"new"} and rule.after >= _NEW_S:
        return f"a group is new for {_NEW_S:g} s, which is not over `after`"
    leads_to = {r.upstream for r in settings.routes if r.name in rule.routes}
    if rule.routes and rule.upstreams and leads_to.isdisjoint(rule.upstreams):
        return "none of routes leads to one of upstreams"
    return None


def _possible(codes: Collection[str]) -> set[str]:
    """Return the severities that failures with these codes can have."""
    found: set[str] = set()
    for code in codes or _CODES:
        entry = find(code)
        own = "P1" if entry is None else entry.spec.severity.name
        found.update(_RAISED.get(own, (own,)))
    return found if codes else found | {"P1"}
