"""One route as a rule of an HTTPRoute, and what of it no rule can say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sidecar.policy.retry import Condition
from sidecar.settings.filters import fold
from sidecar.settings.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings import models
    from sidecar.settings.base import Settings
    from sidecar.settings.source import Path_

_NAME = re.compile(
    r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
)
_PATH = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
_BANNED_IN_PATHS = re.compile(r"//|/\.{1,2}(?:/|$)|%2[fF]")
_VALUE = re.compile(r"[!-~]+(?:[\t ]?[!-~]+)*")
_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
)
_MAX_PATH, _MAX_HEADER_VALUE, _MAX_QUERY_VALUE = 1024, 4096, 1024
_MAX_CONDITIONS, _MAX_MATCHES, _MAX_EDITS = 16, 64, 16
_BACKOFF_GROWTH = 10
_SAID_TIMEOUTS = frozenset(("request", "per_try"))
_SAID_RETRY = frozenset(("preset", "on", "codes", "max_retries", "backoff"))
_SAID = frozenset(
    (
        "name",
        "listener",
        "hosts",
        "matches",
        "upstream",
        "timeouts",
        "retry",
        "rewrite",
        "request_headers",
        "response_headers",
        "filters",
    )
)
_SAID_OF_MATCH = frozenset(("path", "method", "headers", "query"))
_SAID_OF_REWRITE = frozenset(("prefix", "path", "host"))
_OF_DEFAULTS = frozenset(("circuit_breaker", "body_max"))
_HINT = "`defaults` of the settings holds for every route"


class Unsaid(NamedTuple):
    """What is not said, where in the route it stands, and what may help."""

    path: Path_
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule, and how many matches it has."""

    data: dict[str, Any]
    matches: int


def rule_of(route: models.RouteSettings, unsaid: list[Unsaid]) -> Rule:
    """Return a rule without its backend.

    Args:
        route: Of the settings.
        unsaid: What the rule does not say is added here.
    """
    data: dict[str, Any] = {}
    if _NAME.fullmatch(route.name):
        data["name"] = route.name
    unsaid += _keys(route)
    unsaid += [
        each for number in range(len(route.matches)) for each in _odd(route, number)
    ]
    if len(route.matches) > _MAX_MATCHES:
        message = f"is not said: a rule has {_MAX_MATCHES} matches at most"
        unsaid.append(Unsaid(("matches",), message))
    data["matches"] = [_match(match) for match in route.matches] or [{}]
    filters = list(_filters(fold(route), unsaid))
    if filters:
        data["filters"] = filters
    timeouts = {
        key: "0s" if limit == "off" else format_duration(limit)
        for key, limit in (
            ("request", route.timeouts.request),
            ("backendRequest", route.timeouts.per_try),
        )
        if limit is not None
    }
    if timeouts:
        data["timeouts"] = timeouts
    if route.retry is not None:
        unsaid += _retry_keys(route)
        data["retry"] = _retry(route.retry)
    return Rule(data, len(data["matches"]))


def keys_beyond(given: Settings, said: frozenset[str]) -> Iterator[str]:
    """Yield the keys that are not among those said, and not at their defaults.

    So a key that is new to the settings is told before it is known here.
    """
    for key, field in type(given).model_fields.items():
        default = field.get_default(call_default_factory=True)
        if key not in said and getattr(given, key) != default:
            yield key


def _keys(route: models.RouteSettings) -> Iterator[Unsaid]:
    """Yield the keys that no HTTPRoute has."""
    for key in keys_beyond(route, _SAID):
        yield Unsaid((key,), "is not said", _HINT if key in _OF_DEFAULTS else "")
    for key in keys_beyond(route.timeouts, _SAID_TIMEOUTS):
        yield Unsaid(("timeouts", key), "is not said", _HINT)
    for key in keys_beyond(route.rewrite, _SAID_OF_REWRITE):
        yield Unsaid(("rewrite", key), "is not said")
    for number, match in enumerate(route.matches):
        for key in keys_beyond(match, _SAID_OF_MATCH):
            yield Unsaid(("matches", number, key), "is not said")


def _odd(route: models.RouteSettings, number: int) -> Iterator[Unsaid]:
    """Yield the conditions that the API server would refuse."""
    match, at = route.matches[number], ("matches", number)
    path = match.path
    if len(path.value) > _MAX_PATH or (
        path.type != "RegularExpression"
        and (not _PATH.fullmatch(path.value) or _BANNED_IN_PATHS.search(path.value))
    ):
        yield Unsaid((*at, "path"), "is not said: no HTTPRoute has such a path")
    if match.method is not None and match.method not in _METHODS:
        yield Unsaid((*at, "method"), "is not said: no HTTPRoute has such a method")
    for key, conditions, longest in (
        ("headers", match.headers, _MAX_HEADER_VALUE),
        ("query", match.query, _MAX_QUERY_VALUE),
    ):
        if len(conditions) > _MAX_CONDITIONS:
            message = f"is not said: there are {_MAX_CONDITIONS} at most"
            yield Unsaid((*at, key), message)
        for index, one in enumerate(conditions):
            is_odd = not one.value or len(one.value) > longest
            if key == "headers":
                is_odd |= not _VALUE.fullmatch(one.value)
            if is_odd:
                message = "is not said: no HTTPRoute has such a value"
                yield Unsaid((*at, key, index, "value"), message)


def _match(match: models.MatchSettings) -> dict[str, Any]:
    data: dict[str, Any] = {"path": match.path.model_dump()}
    if match.method is not None:
        data["method"] = match.method
    for key, conditions in (("headers", match.headers), ("queryParams", match.query)):
        first: dict[str, Any] = {}  # Of each name: the rest is not looked at here, too.
        for one in conditions:
            name = one.name.lower() if key == "headers" else one.name
            shown = {"type": one.type, "name": one.name, "value": one.value}
            first.setdefault(name, shown)
        if first:
            data[key] = list(first.values())
    return data


def _filters(
    route: models.RouteSettings, unsaid: list[Unsaid]
) -> Iterator[dict[str, Any]]:
    for key, kind in (
        ("request_headers", "RequestHeaderModifier"),
        ("response_headers", "ResponseHeaderModifier"),
    ):
        edits: models.EditSettings = getattr(route, key)
        unsaid += _odd_edits(key, edits)
        changes: dict[str, Any] = {}
        for name, fields in (("set", edits.set), ("add", edits.add)):
            if fields:
                changes[name] = [
                    {"name": field, "value": value}
                    for field, values in fields.items()
                    for value in values
                ]
        if edits.remove:
            changes["remove"] = list(edits.remove)
        if changes:
            yield {"type": kind, kind[0].lower() + kind[1:]: changes}
    if rewrite := _rewrite(route, unsaid):
        yield {"type": "URLRewrite", "urlRewrite": rewrite}


def _rewrite(route: models.RouteSettings, unsaid: list[Unsaid]) -> dict[str, Any]:
    rewrite = route.rewrite
    change: dict[str, Any] = {}
    if rewrite.host is not None:
        if not _NAME.fullmatch(rewrite.host):
            message = "is not said: no HTTPRoute has such a host"
            unsaid.append(Unsaid(("rewrite", "host"), message))
        change["hostname"] = rewrite.host
    if rewrite.path is not None:
        change["path"] = {"type": "ReplaceFullPath", "replaceFullPath": rewrite.path}
    if rewrite.prefix is not None:
        kind, prefix = "ReplacePrefixMatch", rewrite.prefix
        change["path"] = {"type": kind, "replacePrefixMatch": prefix}
        if len(route.matches) > 1:
            message = "is not said: a rule that replaces a prefix has one match"
            unsaid.append(Unsaid(("rewrite", "prefix"), message))
    return change


def _odd_edits(key: str, edits: models.EditSettings) -> Iterator[Unsaid]:
    for kind in ("set", "add"):
        fields: dict[str, tuple[str, ...]] = getattr(edits, kind)
        names = [name.lower() for name, values in fields.items() for _ in values]
        if len(set(names)) < len(names):
            message = "is not said: a field has one value"
            yield Unsaid((key, kind), message)
        if len(names) > _MAX_EDITS:
            message = f"is not said: there are {_MAX_EDITS} at most"
            yield Unsaid((key, kind), message)
        for name, values in fields.items():
            if "" in values:
                message = "is not said: no HTTPRoute has an empty value"
                yield Unsaid((key, kind, name), message)
    if len(edits.remove) > _MAX_EDITS:
        message = f"is not said: there are {_MAX_EDITS} at most"
        yield Unsaid((key, "remove"), message)


def _retry_keys(route: models.RouteSettings) -> Iterator[Unsaid]:
    """Yield what of a retry policy comes to something else in an HTTPRoute."""
    retry = route.retry
    assert retry is not None  # noqa: S101 - for the type
    for key in sorted(retry.model_fields_set - _SAID_RETRY):
        yield Unsaid(("retry", key), "is not said")
    if retry.preset == "off" and not (retry.codes or retry.on):
        return
    if retry.preset != "safe" or "preset" not in retry.model_fields_set:
        message = "is not said: retries of an HTTPRoute are `preset: safe`"
        yield Unsaid(("retry", "preset"), message)
        return  # The rest would come to something else anyway.
    has_per_try = route.timeouts.per_try not in (None, "off")
    on = {Condition.PER_TRY_TIMEOUT} if has_per_try else set()
    if set(retry.on) != on:
        message = "is not said: an HTTPRoute has per-try-timeout if it has that timeout"
        yield Unsaid(("retry", "on"), message)
    backoff = retry.backoff
    if "backoff" in retry.model_fields_set and (
        round(backoff.max * 1000) != round(backoff.base * _BACKOFF_GROWTH * 1000)
    ):
        message = f"is not said: its max is {_BACKOFF_GROWTH} times its base"
        yield Unsaid(("retry", "backoff"), message)


def _retry(retry: models.RetrySettings) -> dict[str, Any]:
    if retry.preset == "off":
        return {"attempts": 0}
    data: dict[str, Any] = {}
    if retry.codes:
        data["codes"] = sorted(set(retry.codes))
    if "max_retries" in retry.model_fields_set:
        data["attempts"] = retry.max_retries
    if "backoff" in retry.model_fields_set:
        data["backoff"] = format_duration(retry.backoff.base)
    return data
