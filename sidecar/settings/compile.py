"""From checked settings to the snapshot, with every default filled in.

What a route says key by key stands above `defaults`, and that above what is
built in; so a route that sets one key of `retry` keeps the others. Only a
route that names a `preset` leaves the conditions of `defaults.retry` behind.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sidecar.policy.backoff import Backoff
from sidecar.policy.breaker import BreakerLimits
from sidecar.policy.overload import OverloadLimits
from sidecar.policy.retry import IDEMPOTENT, PRESETS, RetryRules
from sidecar.settings import models, passing
from sidecar.settings import snapshot as compiled
from sidecar.settings.alerting import compile_alerts
from sidecar.settings.application import compile_application
from sidecar.settings.base import Settings
from sidecar.settings.filters import fold
from sidecar.settings.hosts import is_in_cluster
from sidecar.settings.upstreams import compile_upstream, hosts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.source import Source

S = TypeVar("S", bound=Settings)

_LOCAL_CONNECT_S = 1.0
_EXTERNAL_CONNECT_S = 5.0
_DOWNSTREAM_WRITE_S = 60.0
_TUNNEL_IDLE_S = 3600.0
_CONDITIONS = ("on", "codes", "fault_codes")


def compile_settings(
    settings: models.FileSettings, source: Source
) -> compiled.Snapshot:
    """Return the snapshot of settings that `find_problems` found none in."""
    telemetry = settings.telemetry
    upstreams = {
        name: compile_upstream(name, upstream, settings)
        for name, upstream in {
            **settings.upstreams,
            **passing.upstreams(settings),
        }.items()
    }
    inbound = {r.upstream for r in settings.routes if r.listener == "inbound"}
    return compiled.Snapshot(
        service=settings.service,
        version=_version(settings),
        listeners=tuple(_listeners(settings)),
        admin=(settings.admin.listen.host, settings.admin.listen.port),
        health=(settings.health.listen.host, settings.health.listen.port),
        limits=_limits(settings),
        overload=_overload(settings.overload),
        routes=tuple(
            _route(settings, route, source.places.get(("routes", index), (0, 0))[0])
            for index, route in enumerate((*settings.routes, *passing.routes(settings)))
        ),
        upstreams=upstreams,
        interception=dict(_interception(settings)),
        trusted_peers=tuple(ipaddress.ip_network(n) for n in settings.trusted_peers),
        status_profile=settings.faults.status_profile,
        expose=settings.faults.expose,
        fault_headers=frozenset(n.lower().encode() for n in settings.faults.headers),
        drain_lead_s=settings.drain.lead,
        drain_grace_s=settings.drain.grace,
        tracing=compiled.Tracing(**telemetry.tracing.model_dump()),
        log_export=compiled.LogExport(**telemetry.logs.model_dump()),
        access_log=compiled.AccessLog(**telemetry.access_log.model_dump()),
        max_series=telemetry.metrics.max_series,
        log_level=settings.log.level,
        source=source.name,
        awaits_application=settings.health.await_application,
        follows_application=settings.drain.follow_application,
        application=compile_application(
            settings.health.application, [upstreams[name] for name in sorted(inbound)]
        ),
        first_answer_s=settings.discovery.first_answer,
        admin_token_file=settings.admin.token_file,
        admin_socket=settings.admin.socket,
        trace_url=settings.admin.trace_url,
        recovered_after_s=settings.faults.recovered_after,
        fault_store=settings.faults.store,
        fault_store_age_s=settings.faults.store_age,
        fault_store_max_bytes=settings.faults.store_size,
        alerts=compile_alerts(settings.alerts),
    )


def _interception(
    settings: models.FileSettings,
) -> Iterator[tuple[str, compiled.Interception]]:
    given = settings.defaults.timeouts
    for name, connect_s in (
        ("inbound", _LOCAL_CONNECT_S),
        ("outbound", _EXTERNAL_CONNECT_S),
    ):
        listener: models.TrafficSettings | None = getattr(settings, name)
        if listener is not None:
            yield (
                name,
                compiled.Interception(
                    is_transparent=listener.transparent,
                    opaque_ports=frozenset(listener.opaque_ports),
                    has_proxy_header=listener.proxy_protocol,
                    connect_s=given.connect or connect_s,
                    idle_s=given.tunnel_idle or _TUNNEL_IDLE_S,
                ),
            )


def effective_timeouts(
    settings: models.FileSettings, route: models.RouteSettings
) -> compiled.Timeouts:
    """Return the limits of time that hold for a route."""
    given: dict[str, Any] = settings.defaults.timeouts.model_dump(exclude_none=True)
    given |= route.timeouts.model_dump(exclude_none=True)
    upstream = settings.upstreams.get(route.upstream)
    if upstream is None or upstream.original_destination:
        is_near = route.listener == "inbound"
    else:
        is_near = all(is_in_cluster(host) for host in hosts_of(upstream))
    connect_s = _LOCAL_CONNECT_S if is_near else _EXTERNAL_CONNECT_S
    return compiled.Timeouts(
        request_s=_limit_s(given.get("request", 15.0)),
        per_try_s=_limit_s(given.get("per_try")),
        per_try_idle_s=_limit_s(given.get("per_try_idle")),
        connect_s=given.get("connect", connect_s),
        dns_s=given.get("dns", 2.0),
        stream_idle_s=given.get("stream_idle", 300.0),
        tunnel_idle_s=given.get("tunnel_idle", _TUNNEL_IDLE_S),
        request_body_idle_s=given.get("request_body_idle", 60.0),
        downstream_write_s=given.get("downstream_write", _DOWNSTREAM_WRITE_S),
    )


def effective_retry(
    settings: models.FileSettings, route: models.RouteSettings
) -> models.RetrySettings:
    """Return the retry settings that hold for a route."""
    base, over = settings.defaults.retry, route.retry
    if over is not None and "preset" in over.model_fields_set:
        base = base.model_copy(update=dict.fromkeys(_CONDITIONS, ()))
    return _merged(base, over)


def effective_breaker(
    settings: models.FileSettings, route: models.RouteSettings
) -> models.BreakerSettings | Literal["off"]:
    """Return the breaker settings that hold for a route."""
    base, over = settings.defaults.circuit_breaker, route.circuit_breaker
    if over is None:
        return base
    if over == "off" or base == "off":
        return over
    return _merged(base, over)


def effective_slo(
    settings: models.FileSettings, route: models.RouteSettings
) -> models.SloSettings:
    """Return what a route promises; traffic does not go by it."""
    over = route.slo
    if over == "off":
        return models.SloSettings()
    return _merged(settings.defaults.slo, over)


def _merged(base: S, over: S | None) -> S:
    """Return `base` with the keys that are written in `over`."""
    if over is None:
        return base
    update: dict[str, Any] = {}
    for name in over.model_fields_set:
        value, below = getattr(over, name), getattr(base, name)
        is_nested = isinstance(value, Settings) and isinstance(below, Settings)
        update[name] = _merged(below, value) if is_nested else value
    return base.model_copy(update=update)


def _listeners(settings: models.FileSettings) -> Iterator[compiled.Listener]:
    inbound, outbound = settings.inbound.listen, settings.outbound
    yield compiled.Listener("inbound", inbound.host, inbound.port)
    if outbound is not None:
        yield compiled.Listener("outbound", outbound.listen.host, outbound.listen.port)


def _limits(settings: models.FileSettings) -> compiled.Limits:
    limits = settings.limits
    return compiled.Limits(
        request_line_bytes=limits.request_line,
        header_bytes=limits.headers,
        header_count=limits.header_count,
        connections=limits.connections,
        connections_per_client=limits.connections_per_client,
        requests_per_connection=limits.requests_per_connection,
        first_byte_s=limits.first_byte or limits.keep_alive,
        request_headers_s=limits.request_headers,
        keep_alive_s=limits.keep_alive,
        linger_s=limits.linger,
        flush_s=settings.defaults.timeouts.downstream_write or _DOWNSTREAM_WRITE_S,
        half_close=limits.half_close,
        buffer_bytes=limits.buffer,
    )


def _overload(overload: models.OverloadSettings) -> OverloadLimits:
    return OverloadLimits(
        is_enabled=overload.enabled,
        lag_s=overload.lag,
        lag_for_s=overload.lag_for,
        memory_ratio=overload.memory,
        descriptor_ratio=overload.descriptors,
        in_flight=overload.in_flight,
    )


def _route(
    settings: models.FileSettings, route: models.RouteSettings, line: int
) -> compiled.Route:
    timeouts = effective_timeouts(settings, route)
    folded = fold(route)
    rewrite = folded.rewrite
    return compiled.Route(
        name=route.name,
        listener=route.listener,
        hosts=tuple(host.lower() for host in route.hosts),
        matches=tuple(map(_match, route.matches or (models.MatchSettings(),))),
        priority=route.priority,
        upstream=route.upstream,
        timeouts=timeouts,
        retry=_retry(effective_retry(settings, route)),
        breaker=_breaker(effective_breaker(settings, route), timeouts),
        rewrite=compiled.Rewrite(
            _encoded(rewrite.prefix), _encoded(rewrite.path), _encoded(rewrite.host)
        ),
        request_edits=_edits(folded.request_headers),
        response_edits=_edits(folded.response_headers),
        body_max_bytes=_body_max_bytes(settings, route),
        destinations=route.destinations,
        is_shed=route.shed,
        line=line,
    )


def _body_max_bytes(
    settings: models.FileSettings, route: models.RouteSettings
) -> int | None:
    if route.body_max == "off":
        return None
    return settings.defaults.body_max if route.body_max is None else route.body_max


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
        slow_call_s=_limit_s(breaker.slow_call),
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
        tuple(_condition(c, c.name.lower()) for c in match.headers),
        tuple(_condition(c, c.name) for c in match.query),
    )


def _condition(condition: models.FieldMatchSettings, name: str) -> compiled.FieldMatch:
    is_regex = condition.type == "RegularExpression"
    return compiled.FieldMatch(name, condition.value, is_regex)


def _edits(edits: models.EditSettings) -> compiled.FieldEdits:
    return compiled.FieldEdits(
        tuple(_pairs(edits.set)),
        tuple(_pairs(edits.add)),
        frozenset(name.lower().encode() for name in edits.remove),
    )


def _pairs(fields: dict[str, tuple[str, ...]]) -> Iterator[tuple[bytes, bytes]]:
    for name, values in fields.items():
        yield from ((name.encode(), value.encode()) for value in values)


def _version(settings: models.FileSettings) -> str:
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _limit_s(limit: float | Literal["off"] | None) -> float | None:
    return None if limit == "off" else limit
