"""An upstream as it is written becomes one with every default filled in."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from sidecar.policy.budget import BudgetLimits
from sidecar.policy.outlier import OutlierLimits
from sidecar.settings import snapshot as compiled
from sidecar.settings.discovery import source_of
from sidecar.settings.hosts import is_loopback

if TYPE_CHECKING:
    from sidecar.settings import models

_LOCAL_IDLE_S = 4.0  # Below the 5 s after which many application servers close.
_PEER_IDLE_S = 45.0
_UPLOAD_SHARE = 2  # Of an upstream's places, one in so many is for slow bodies,
_STALLED_SHARE = 4  # and one in so many for slow readers.


def compile_upstream(
    name: str, upstream: models.UpstreamSettings, settings: models.FileSettings
) -> compiled.Upstream:
    """Return an upstream of `settings`."""
    pool, budget = upstream.pool, upstream.retry_budget
    source = source_of(upstream.discovery, settings.discovery)
    is_original = upstream.original_destination
    is_written = source is None and not is_original
    is_local = is_written and all(
        is_loopback(address.host) for address in upstream.endpoints
    )
    idle_s = _LOCAL_IDLE_S if is_local or is_original else _PEER_IDLE_S
    places = min(pool.max_requests, pool.max_connections)
    return compiled.Upstream(
        name=name,
        endpoints=upstream.endpoints,
        max_connections=pool.max_connections,
        max_pending=pool.max_pending,
        max_requests=pool.max_requests,
        max_uploads=places // _UPLOAD_SHARE
        if pool.max_uploads is None
        else pool.max_uploads,
        max_stalled=places // _STALLED_SHARE
        if pool.max_stalled is None
        else pool.max_stalled,
        stalled_after_s=pool.stalled_after,
        max_requests_per_connection=pool.max_requests_per_connection,
        pool_idle_s=idle_s if pool.idle is None else pool.idle,
        fresh_after_s=pool.fresh_after,
        budget=BudgetLimits(
            budget.ratio, budget.window, budget.min_per_sec, budget.min_concurrent
        ),
        outlier=_outlier(upstream.outlier),
        tls=_tls(upstream.tls, source),
        is_peer=upstream.is_peer or is_local,
        response_header_max_bytes=upstream.response_headers,
        buffer_bytes=settings.limits.buffer,
        is_original=is_original,
        discovery=source,
    )


def _outlier(
    outlier: models.OutlierSettings | Literal["off"],
) -> OutlierLimits | None:
    if outlier == "off":
        return None
    return OutlierLimits(
        consecutive_failures=outlier.consecutive_failures,
        interval_s=outlier.interval,
        base_ejection_s=outlier.base_ejection,
        max_ejection_s=outlier.max_ejection,
        jitter_ratio=outlier.jitter,
        max_ejected_ratio=outlier.max_ejected,
        panic_threshold_ratio=outlier.panic_threshold,
        is_panicking=outlier.on_all_down == "panic",
        success_rate_stdev=outlier.success_rate_stdev,
        success_rate_min_hosts=outlier.success_rate_min_hosts,
        success_rate_min_requests=outlier.success_rate_min_requests,
        avoid_s=outlier.avoid,
    )


def _tls(
    tls: models.TlsSettings | None, source: compiled.Source | None
) -> compiled.UpstreamTls | None:
    """Return how to speak TLS; what is discovered is known by the name asked for."""
    if tls is None:
        return None
    found = compiled.UpstreamTls(**tls.model_dump())
    if source is None or found.server_name is not None:
        return found
    return replace(found, server_name=source.host)


def hosts_of(upstream: models.UpstreamSettings) -> list[str]:
    """Return where an upstream is, as far as that is written down."""
    discovery = upstream.discovery
    if discovery is not None and discovery.dns is not None:
        return [discovery.dns.name]
    return [address.host for address in upstream.endpoints]
