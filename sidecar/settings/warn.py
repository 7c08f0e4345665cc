"""What a file may say, but hardly means: told by `check` and at the start.

A warning changes nothing; the same file serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sidecar.policy.retry import Condition
from sidecar.settings import passing
from sidecar.settings.admin_checks import find_admin_warnings
from sidecar.settings.application_checks import find_application_warnings
from sidecar.settings.checks import is_any_host
from sidecar.settings.hosts import is_loopback
from sidecar.settings.reach import find_unreachable
from sidecar.settings.slo_checks import find_slo_warnings

_FLUSH_S = 3.0  # What `app.py` keeps of the grace for spans and lines.

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings import models
    from sidecar.settings.problem import Problem
    from sidecar.settings.snapshot import Snapshot
    from sidecar.settings.source import Source


def find_warnings(
    settings: models.FileSettings, snapshot: Snapshot, source: Source
) -> list[Problem]:
    """Return what is allowed, but hardly meant."""
    warnings = [
        *_listener_warnings(settings, source),
        *_policy_warnings(snapshot, source),
        *_loop_warnings(settings, source),
        *_endpoint_warnings(settings, source),
        *_outlier_warnings(settings, source),
        *_process_warnings(settings, source),
        *find_slo_warnings(settings, source),
        *find_application_warnings(settings, source),
    ]
    written = snapshot.routes[: len(settings.routes)]
    for index, cause in find_unreachable(written):
        message = f"is never reached: {snapshot.routes[cause].name!r} takes it all"
        warnings.append(source.problem(("routes", index), message))
    used = {route.upstream for route in snapshot.routes}
    for name in settings.upstreams:
        if name not in used:
            message = "no route leads here"
            warnings.append(source.problem(("upstreams", name), message))
    return sorted(warnings, key=lambda problem: (problem.line, problem.column))


def _listener_warnings(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    used = {route.listener for route in settings.routes}
    for index, route in enumerate(settings.routes):
        if route.listener == "outbound" and settings.outbound is None:
            message = "is never reached: there is no outbound listener"
            hint = "set outbound.listen"
            yield source.problem(("routes", index, "listener"), message, hint)
    outbound = settings.outbound
    is_refusing = outbound is not None and not passing.passes(outbound)
    if is_refusing and "outbound" not in used:
        message = "no route takes what comes in here: all of it gets 404"
        yield source.problem(("outbound",), message)
    if not settings.routes:
        message = "is empty: every request gets 404"
        yield source.problem(("routes",), message)


def _policy_warnings(snapshot: Snapshot, source: Source) -> Iterator[Problem]:
    for index, route in enumerate(snapshot.routes):
        at, retry = ("routes", index), route.retry
        is_retried = retry.preset != "off" and Condition.PER_TRY_TIMEOUT in retry.on
        if is_retried and route.timeouts.per_try_s is None:
            message = "retries after a per-try timeout, but has none"
            yield source.problem(at, message, "set timeouts.per_try")
        is_empty = not (retry.on or retry.codes or retry.fault_codes)
        if retry.preset == "custom" and is_empty:
            message = "has a custom retry that lists nothing, so it never retries"
            yield source.problem((*at, "retry"), message, "set on or codes, or use off")
        is_off = retry.preset == "off" or not retry.max_retries
        if is_off and (retry.codes or retry.fault_codes):
            message = "lists what to retry on, but never retries"
            yield source.problem((*at, "retry"), message, "set preset or max_retries")
        slow_s = None if route.breaker is None else route.breaker.slow_call_s
        request_s = route.timeouts.request_s
        if slow_s is not None and request_s is not None and slow_s >= request_s:
            message = "slow_call is not under timeouts.request, which ends it before"
            yield source.problem((*at, "circuit_breaker"), message)


def _loop_warnings(settings: models.FileSettings, source: Source) -> Iterator[Problem]:
    """Yield endpoints of inbound routes that are the inbound listener itself."""
    listen = settings.inbound.listen
    inbound = {route.upstream for route in settings.routes if _is_inbound(route)}
    for name, upstream in settings.upstreams.items():
        for place, endpoint in enumerate(upstream.endpoints):
            is_here = endpoint.host == listen.host or (
                is_loopback(endpoint.host)
                and (is_any_host(listen.host) or is_loopback(listen.host))
            )
            if name in inbound and is_here and endpoint.port == listen.port:
                message = f"{endpoint} is this proxy's own inbound listener: a loop"
                at = ("upstreams", name, "endpoints", place)
                yield source.problem(at, message, "give the application's port")


def _endpoint_warnings(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    for name, upstream in settings.upstreams.items():
        for place, endpoint in enumerate(upstream.endpoints):
            if endpoint in upstream.endpoints[:place]:
                at = ("upstreams", name, "endpoints", place)
                yield source.problem(at, f"{endpoint} is there twice")


def _outlier_warnings(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    """Yield ejections that panic would undo, all of them."""
    for name, upstream in settings.upstreams.items():
        outlier = upstream.outlier
        if outlier == "off" or outlier.on_all_down == "fail":
            continue
        most, panic = outlier.max_ejected, outlier.panic_threshold
        if most is not None and 1 - most < panic and len(upstream.endpoints) > 1:
            message = (
                f"{most:.0%} may leave fewer than panic_threshold ({panic:.0%}), and"
                " then the ejected are asked all the same"
            )
            at = ("upstreams", name, "outlier", "max_ejected")
            yield source.problem(at, message, "lower one of them")


def _process_warnings(
    settings: models.FileSettings, source: Source
) -> Iterator[Problem]:
    drain = settings.drain
    inbound = {route.upstream for route in settings.routes if _is_inbound(route)}
    upstreams = [settings.upstreams[name] for name in sorted(inbound)]
    if settings.health.await_application and not any(
        is_loopback(endpoint.host) for each in upstreams for endpoint in each.endpoints
    ):
        message = "has nothing to wait for: no inbound route leads to loopback"
        hint = "name the application's port in endpoints"
        yield source.problem(("health", "await_application"), message, hint)
    yield from find_admin_warnings(settings.admin, source)
    if drain.lead and drain.lead + _FLUSH_S >= drain.grace:
        message = (
            f"leaves requests no time to end: lead ({drain.lead:g} s) and"
            f" {_FLUSH_S:g} s to write what is left take up grace ({drain.grace:g} s)"
        )
        yield source.problem(("drain",), message)


def _is_inbound(route: models.RouteSettings) -> bool:
    return route.listener == "inbound"
