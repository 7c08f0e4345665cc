"""What no single model can see: names that do not meet, limits that do not nest.

Each makes a file unusable; what is allowed, but hardly meant, is in `warn.py`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from sidecar.settings.admin_checks import find_admin_problems
from sidecar.settings.application_checks import find_application_problems
from sidecar.settings.compile import (
    effective_breaker,
    effective_retry,
    effective_timeouts,
)
from sidecar.settings.discovery import mistake_in
from sidecar.settings.filters import find_mistakes, fold
from sidecar.settings.problem import Problem, nearest, shown
from sidecar.wire.secret_names import MASK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sidecar.settings import models
    from sidecar.settings.snapshot import Address, Route, Snapshot
    from sidecar.settings.source import Path_, Source

# Fields that the proxy writes itself, or that mean one connection only: a change
# to them would break the framing of a message, or be overwritten without a word.
_NOT_EDITED = frozenset(
    (
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
    )
)
_NOT_EDITED_IN_REQUESTS = _NOT_EDITED | {
    "host",
    "traceparent",
    "tracestate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
}


def find_problems(
    settings: models.FileSettings, numbers: Sequence[int], source: Source
) -> list[Problem]:
    """Return what makes the settings unusable, in no order.

    Args:
        settings: All of them, or what is left of them.
        numbers: For each route of `settings`, its index in the file.
        source: The file.
    """
    problems = [
        *_listen_problems(settings, source),
        *_upstream_problems(settings, source),
        *find_admin_problems(settings.admin, source),
        *find_application_problems(settings, source),
    ]
    seen: dict[str, int] = {}
    for index, route in zip(numbers, settings.routes, strict=True):
        at = ("routes", index)
        if route.upstream not in settings.upstreams:
            hint = nearest(route.upstream, settings.upstreams)
            message = f"there is no upstream {route.upstream!r}"
            problems.append(source.problem((*at, "upstream"), message, hint))
        if route.name in seen:
            message = f"{route.name!r} is the name of routes[{seen[route.name]}], too"
            problems.append(source.problem((*at, "name"), message))
        seen.setdefault(route.name, index)
        problems += _nesting_problems(settings, route, at, source)
        problems += _match_problems(route, at, source)
        problems += _change_problems(route, at, source)
    return problems


def find_table_problems(snapshot: Snapshot, source: Source) -> Iterator[Problem]:
    """Yield what only the tables of the routes find: too many patterns for a host.

    Each pattern alone was good; tables without patterns are not built for this.
    """
    from sidecar.route.table import RouteTable  # noqa: PLC0415 - RE2 is heavy

    for listener in {route.listener for route in snapshot.routes}:
        routes = [route for route in snapshot.routes if route.listener == listener]
        asking = [route for route in routes if _has_pattern(route)]
        for host in {host for route in asking for host in route.hosts or ("*",)}:
            same = [route for route in asking if host in (route.hosts or ("*",))]
            try:
                RouteTable([replace(route, hosts=(host,)) for route in same])
            except ValueError as error:
                at = ("routes", snapshot.routes.index(same[0]))
                message = f"{error}, together with those of other routes"
                yield source.problem(at, message, "use prefixes, or fewer patterns")


def _has_pattern(route: Route) -> bool:
    return any(match.path.kind == "RegularExpression" for match in route.matches)


def _listen_problems(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield addresses that two servers of this process would fight over."""
    taken: list[tuple[str, Address]] = []
    for name in ("inbound", "outbound", "admin", "health"):
        server = getattr(settings, name)
        if server is None:
            continue
        address = server.listen
        for other, held in taken:
            is_same_host = held.host == address.host
            overlaps = is_same_host or any(map(is_any_host, (held.host, address.host)))
            if address.port == held.port != 0 and overlaps:
                message = f"{address} is taken by {other}, which listens on {held}"
                at = name if (name, "listen") in source.places else other
                yield source.problem((at, "listen"), message)
        taken.append((name, address))


def _upstream_problems(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    for name, upstream in settings.upstreams.items():
        at = ("upstreams", name)
        yield from _endpoint_problems(upstream, at, source)
        tls = upstream.tls
        outlier = upstream.outlier
        if outlier != "off" and outlier.base_ejection > outlier.max_ejection:
            message = (
                f"base_ejection ({outlier.base_ejection:g} s) is over max_ejection"
                f" ({outlier.max_ejection:g} s)"
            )
            keys = ("base_ejection", "max_ejection")
            places = [(*at, "outlier", key) for key in keys]
            written = [place for place in places if place in source.places]
            yield source.problem(written[0], message)
        if tls is not None and (tls.cert_file is None) != (tls.key_file is None):
            message = "cert_file and key_file go together"
            yield source.problem((*at, "tls"), message)


def _endpoint_problems(
    upstream: models.UpstreamSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    """Yield why it is not known where an upstream's endpoints are."""
    given = {
        "endpoints": "endpoints" in upstream.model_fields_set,
        "discovery": upstream.discovery is not None,
        "original_destination": upstream.original_destination,
    }
    ways = [name for name, is_given in given.items() if is_given]
    discovery = upstream.discovery
    if not ways:
        message = f"has none of {', '.join(given)}: there is nowhere to send to"
        yield source.problem(at, message, "give one of them")
    elif len(ways) > 1:
        message = f"and {ways[0]} exclude each other: keep one of them"
        yield source.problem((*at, ways[-1]), message)
    elif given["endpoints"] and not upstream.endpoints:
        message = "is empty: there is nowhere to send a request"
        yield source.problem((*at, "endpoints"), message)
    elif discovery is not None and (mistake := mistake_in(discovery)) is not None:
        yield source.problem((*at, "discovery"), mistake)
    is_nameless = upstream.tls is not None and not upstream.tls.server_name
    if upstream.original_destination and is_nameless:
        message = "has no server_name, and an original destination has no name"
        yield source.problem((*at, "tls"), message, "set tls.server_name")


def _nesting_problems(
    settings: models.FileSettings,
    route: models.RouteSettings,
    at: Path_,
    source: Source,
) -> Iterator[Problem]:
    """Yield inner limits that are over the outer ones, as they hold for a route."""
    timeouts = effective_timeouts(settings, route)
    retry = effective_retry(settings, route)
    breaker = effective_breaker(settings, route)
    pairs = [
        (("timeouts",), "per_try", timeouts.per_try_s, "request", timeouts.request_s),
        (("retry", "backoff"), "base", retry.backoff.base, "max", retry.backoff.max),
    ]
    if breaker != "off":
        low_s, high_s = breaker.open, breaker.open_max
        pairs.append((("circuit_breaker",), "open", low_s, "open_max", high_s))
    for keys, inner, inner_s, outer, outer_s in pairs:
        if inner_s is None or outer_s is None:
            continue
        # A try as long as the whole request would never be ended by its own limit.
        is_useless = inner == "per_try" and inner_s == outer_s
        if inner_s > outer_s or is_useless:
            own, shared = (*at, *keys), ("defaults", *keys)
            places = [(*own, inner), (*own, outer), (*shared, inner), (*shared, outer)]
            written = [place for place in places if place in source.places]
            message = (
                f"{inner} ({inner_s:g} s) is {'not under' if is_useless else 'over'}"
                f" {outer} ({outer_s:g} s)"
                f" for route {route.name!r}"
            )
            yield source.problem((*written, own)[0], message)


def _match_problems(
    route: models.RouteSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    for number, match in enumerate(route.matches):
        here = (*at, "matches", number)
        value = match.path.value
        if match.path.type == "RegularExpression":
            yield from _pattern_problems(value, (*here, "path"), source)
        else:
            yield from _path_problems(value, (*here, "path", "value"), source)
        for kind in ("headers", "query"):
            for place, condition in enumerate(getattr(match, kind)):
                where = (*here, kind, place)
                if condition.type == "RegularExpression":
                    yield from _pattern_problems(condition.value, where, source)
                elif kind == "headers" and not condition.value.isascii():
                    at_value = (*where, "value")
                    given = shown(condition.value, at_value)
                    message = f"{given} is not ASCII, as headers are"
                    yield source.problem(at_value, message)


def _path_problems(value: str, at: Path_, source: Source) -> Iterator[Problem]:
    """Yield why no raw path of a request can equal `value`, or begin with it."""
    if not value.startswith("/"):
        yield source.problem(at, f"{shown(value)} does not start with /")
    elif "?" in value or "#" in value:
        hint = "conditions on the query go into matches[].query"
        yield source.problem(at, f"{shown(value)} is more than a path", hint)
    elif not value.isascii() or not value.isprintable() or " " in value:
        hint = f"write {quote(value, safe='/%')!r}"
        message = f"{shown(value)} is not percent-encoded, as paths of requests are"
        yield source.problem(at, message, hint)


def _pattern_problems(pattern: str, at: Path_, source: Source) -> Iterator[Problem]:
    from sidecar.route.conditions import compile_pattern  # noqa: PLC0415 - RE2 is heavy

    try:
        compile_pattern(pattern)
    except Exception as error:  # noqa: BLE001 - RE2 has one error, under two names
        reason = error.args[0] if error.args else "malformed"
        if isinstance(reason, bytes):
            reason = reason.decode(errors="replace")
        hint = "no look-around, no back-references" if "(?" in pattern else ""
        given = shown(pattern, (*at, "value"))
        reason = "malformed" if given == MASK else reason  # It quotes the pattern.
        message = f"RE2 refuses the pattern {given}: {reason}"
        yield source.problem((*at, "value"), message, hint)


def _change_problems(
    route: models.RouteSettings, at: Path_, source: Source
) -> Iterator[Problem]:
    """Yield what a route may not change in its requests and responses."""
    mistakes = [*find_mistakes(route)]
    for index, message in mistakes:
        yield source.problem((*at, "filters", index), message)
    folded = fold(route)
    rewrite, kinds = folded.rewrite, {match.path.type for match in route.matches}
    place = "filters" if route.filters else "rewrite"
    if rewrite.prefix is not None and rewrite.path is not None:
        message = "prefix and path are both set: keep one of them"
        yield source.problem((*at, place), message)
    if rewrite.prefix is not None and kinds - {"PathPrefix"}:
        message = "replaces a prefix, but not every match has one"
        hint = "rewrite the whole path, or match by PathPrefix"
        yield source.problem((*at, place), message, hint)
    for key, banned in (
        ("request_headers", _NOT_EDITED_IN_REQUESTS),
        ("response_headers", _NOT_EDITED),
    ):
        edits: models.EditSettings = getattr(folded, key)
        for kind in ("set", "add", "remove"):
            for name in getattr(edits, kind):
                lower = name.lower()
                if lower in banned or lower.startswith("x-316-"):
                    where = (*at, "filters") if route.filters else (*at, key, kind)
                    hint = "use rewrite.host" if lower == "host" else ""
                    message = f"{name!r} is written by the proxy itself"
                    yield source.problem(where, message, hint)


def is_any_host(host: str) -> bool:
    """Tell an address that stands for all of this machine's."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
