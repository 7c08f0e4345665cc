"""From checked settings to the snapshot, with every default filled in."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from typing import TYPE_CHECKING, Literal

from sidecar.policy.backoff import Backoff
from sidecar.policy.breaker import BreakerLimits
from sidecar.policy.budget import BudgetLimits
from sidecar.policy.retry import IDEMPOTENT, PRESETS, Condition, RetryRules
from sidecar.settings import snapshot as compiled

if TYPE_CHECKING:
    from sidecar.settings import models
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Source

_LOCAL_IDLE_S = 4.0  # Below the 5 s after which many application servers close.
_PEER_IDLE_S = 45.0
_LOCAL_CONNECT_S = 1.0
_EXTERNAL_CONNECT_S = 5.0
_CLUSTER_SUFFIXES = (".svc", ".local", ".internal", ".cluster")


def compile_settings(
    settings: models.FileSettings, source: Source
) -> compiled.Snapshot:
    """Return the snapshot of settings that `find_problems` found none in."""
    upstreams = {
        name: _upstream(name, upstream) for name, upstream in settings.upstreams.items()
    }
    listeners = [_listener("inbound", settings.inbound)]
    if settings.outbound is not None:
        listeners.append(_listener("outbound", settings.outbound))
    telemetry, limits = settings.telemetry, settings.limits
    return compiled.Snapshot(
        service=settings.service,
        version=_version(settings),
        listeners=tuple(listeners),
        admin=(settings.admin.listen.host, settings.admin.listen.port),
        health=(settings.health.listen.host, settings.health.listen.port),
        limits=compiled.Limits(
            limits.request_line,
            limits.headers,
            limits.header_count,
            limits.connections,
            limits.connections_per_client,
            limits.requests_per_connection,
            limits.request_headers,
            limits.keep_alive,
            limits.buffer,
        ),
        routes=tuple(_route(settings, i, source) for i in range(len(settings.routes))),
        upstreams=upstreams,
        trusted_peers=tuple(ipaddress.ip_network(n) for n in settings.trusted_peers),
        status_profile=settings.faults.status_profile,
        expose=settings.faults.expose,
        fault_headers=frozenset(n.lower().encode() for n in settings.faults.headers),
        drain_lead_s=settings.drain.lead,
        drain_grace_s=settings.drain.grace,
        tracing=compiled.Tracing(**telemetry.tracing.model_dump()),
        access_log=compiled.AccessLog(**telemetry.access_log.model_dump()),
        max_series=telemetry.metrics.max_series,
        log_level=settings.log.level,
        source=source.name,
    )


def find_problems(settings: models.FileSettings, source: Source) -> list[Problem]:
    """Return what no single model can see: names that do not meet, nested limits."""
    problems = []
    seen: dict[str, int] = {}
    for index, route in enumerate(settings.routes):
        at = ("routes", index)
        if route.upstream not in settings.upstreams:
            hint = _nearest(route.upstream, list(settings.upstreams))
            message = f"there is no upstream {route.upstream!r}"
            problems.append(source.problem((*at, "upstream"), message, hint))
        if route.name in seen:
            message = f"{route.name!r} is the name of routes[{seen[route.name]}], too"
            problems.append(source.problem((*at, "name"), message))
        seen.setdefault(route.name, index)
        problems += _route_problems(settings, route, at, source)
    return problems


def find_warnings(snapshot: compiled.Snapshot, source: Source) -> list[Problem]:
    """Return what is allowed but hardly meant."""
    warnings = []
    for index, route in enumerate(snapshot.routes):
        timeout_retried = Condition.PER_TRY_TIMEOUT in route.retry.on
        if timeout_retried and route.timeouts.per_try_s is None:
            message = "retries after a per-try timeout, but has none"
            at = ("routes", index)
            warnings.append(source.problem(at, message, "set timeouts.per_try"))
    return warnings


def _route_problems(
    settings: models.FileSettings,
    route: models.RouteSettings,
    at: tuple[str | int, ...],
    source: Source,
) -> list[Problem]:
    problems = []
    timeouts = _timeouts(settings, route)
    request_s, per_try_s = timeouts.request_s, timeouts.per_try_s
    if per_try_s is not None and request_s is not None and per_try_s > request_s:
        message = f"per_try ({per_try_s:g} s) is over request ({request_s:g} s)"
        problems.append(source.problem((*at, "timeouts", "per_try"), message))
    for number, match in enumerate(route.matches):
        here = (*at, "matches", number)
        if match.path.type == "RegularExpression":
            problems += _pattern_problems(match.path.value, (*here, "path"), source)
        elif not match.path.value.startswith("/"):
            message = f"{match.path.value!r} does not start with /"
            problems.append(source.problem((*here, "path", "value"), message))
        for kind in ("headers", "query"):
            for place, condition in enumerate(getattr(match, kind)):
                if condition.type == "RegularExpression":
                    where = (*here, kind, place)
                    problems += _pattern_problems(condition.value, where, source)
    return problems


def _pattern_problems(
    pattern: str, at: tuple[str | int, ...], source: Source
) -> list[Problem]:
    from sidecar.route.conditions import compile_pattern  # noqa: PLC0415 - RE2 is heavy

    try:
        compile_pattern(pattern)
    except Exception as error:  # noqa: BLE001 - RE2 has one error, under two names
        reason = error.args[0] if error.args else "malformed"
        if isinstance(reason, bytes):
            reason = reason.decode()
        message = f"RE2 refuses the pattern {pattern!r}: {reason}"
        return [source.problem((*at, "value"), message)]
    return []


def _upstream(name: str, upstream: models.UpstreamSettings) -> compiled.Upstream:
    pool, budget = upstream.pool, upstream.retry_budget
    is_local = all(_is_loopback(address.host) for address in upstream.endpoints)
    idle_s = _LOCAL_IDLE_S if is_local else _PEER_IDLE_S
    return compiled.Upstream(
        name=name,
        endpoints=upstream.endpoints,
        max_connections=pool.max_connections,
        max_pending=pool.max_pending,
        max_requests=pool.max_requests,
        max_requests_per_connection=pool.max_requests_per_connection,
        pool_idle_s=idle_s if pool.idle is None else pool.idle,
        fresh_after_s=pool.fresh_after,
        budget=BudgetLimits(
            budget.ratio, budget.window, budget.min_per_sec, budget.min_concurrent
        ),
        tls=compiled.UpstreamTls(**upstream.tls.model_dump()) if upstream.tls else None,
        is_peer=upstream.is_peer or is_local,
        response_header_max_bytes=upstream.response_headers,
    )


def _route(settings: models.FileSettings, index: int, source: Source) -> compiled.Route:
    route = settings.routes[index]
    retry = route.retry or settings.defaults.retry
    breaker = route.circuit_breaker or settings.defaults.circuit_breaker
    timeouts = _timeouts(settings, route)
    rewrite = route.rewrite
    return compiled.Route(
        name=route.name,
        listener=route.listener,
        hosts=tuple(host.lower() for host in route.hosts),
        matches=tuple(_match(match) for match in route.matches),
        priority=route.priority,
        upstream=route.upstream,
        timeouts=timeouts,
        retry=_retry(retry),
        breaker=_breaker(breaker, timeouts),
        rewrite=compiled.Rewrite(
            _encoded(rewrite.prefix), _encoded(rewrite.path), _encoded(rewrite.host)
        ),
        request_edits=_edits(route.request_headers),
        response_edits=_edits(route.response_headers),
        body_max_bytes=route.body_max,
        line=source.places.get(("routes", index), (0, 0))[0],
    )


def _timeouts(
    settings: models.FileSettings, route: models.RouteSettings
) -> compiled.Timeouts:
    given = settings.defaults.timeouts.model_dump(exclude_none=True)
    given |= route.timeouts.model_dump(exclude_none=True)
    request_s = given.get("request", 15.0)
    upstream = settings.upstreams.get(route.upstream)
    hosts = [a.host for a in upstream.endpoints] if upstream else []
    is_near = all(_is_in_cluster(host) for host in hosts)
    connect_s = _LOCAL_CONNECT_S if is_near else _EXTERNAL_CONNECT_S
    return compiled.Timeouts(
        request_s=None if request_s == "off" else request_s,
        per_try_s=given.get("per_try"),
        per_try_idle_s=given.get("per_try_idle"),
        connect_s=given.get("connect", connect_s),
        dns_s=given.get("dns", 2.0),
        stream_idle_s=given.get("stream_idle", 300.0),
        tunnel_idle_s=given.get("tunnel_idle", 3600.0),
        request_body_idle_s=given.get("request_body_idle", 60.0),
        downstream_write_s=given.get("downstream_write", 60.0),
    )


def _retry(retry: models.RetrySettings) -> RetryRules:
    on = PRESETS.get(retry.preset, frozenset()) | frozenset(retry.on)
    return RetryRules(
        preset=retry.preset,
        max_retries=retry.max_retries,
        backoff=Backoff(retry.backoff.base, retry.backoff.max),
        on=on,
        codes=frozenset(retry.codes),
        fault_codes=frozenset(retry.fault_codes),
        methods=IDEMPOTENT if retry.methods is None else frozenset(retry.methods),
        body_buffer_bytes=retry.body_buffer,
        respect_retry_after=retry.respect_retry_after,
        max_retry_after_s=retry.max_retry_after,
        idempotency_key=retry.idempotency_key,
    )


def _breaker(
    breaker: models.BreakerSettings | Literal["off"], timeouts: compiled.Timeouts
) -> BreakerLimits | None:
    if breaker == "off":
        return None
    return BreakerLimits(
        failure_ratio=breaker.failure_ratio,
        min_requests=breaker.min_requests,
        window_s=breaker.window,
        consecutive_failures=breaker.consecutive_failures,
        slow_call_s=breaker.slow_call,
        slow_ratio=breaker.slow_ratio,
        open_s=breaker.open,
        open_max_s=breaker.open_max,
        jitter_ratio=breaker.jitter,
        probes=breaker.probes,
        probes_to_close=breaker.probes_to_close,
        probe_lease_s=timeouts.request_s or timeouts.stream_idle_s,
        ramp_s=breaker.ramp,
    )


def _match(match: models.MatchSettings) -> compiled.Match:
    return compiled.Match(
        compiled.PathMatch(match.path.type, match.path.value),
        match.method,
        tuple(_condition(c, lower=True) for c in match.headers),
        tuple(_condition(c, lower=False) for c in match.query),
    )


def _condition(
    condition: models.FieldMatchSettings, *, lower: bool
) -> compiled.FieldMatch:
    name = condition.name.lower() if lower else condition.name
    is_regex = condition.type == "RegularExpression"
    return compiled.FieldMatch(name, condition.value, is_regex)


def _edits(edits: models.EditSettings) -> compiled.FieldEdits:
    return compiled.FieldEdits(
        tuple((k.encode(), v.encode()) for k, v in edits.set.items()),
        tuple((k.encode(), v.encode()) for k, v in edits.add.items()),
        frozenset(name.lower().encode() for name in edits.remove),
    )


def _listener(name: str, settings: models.ListenSettings) -> compiled.Listener:
    return compiled.Listener(name, settings.listen.host, settings.listen.port)


def _version(settings: models.FileSettings) -> str:
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_in_cluster(host: str) -> bool:
    """Tell an address of this cluster from one elsewhere, by its look."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_CLUSTER_SUFFIXES) or ".svc." in host


def _nearest(word: str, known: list[str]) -> str:
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - only when needed

    best = process.extractOne(word, known, scorer=fuzz.ratio, score_cutoff=60)
    return f"did you mean {best[0]!r}?" if best else ""
