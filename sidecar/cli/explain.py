"""sidecar explain: which route, and why."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from sidecar.route.explain import explain
from sidecar.route.rewrite import target
from sidecar.route.table import RouteTable
from sidecar.settings.load import load_file
from sidecar.settings.problem import SettingsError
from sidecar.wire.head import HeadError, parse_request

if TYPE_CHECKING:
    from sidecar.model import RequestHead
    from sidecar.settings.snapshot import Route, Snapshot

_LOSERS = 2


def command(
    method: Annotated[str, typer.Argument(help="Such as GET.")],
    url: Annotated[str, typer.Argument(help="Such as http://shop.example/orders?x=1.")],
    config: Annotated[
        str, typer.Option("-c", "--config", help="Configuration (YAML).")
    ],
    header: Annotated[
        list[str] | None, typer.Option("-H", help="A header field: 'name: value'.")
    ] = None,
    listener: Annotated[str, typer.Option(help="inbound or outbound.")] = "inbound",
) -> None:
    """Show which route a request takes, why the next two lost, and what applies.

    Example: sidecar explain -c config/demo.yaml GET http://shop/prices
    """
    try:
        snapshot = load_file(config).snapshot
    except SettingsError as error:
        _fail(str(error))
    try:
        head = parse_request(_raw(method, url, header or []))
    except HeadError as error:
        _fail(f"no proxy would take this request: {error.detail}")
    sys.stdout.write(_text(snapshot, listener, head))


def _raw(method: str, url: str, headers: list[str]) -> bytes:
    parts = urlsplit(url if "//" in url else f"//localhost{url}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    names = {line.partition(":")[0].strip().lower() for line in headers}
    lines = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {parts.netloc or 'localhost'}")
    return "\r\n".join([*lines, *headers, "", ""]).encode()


def _text(snapshot: Snapshot, listener: str, head: RequestHead) -> str:
    routes = [route for route in snapshot.routes if route.listener == listener]
    verdicts = explain(routes, head)
    found = RouteTable(routes).find(head)
    lines = []
    if found is None:
        lines.append("no route: 404 316-ROUTE-NOT-FOUND")
    else:
        sent = target(head, found.route.rewrite, found.prefix_bytes).decode("latin-1")
        lines += _winner(snapshot, found.route, f"{head.method} {sent}")
        verdicts = verdicts[1:]
    lines += [f"not {v.route.name}: {v.reason}" for v in verdicts[:_LOSERS]]
    return "\n".join(lines) + "\n"


def _winner(snapshot: Snapshot, route: Route, sent: str) -> list[str]:
    timeouts, retry, breaker = route.timeouts, route.retry, route.breaker
    endpoints = ", ".join(map(str, snapshot.upstreams[route.upstream].endpoints))
    on = ", ".join(sorted(condition.value for condition in retry.on)) or "nothing"
    opens = (
        "off"
        if breaker is None
        else f"opens at {breaker.failure_ratio:.0%} of {breaker.min_requests} "
        f"or more in {breaker.window_s:g} s, for {breaker.open_s:g} s"
    )
    return [
        f"route     {route.name} ({snapshot.source}:{route.line})",
        f"sent on   {sent} to {route.upstream}: {endpoints}",
        f"timeouts  request {_s(timeouts.request_s)}, "
        f"per try {_s(timeouts.per_try_s)}, "
        f"connect {_s(timeouts.connect_s)}, idle {_s(timeouts.stream_idle_s)}",
        f"retry     {retry.preset}: at most {retry.max_retries}, on {on}",
        f"breaker   {opens}",
    ]


def _s(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:g} s"


def _fail(message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(1)
