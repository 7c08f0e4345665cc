"""Whether a request is taken on: its route, and a place at its upstream.

    match      which route: all that follows is its
    admit      deadline, limits, a place: refused before anything is touched
    gather     a body that comes slowly waits here, if many such are under way

What is taken here (a place of the upstream, one for an upload) the exchange gives
back when it leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar import forwarding
from sidecar.faults.catalogue import FaultCode, ProxyFault
from sidecar.faults.classify import classify_timeout
from sidecar.model import Phase, TimeoutKind
from sidecar.policy.deadline import parse_deadline_ms, parse_grpc_timeout

if TYPE_CHECKING:
    from sidecar.exchange import Exchange
    from sidecar.runtime import RouteState, UpstreamState

_TOLD_CHARS: Final = 100  # Of a path, in what is kept of a failure.


def match(exchange: Exchange) -> RouteState:
    """Find the route.

    Raises:
        ProxyFault: There is none, or the request came from this very proxy.
    """
    runtime, head, client = exchange.runtime, exchange.head, exchange.client
    found = client.find_route(head)
    if found is None:
        method, path = head.method, head.path.decode("latin-1")
        msg = f"no route for {method} {path[:_TOLD_CHARS]} at this host"
        raise ProxyFault(FaultCode.ROUTE_NOT_FOUND, msg)
    exchange.found = found
    if client.place is None:
        route = runtime.states[client.listener][found.index]
    else:
        route = client.place.routes[found.index]
    if route.upstream.settings.is_original:
        route = _at_destination(exchange, route)
    exchange.route = route
    route.in_flight += 1
    named = head.named
    if b"via" in named and runtime.via in named[b"via"]:
        msg = "this request came from this very proxy"
        raise ProxyFault(FaultCode.PROXY_LOOP, msg)
    return route


def _at_destination(exchange: Exchange, route: RouteState) -> RouteState:
    """Return the route to where the connection was meant to go.

    Raises:
        ProxyFault: It was made to this proxy itself.
    """
    place = exchange.client.place
    if place is None:
        msg = (
            f"upstream {route.route.upstream} is where a connection was meant to go,"
            " and this one was meant for the proxy itself: it was not intercepted"
        )
        raise ProxyFault(FaultCode.PROXY_LOOP, msg)
    return exchange.runtime.destinations.own(place, route, exchange.start_s)


def admit(exchange: Exchange, route: RouteState) -> None:
    """Refuse early, before anything is touched; start the clocks.

    A body that is still to come may get no place at the upstream yet, see `gather`.

    Raises:
        ProxyFault: The request is refused; nothing was touched.
    """
    head, body, upstream = exchange.head, exchange.body, route.upstream
    settings = route.route
    runtime = exchange.runtime
    if (runtime.is_draining or runtime.unhealthy) and (
        exchange.client.listener == "inbound"
    ):
        _turn_away(exchange, route)
    named = head.named
    if b"x-316-deadline-ms" in named or b"grpc-timeout" in named:
        _heed_deadline(exchange)
    if not upstream.pool.endpoints:
        raise upstream.no_endpoint()
    is_body_to_come = False
    if body is not None:
        keep_bytes = settings.retry.body_buffer_bytes
        body.limit(keep_bytes, settings.body_max_bytes, head.body_bytes)
        is_body_to_come = not body.is_complete
        exchange.is_uploading = is_body_to_come and upstream.uploads.try_enter()
    if exchange.is_uploading or not is_body_to_come:
        _take_place(exchange, upstream)
    assert exchange.found is not None  # noqa: S101 - for the type checker
    exchange.common = forwarding.common_lines(
        head, exchange.client.hop, exchange.found, upstream.settings
    )
    exchange.limits.on_route(
        settings.timeouts, exchange.start_s, is_body_to_come=is_body_to_come
    )


def _turn_away(exchange: Exchange, route: RouteState) -> None:
    """Refuse what comes for an application that is to get nothing now.

    A route that is never shed is for probes of the application itself.

    Raises:
        ProxyFault: This request is of that kind.
    """
    runtime = exchange.runtime
    if runtime.is_draining:
        exchange.writer.keep_alive = False
        msg = "this proxy is going away"
        raise ProxyFault(FaultCode.DRAINING, msg)
    if route.route.is_shed and route.upstream.settings.is_local:
        raise ProxyFault(FaultCode.LOCAL_UNHEALTHY, runtime.unhealthy)


def _take_place(exchange: Exchange, upstream: UpstreamState) -> None:
    if not upstream.requests.try_enter():
        count, name = upstream.requests.count, upstream.settings.name
        msg = f"upstream {name}: {count} in flight"
        raise ProxyFault(FaultCode.POOL_EXHAUSTED, msg, retry_after_s=1.0)
    exchange.has_slot = True
    exchange.runtime.in_flight += 1
    upstream.budget.request_started(exchange.start_s)


async def gather(exchange: Exchange, upstream: UpstreamState) -> None:
    """Wait for the body: those that come slowly hold enough of the upstream.

    As much of it as is kept in any case; what is longer goes on then.
    """
    body, uploads = exchange.body, upstream.uploads
    assert body is not None  # noqa: S101 - for the type checker
    if (
        b"expect" in exchange.head.named and exchange.head.minor
    ):  # It would wait for the origin's word.
        msg = f"upstream {upstream.settings.name}: {uploads.count} bodies to come"
        raise ProxyFault(FaultCode.POOL_EXHAUSTED, msg, retry_after_s=1.0)
    while not (body.is_complete or body.is_full or exchange.is_uploading):
        await exchange.meeting
    if not body.is_complete and not exchange.is_uploading:
        uploads.enter()
        exchange.is_uploading = True
    _take_place(exchange, upstream)


def _heed_deadline(exchange: Exchange) -> None:
    """Take over what the caller says of its own limit (semantics: §2.1)."""
    named = exchange.head.named
    found: list[float | None] = []
    if b"x-316-deadline-ms" in named and exchange.client.is_trusted:
        found.append(parse_deadline_ms(named[b"x-316-deadline-ms"]))
    if b"grpc-timeout" in named:
        found.append(parse_grpc_timeout(named[b"grpc-timeout"]))
    limits_s = [left_s for left_s in found if left_s is not None]
    if len(limits_s) < len(found):
        msg = "x-316-deadline-ms or grpc-timeout cannot be read"
        raise ProxyFault(FaultCode.PROTO_CONTROL_HEADER, msg)
    if not limits_s:
        return
    left_s = min(limits_s)
    exchange.limits.on_deadline(exchange.start_s, left_s)
    if left_s <= 0:
        raise classify_timeout(TimeoutKind.DEADLINE, Phase.REQUEST, left_s)
