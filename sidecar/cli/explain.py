"""sidecar explain: which route a request takes, and why not the others."""

from __future__ import annotations

import json
import re
import string
import sys
from dataclasses import asdict, replace
from enum import Enum
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, NoReturn
from urllib.parse import quote

import typer

from sidecar.route.destinations import holds_at
from sidecar.route.explain import Explanation, Loser, explain, told
from sidecar.route.rewrite import target
from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError
from sidecar.settings.units import parse_endpoint
from sidecar.wire.fields import Hop, request_section
from sidecar.wire.head import HeadError, parse_request
from sidecar.wire.secret_names import MASK

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from sidecar.model import RequestHead
    from sidecar.policy.breaker import BreakerLimits
    from sidecar.policy.outlier import OutlierLimits
    from sidecar.policy.retry import RetryRules
    from sidecar.route.table import Found
    from sidecar.settings.snapshot import (
        FieldEdits,
        Match,
        Route,
        Snapshot,
        Timeouts,
        Upstream,
    )

_LOSERS = 2
_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?([^/?#]*)([^#]*)")
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_NO_ROUTE = "no route: 404 316-ROUTE-NOT-FOUND"
_PER_ATTEMPT = "(each attempt adds traceparent, x-316-attempt, x-316-deadline-ms)"

_Rows = list[tuple[str, str]]  # Label and text; no label: it goes on.


class ListenerName(Enum):
    """Where the request is supposed to arrive."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


def command(
    method: Annotated[str, typer.Argument(help="Such as GET.")],
    url: Annotated[str, typer.Argument(help="http://host/path?query, or a path.")],
    config: Annotated[
        str, typer.Option("-c", "--config", help="Configuration file (YAML).")
    ],
    header: Annotated[
        list[str] | None,
        typer.Option("-H", help="A header field, 'name: value'; any number."),
    ] = None,
    listener: Annotated[
        ListenerName, typer.Option(help="Where the request arrives.")
    ] = ListenerName.INBOUND,
    *,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="IP:PORT",
            help="Of an intercepted connection: where it was meant to go.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with every loser.")
    ] = False,
) -> None:
    """Show which route a request takes, why the next two lost, and what applies.

    Exits with 1 when no route takes it.

    Example: sidecar explain -c config/demo.yaml GET http://shop/prices
    """
    try:
        snapshot = load_file(config).snapshot
    except SettingsError as error:
        _fail(str(error))
    try:
        raw = raw_request(method, url, header or [])
        head = parse_request(raw, snapshot.limits.header_count)
    except HeadError as error:
        hint = "; methods are in upper case" if method != method.upper() else ""
        _fail(f"{error.status}: no proxy takes this request: {error.detail}{hint}")
    holding = partial(holds_at, address=None if to is None else _destination(to))
    here = [route for route in snapshot.routes if route.listener == listener.value]
    explanation = explain([route for route in here if holding(route)], head)
    if as_json:
        sys.stdout.write(_json_text(snapshot, head, explanation))
    else:
        elsewhere = [r for r in here if not holding(r) and r.line]
        _print([*_rows(snapshot, head, explanation), *_elsewhere_rows(elsewhere, to)])
    sys.exit(explanation.winner is None)


def _destination(to: str) -> tuple[IPv4Address | IPv6Address, int]:
    """Return where an intercepted connection was meant to go."""
    try:
        place = parse_endpoint(to)
        return ip_address(place.host), place.port
    except ValueError:
        _fail(f"--to {to!r}: expected IP:PORT, such as 10.0.0.1:80 or [::1]:80", code=2)


def raw_request(method: str, url: str, fields: list[str]) -> bytes:
    """Return the head of the request that a client makes of these words."""
    for field in fields:
        if _FIELD.fullmatch(field) is None:
            _fail(f"-H {field!r}: expected 'name: value'", code=2)
    match = None if url == "*" else _URL.match(url)
    authority, rest = ("", "*") if match is None else match.groups()
    host = authority.rpartition("@")[2] or "localhost"
    if rest[:1] not in ("/", "*"):
        rest = f"/{rest}"
    lines = [f"{method} {quote(rest, safe=string.punctuation)} HTTP/1.1"]
    if not any(field.lower().startswith("host:") for field in fields):
        lines.append(f"Host: {host}")
    return "\r\n".join([*lines, *fields, "", ""]).encode()


# What is told.


def _rows(snapshot: Snapshot, head: RequestHead, explanation: Explanation) -> _Rows:
    found = explanation.winner
    rows = [("", _NO_ROUTE)] if found is None else _winner_rows(snapshot, found, head)
    rows += [
        ("", f"not {loser.way.route.name}{_line(loser)}: {'; '.join(loser.reasons)}")
        for loser in explanation.losers[:_LOSERS]
    ]
    return rows


def _elsewhere_rows(routes: list[Route], to: str | None) -> _Rows:
    """Tell of routes that hold for other destinations only."""
    where = f"not to {to}" if to else "and none is known (give it with --to)"
    return [
        ("", f"not {route.name} (line {route.line}): it is for connections to {places}")
        for route in routes[:_LOSERS]
        for places in [f"{', '.join(map(str, route.destinations))}, {where}"]
    ]


def _endpoints(upstream: Upstream) -> str:
    """Return where they are, or who knows."""
    if upstream.is_original:
        return "where the connection was meant to go"
    return str(upstream.discovery or ", ".join(map(str, upstream.endpoints)))


def _winner_rows(snapshot: Snapshot, found: Found, head: RequestHead) -> _Rows:
    route = found.route
    upstream = snapshot.upstreams[route.upstream]
    first, *others = [*sent_on(found, head), _PER_ATTEMPT]
    return [
        ("route", f"{route.name} ({_place(snapshot, route)})"),
        ("matches", _matches(found)),
        ("upstream", f"{route.upstream}: {_endpoints(upstream)}"),
        ("sent on", first),
        *(("", f"{'':10}{line}") for line in others),
        ("timeouts", _timeouts(route.timeouts)),
        ("retry", _retry(route.retry, upstream)),
        ("breaker", _breaker(route.breaker)),
        ("outlier", _outlier(upstream.outlier, len(upstream.endpoints))),
    ]


def sent_on(found: Found, head: RequestHead) -> list[str]:
    """Return request line and fields as a trusted client's request goes on.

    Without the values that the route writes: they may be secret.
    """
    route = found.route
    rewrite = route.rewrite
    request_id = head.named.get(b"x-request-id", b"(new)")
    hop = Hop(b"(this sidecar)", b"(client)", b"http", is_trusted=True)
    path = target(head, rewrite, found.prefix_bytes)
    line = b"%b %b HTTP/1.1\r\n" % (head.method.encode(), path)
    section = request_section(head, hop, rewrite.host, _masked(route.request_edits))
    lines = line + section + b"x-request-id: %b\r\n" % request_id
    return lines.decode("latin-1").splitlines()


def _masked(edits: FieldEdits) -> FieldEdits:
    hidden = MASK.encode()
    return replace(
        edits,
        set=tuple((name, hidden) for name, _ in edits.set),
        add=tuple((name, hidden) for name, _ in edits.add),
    )


def _place(snapshot: Snapshot, route: Route) -> str:
    if not route.line and route.destinations:
        return f"{route.listener}.unmatched: pass"
    return f"{snapshot.source}:{route.line}"


def _line(loser: Loser) -> str:
    line = loser.way.route.line
    return f" (line {line})" if line else ""


def _matches(found: Found) -> str:
    host = "" if found.host == "*" else f"host {found.host}, "
    return host + describe(found.match)


def describe(match: Match) -> str:
    """Return the conditions of a match in a line."""
    parts = [f"path {match.path.kind} {match.path.value}"]
    if match.method is not None:
        parts.append(f"method {match.method}")
    for what, conditions in (("header", match.headers), ("query", match.query)):
        parts += [
            f"{what} {c.name} {'~' if c.is_regex else '='} {told(c)}"
            for c in conditions
        ]
    return ", ".join(parts)


def _timeouts(timeouts: Timeouts) -> str:
    limits = asdict(timeouts).items()
    return ", ".join(
        f"{name.removesuffix('_s').replace('_', ' ')} {_s(seconds)}"
        for name, seconds in limits
        if seconds is not None or name == "request_s"
    )


def _retry(retry: RetryRules, upstream: Upstream) -> str:
    if retry.preset == "off" or not retry.max_retries:
        return "off"
    on = sorted(condition.value for condition in retry.on)
    on += [str(code) for code in sorted(retry.codes)]
    on += sorted(retry.fault_codes)
    backoff, budget = retry.backoff, upstream.budget
    return (
        f"{retry.preset}: at most {retry.max_retries}, on {', '.join(on) or 'nothing'}"
        f"; after up to {_s(backoff.base_s)}, doubling to {_s(backoff.max_s)}"
        f"; within {budget.ratio:.0%} of the requests to {upstream.name}"
    )


def _breaker(breaker: BreakerLimits | None) -> str:
    if breaker is None:
        return "off"
    slow = (
        ""
        if breaker.slow_call_s is None
        else f", or {breaker.slow_ratio:.0%} slower than {_s(breaker.slow_call_s)}"
    )
    in_a_row = (
        f", or after {breaker.consecutive_failures} failed connections in a row"
        if breaker.consecutive_failures
        else ""
    )
    return (
        f"opens at {breaker.failure_ratio:.0%} failures{slow} of {breaker.min_requests}"
        f" or more in {_s(breaker.window_s)}{in_a_row}; "
        f"for {_s(breaker.open_s)}, doubling to {_s(breaker.open_max_s)}"
    )


def _outlier(outlier: OutlierLimits | None, endpoints: int) -> str:
    if outlier is None:
        return "off"
    if endpoints == 1:
        return "the only endpoint is never ejected"
    share = outlier.max_ejected_ratio
    most = (
        "half of up to 4 endpoints, a tenth of more"
        if share is None
        else f"{share:.0%} of the endpoints"
    )
    in_a_row = (
        f"after {outlier.consecutive_failures} failures in a row"
        if outlier.consecutive_failures
        else "never for failures in a row"
    )
    last = "are asked all the same" if outlier.is_panicking else "fail at once"
    return (
        f"ejects {in_a_row}, {most}; for {_s(outlier.base_ejection_s)}, growing to"
        f" {_s(outlier.max_ejection_s)}; avoids for {_s(outlier.avoid_s)} what is not"
        f" there; if all are down, they {last}"
    )


def _s(seconds: float | None) -> str:
    if seconds is None:
        return "off"
    return f"{seconds * 1000:g} ms" if 0 < seconds < 1 else f"{seconds:g} s"


# How it is told.


def _print(rows: _Rows) -> None:
    """Print for people; in colours where a terminal shows them."""
    lines = [f"{label:<10}{text}" if label else text for label, text in rows]
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join(lines) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

    console = Console(highlight=False)
    for (label, _), line in zip(rows, lines, strict=True):
        text = Text(line)
        text.stylize("bold cyan", 0, len(label))
        if line.startswith(("not ", _NO_ROUTE)):
            text.stylize("yellow")
        console.print(text, soft_wrap=True)


def _json_text(snapshot: Snapshot, head: RequestHead, explanation: Explanation) -> str:
    found = explanation.winner
    data: dict[str, Any] = {
        "request": {
            "method": head.method,
            "host": head.host,
            "path": head.path,
            "query": head.query,
        },
        "route": None if found is None else _route_data(snapshot, found, head),
        "fault": "316-ROUTE-NOT-FOUND" if found is None else None,
        "losers": [
            {
                "route": loser.way.route.name,
                "line": loser.way.route.line,
                "lost_at": loser.stage.name.lower(),
                "reasons": loser.reasons,
            }
            for loser in explanation.losers
        ],
    }
    return json.dumps(data, indent=2, default=_plain) + "\n"


def _route_data(snapshot: Snapshot, found: Found, head: RequestHead) -> dict[str, Any]:
    route: Route = found.route
    upstream = snapshot.upstreams[route.upstream]
    return {
        "name": route.name,
        "file": snapshot.source,
        "line": route.line,
        "host": found.host,
        "match": _match_data(found.match),
        "template": found.template,
        "upstream": {
            "name": upstream.name,
            "endpoints": upstream.endpoints,
            "discovery": upstream.discovery and str(upstream.discovery),
        },
        "sent_on": sent_on(found, head),
        "timeouts": asdict(route.timeouts),
        "retry": asdict(route.retry),
        "retry_budget": asdict(upstream.budget),
        "outlier": None if upstream.outlier is None else asdict(upstream.outlier),
        "circuit_breaker": None if route.breaker is None else asdict(route.breaker),
    }


def _match_data(match: Match) -> dict[str, Any]:
    shown = {
        kind: [asdict(replace(c, value=told(c))) for c in getattr(match, kind)]
        for kind in ("headers", "query")
    }
    return asdict(match) | shown


def _plain(value: Any) -> Any:
    """Return what JSON has for what it has not."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, int) else str(value)


def _fail(message: str, code: int = 1) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(code)
