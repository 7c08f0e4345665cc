"""The alerts that every sidecar deserves, whatever its routes promise.

Each is silent where its metric is missing: not every sidecar has upstreams with TLS,
a limit of memory, endpoints that can be ejected, or checks its application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sidecar.faults.spec import Severity
from sidecar.observe.promql import WHERE
from sidecar.observe.rules import Alert, Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.observe.promql import Scope

# Below so many events in five minutes a ratio is chance.
MIN_FAULTS: Final = 10
MIN_REQUESTS: Final = 20
_FAULT_RATIO: Final = 0.05
_SUCCESS_RATIO: Final = 0.99
_P95_S: Final = 1
_MEMORY_RATIO: Final = 0.8
_FILL_RATIO: Final = 0.8
_FLAPS: Final = 6  # Three times unhealthy, and healthy again.
_SOON_DAYS: Final = 14
_NOW_DAYS: Final = 3
_DAY_S: Final = 86_400


def general_groups(scope: Scope) -> Iterator[Group]:
    """Yield the groups: of traffic, application, upstreams, of the proxy itself."""
    yield Group(
        "traffic", (_p0(scope), _fault_rate(scope), _success(scope), _latency(scope))
    )
    yield Group("application", (_application(scope),))
    yield Group(
        "upstreams",
        (
            _breaker(scope),
            _ejected(scope),
            _pool(scope),
            _retry_budget(scope),
            _certificate(scope, Severity.P2, "SidecarCertificateExpiresSoon"),
            _certificate(scope, Severity.P1, "SidecarCertificateExpires"),
        ),
    )
    yield Group("proxy", (_memory(scope), _overload(scope), _rejected(scope)))


def _p0(scope: Scope) -> Alert:
    """Of a counter that begins with 1, no rate tells: so what is new counts, too."""
    faults = scope.series("app_316_fault_total", 'severity="P0"')
    by = f"sum by ({WHERE}, error_code, component)"
    return Alert(
        name="SidecarFaultP0",
        severity=Severity.P0,
        expr=f"{by} (increase({faults}[5m])) > 0\n"
        f"or\n{by} ({faults} unless {faults} offset 5m) > 0",
        lasts="0s",
        keeps="5m",
        code="{{ $labels.error_code }}",
        summary="{{ $labels.error_code }} (P0) in {{ $labels.job }}",
        description="The proxy, a whole upstream, security or the configuration is"
        " concerned{{ with $labels.component }}; upstream: {{ . }}{{ end }}. Ask the"
        " admin API for /faults, or look into the access log.",
    )


def _fault_rate(scope: Scope) -> Alert:
    faults = scope.series("app_316_fault_total", 'severity!="P3"')
    requests = scope.series("app_response_time_seconds_count")
    by = f"sum by ({WHERE}, error_code)"
    return Alert(
        name="Sidecar316FaultRateHigh",
        severity=Severity.P1,
        expr=f"{by} (rate({faults}[5m]))\n"
        f"/ on ({WHERE}) group_left\nsum by ({WHERE}) (rate({requests}[5m]))\n"
        f"> {_FAULT_RATIO}\n"
        f"and\n{by} (increase({faults}[5m])) >= {MIN_FAULTS}",
        lasts="2m",
        code="{{ $labels.error_code }}",
        summary="{{ $value | humanizePercentage }} of the requests of"
        " {{ $labels.job }} meet {{ $labels.error_code }}",
        description="In the last five minutes; the limit is 5 %. What the client"
        " caused (P3) is left out.",
    )


def _success(scope: Scope) -> Alert:
    requests = scope.series("app_response_time_seconds_count")
    return Alert(
        name="SidecarSuccessRateLow",
        severity=Severity.P1,
        expr=f"{scope.series('app_request_success_rate')} < {_SUCCESS_RATIO}\n"
        f"and\nincrease({requests}[5m]) >= {MIN_REQUESTS}",
        lasts="3m",
        summary="{{ $labels.job }} succeeds in only {{ $value | humanizePercentage }}",
        description="{{ $labels.instance }}: of the requests of the last minute; the"
        " limit is 99 %. `topk(5, sum by (error_code, route)"
        " (rate(app_316_fault_total[5m])))` tells what fails.",
    )


def _latency(scope: Scope) -> Alert:
    buckets = scope.series("app_response_time_seconds_bucket")
    requests = scope.series("app_response_time_seconds_count")
    return Alert(
        name="SidecarLatencyHigh",
        severity=Severity.P2,
        expr="histogram_quantile(\n"
        f"  0.95, sum by ({WHERE}, le) (rate({buckets}[5m]))\n) > {_P95_S}\n"
        f"and\nsum by ({WHERE}) (increase({requests}[5m])) >= {MIN_REQUESTS}",
        lasts="5m",
        code="316-TIMEOUT-ERR",
        summary="One request in 20 of {{ $labels.job }} takes over"
        " {{ $value | humanizeDuration }}",
        description="The 95th percentile of all routes; the limit is 1 s. Is it one"
        " route (http_server_request_duration_seconds), or the proxy itself"
        " (sidecar_loop_lag_seconds)?",
    )


def _application(scope: Scope) -> Alert:
    """Of each alone: while pods are replaced, some of them always start."""
    healthy = scope.series("sidecar_application_healthy")
    return Alert(
        name="SidecarApplicationUnhealthy",
        severity=Severity.P1,
        expr=f"{healthy} == 0\nor\nchanges({healthy}[15m]) >= {_FLAPS}",
        lasts="5m",
        keeps="5m",
        code="316-LOCAL-UNHEALTHY",
        summary="The application beside {{ $labels.instance }} does not pass its check",
        description="For five minutes, or three times within 15 minutes: no new traffic"
        " comes to this pod of {{ $labels.job }}. /application of the admin API has"
        " the last checks and what the recovery hook did.",
    )


def _breaker(scope: Scope) -> Alert:
    """Half open is not closed: else each probe would end the alert."""
    states = scope.series("sidecar_breaker_state")
    return Alert(
        name="SidecarBreakerOpen",
        severity=Severity.P1,
        expr=f"count by ({WHERE}, route, upstream) ({states} >= 1)",
        lasts="1m",
        keeps="5m",
        code="316-CIRCUIT-OPEN",
        summary="Route {{ $labels.route }} does not send to upstream"
        " {{ $labels.upstream }}",
        description="Its breaker has been open for a minute in {{ $value }} sidecars"
        " of {{ $labels.job }}: requests get 503 316-CIRCUIT-OPEN. What opened it is in"
        " the access log (event breaker).",
    )


def _ejected(scope: Scope) -> Alert:
    ejected = scope.series("sidecar_upstream_endpoints", 'state="ejected"')
    return Alert(
        name="SidecarEndpointEjected",
        severity=Severity.P2,
        expr=f"max by ({WHERE}, upstream) ({ejected}) > 0",
        lasts="5m",
        keeps="5m",
        code="316-UPSTREAM-UNHEALTHY",
        summary="{{ $value }} endpoints of upstream {{ $labels.upstream }} are ejected",
        description="For five minutes, at least one sidecar of {{ $labels.job }} has"
        " sent them nothing: the others bear their load. /upstreams of the admin API"
        " names them.",
    )


def _pool(scope: Scope) -> Alert:
    used = scope.series("sidecar_pool_requests", 'state="in_flight"')
    limit = scope.series("sidecar_pool_limit", 'of="requests"')
    return Alert(
        name="SidecarPoolNearlyFull",
        severity=Severity.P2,
        expr=f"max by ({WHERE}, upstream) (\n"
        f"  {used}\n  / ignoring (state, of)\n  {limit}\n) > {_FILL_RATIO}",
        lasts="5m",
        code="316-POOL-PRESSURE",
        summary="Upstream {{ $labels.upstream }} takes up"
        " {{ $value | humanizePercentage }} of its requests at once",
        description="Beyond pool.max_requests, requests of {{ $labels.job }} get 503"
        " 316-POOL-EXHAUSTED.",
    )


def _retry_budget(scope: Scope) -> Alert:
    skipped = scope.series("sidecar_retries_skipped_total", 'reason="budget"')
    return Alert(
        name="SidecarRetryBudgetEmpty",
        severity=Severity.P2,
        expr=f"sum by ({WHERE}, upstream) (increase({skipped}[5m])) >= {MIN_FAULTS}",
        lasts="5m",
        code="316-RETRY-BUDGET",
        summary="Upstream {{ $labels.upstream }} fails more than retries can mend",
        description="{{ $value | humanize }} failures in five minutes went to the"
        " callers of {{ $labels.job }}, since its retry budget was used up.",
    )


def _certificate(scope: Scope, severity: Severity, name: str) -> Alert:
    days = _NOW_DAYS if severity is Severity.P1 else _SOON_DAYS
    ends = scope.series("sidecar_certificate_not_after_seconds")
    return Alert(
        name=name,
        severity=severity,
        expr=f"min by ({WHERE}, upstream, file) ({ends}) - time()\n< {days} * {_DAY_S}",
        lasts="10m",
        code="316-TLS-CERT",
        summary="A certificate for upstream {{ $labels.upstream }} ends in"
        " {{ $value | humanizeDuration }}",
        description="The one of tls.{{ $labels.file }} that {{ $labels.job }} has"
        f" loaded; the limit is {days} days. A new file is taken when the upstream"
        " begins anew: change its settings, or restart.",
    )


def _memory(scope: Scope) -> Alert:
    """Without a limit of the cgroup, 80 % of 10 GiB."""
    used = scope.series("app_memory_usage_bytes")
    limit = scope.series("sidecar_cgroup_memory_limit_bytes")
    return Alert(
        name="SidecarMemoryHigh",
        severity=Severity.P2,
        expr=f"{used}\n/\n({limit} or {used} * 0 + 10 * 2^30)\n> {_MEMORY_RATIO}",
        lasts="5m",
        code="316-MEM-PRESSURE",
        summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of its"
        " memory",
        description="The proxy of {{ $labels.job }}, of the limit of its container (of"
        " 10 GiB where there is none); the limit is 80 %. Over overload.memory it"
        " refuses requests, over the limit it is killed.",
    )


def _overload(scope: Scope) -> Alert:
    levels = scope.series("sidecar_overload_level")
    return Alert(
        name="SidecarOverloaded",
        severity=Severity.P1,
        expr=f"count by ({WHERE}, resource) ({levels} == 2)",
        lasts="2m",
        keeps="5m",
        code="316-OVERLOAD",
        summary="{{ $value }} sidecars of {{ $labels.job }} are short of"
        " {{ $labels.resource }}",
        description="They refuse requests with 503. More replicas, or more of"
        " {{ $labels.resource }} for each; sidecar_shed_total tells how much is"
        " refused.",
    )


def _rejected(scope: Scope) -> Alert:
    good = scope.series("sidecar_config_last_reload_successful")
    return Alert(
        name="SidecarConfigRejected",
        severity=Severity.P1,
        expr=f"count by ({WHERE}) ({good} == 0)",
        lasts="1m",
        code="316-CONFIG-REJECTED",
        summary="{{ $value }} sidecars of {{ $labels.job }} refuse their configuration",
        description="The one before is in force, and a restart would fail. The log has"
        " each mistake with line and column; `sidecar check FILE` tells them, too.",
    )
