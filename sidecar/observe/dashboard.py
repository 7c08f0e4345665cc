"""The dashboard of a service: one row a question, in the order one asks them."""

from __future__ import annotations

from typing import Final

from sidecar.model import Origin
from sidecar.observe.panels import Dashboard, Panel, Query, Row, Variable
from sidecar.observe.promql import REQUESTS, Scope, codes_of, one_of

RATE: Final = "$__rate_interval"
_SERVICE: Final = 'job=~"$service"'
_ROUTE: Final = 'http_route=~"$route"'
_SCOPE: Final = Scope([_SERVICE])
_UPSTREAM: Final = 'upstream=~"$upstream"'
GOOD_OR_BAD: Final = (("green", None), ("red", 1.0))
SUCCESS_STEPS: Final = (("red", None), ("orange", 0.99), ("green", 0.999))


def service_dashboard() -> Dashboard:
    """Return the dashboard of one service, or of some."""
    return Dashboard(
        uid="sidecar-316-service",
        title="Sidecar: a service",
        description="Is it healthy, who fails, why, since when, and is it us or the"
        " application? Made by `sidecar dashboard`.",
        variables=(
            Variable("service", "label_values(app_request_success_rate, job)"),
            Variable(
                "route",
                f"label_values({_SCOPE.series(f'{REQUESTS}_count')}, http_route)",
            ),
            Variable(
                "upstream",
                f"label_values({_SCOPE.series('sidecar_pool_limit')}, upstream)",
            ),
        ),
        rows=(_healthy(), _who(), _why(), _since_when(), _us_or_the_app()),
    )


def rate_of(metric: str, *matchers: str) -> str:
    """Return the rate of a counter of the chosen services."""
    return f"rate({_SCOPE.series(metric, *matchers)}[{RATE}])"


def _quantile(ratio: float, by: str, metric: str, *matchers: str) -> str:
    labels = f"le, {by}" if by else "le"
    buckets = rate_of(f"{metric}_bucket", *matchers)
    return f"histogram_quantile({ratio}, sum by ({labels}) ({buckets}))"


def success_by(by: str, scope: Scope, *matchers: str) -> str:
    """Return the share of requests that did not fail; 1 where none failed."""
    grouped = f"sum by ({by})" if by else "sum"
    count = scope.series(f"{REQUESTS}_count", *matchers)
    requests = f"{grouped} (rate({count}[{RATE}]))"
    failures = f"{grouped} {scope.failures('rate', RATE, *matchers)}"
    return f"1 - ({failures} or 0 * {requests}) / {requests}"


def _healthy() -> Row:
    return Row(
        "Is it healthy?",
        (
            Panel(
                "Success",
                "Share of the requests that did not fail: no 5xx, nothing that broke"
                " off.",
                "percentunit",
                (Query(success_by("", _SCOPE, _ROUTE), "success"),),
                "stat",
                4,
                SUCCESS_STEPS,
            ),
            Panel(
                "Requests",
                "All requests a second, good and bad.",
                "reqps",
                (Query(f"sum({rate_of(f'{REQUESTS}_count', _ROUTE)})", "requests"),),
                "stat",
                4,
            ),
            Panel(
                "p95",
                "19 of 20 requests are answered within it, all routes together.",
                "s",
                (Query(_quantile(0.95, "", REQUESTS, _ROUTE), "p95"),),
                "stat",
                4,
                (("green", None), ("orange", 0.5), ("red", 1.0)),
            ),
            Panel(
                "Sidecars",
                "How many are scraped.",
                "none",
                (
                    Query(
                        f"count({_SCOPE.series('sidecar_uptime_seconds')})", "sidecars"
                    ),
                ),
                "stat",
                4,
            ),
            Panel(
                "Breakers not closed",
                "Open or half open, of all routes in all sidecars.",
                "none",
                (
                    Query(
                        f"count({_SCOPE.series('sidecar_breaker_state')} >= 1)"
                        " or vector(0)",
                        "open",
                    ),
                ),
                "stat",
                4,
                GOOD_OR_BAD,
            ),
            Panel(
                "Rejected configurations",
                "Sidecars that refuse the file that they were given, and go by the one"
                " before.",
                "none",
                (
                    Query(
                        "count("
                        f"{_SCOPE.series('sidecar_config_last_reload_successful')}"
                        " == 0) or vector(0)",
                        "rejected",
                    ),
                ),
                "stat",
                4,
                GOOD_OR_BAD,
            ),
        ),
    )


def _who() -> Row:
    faults = rate_of("app_316_fault_total", 'severity!="P3"')
    return Row(
        "Who fails?",
        (
            Panel(
                "Success by route",
                "Which route it is. Objectives are in the alerts: `sidecar alerts`.",
                "percentunit",
                (Query(success_by("http_route", _SCOPE, _ROUTE), "{{ http_route }}"),),
                steps=SUCCESS_STEPS,
            ),
            Panel(
                "Failures by upstream",
                "Which of those behind it; without a name: none was chosen yet. What"
                " clients caused (P3) is left out.",
                "ops",
                (Query(f"sum by (component) ({faults})", "{{ component }}"),),
                is_stacked=True,
            ),
            Panel(
                "Failures by sidecar",
                "All alike: it is the application. One of them: it is that pod or its"
                " node.",
                "ops",
                (Query(f"sum by (instance) ({faults})", "{{ instance }}"),),
                is_stacked=True,
            ),
        ),
    )


def _why() -> Row:
    return Row(
        "Why?",
        (
            Panel(
                "Failures by code",
                "`sidecar faults CODE` explains each, and says what to do.",
                "ops",
                (
                    Query(
                        f"sum by (error_code) ({rate_of('app_316_fault_total')})",
                        "{{ error_code }}",
                    ),
                ),
                width=16,
                is_stacked=True,
            ),
            Panel(
                "Failures by severity",
                "P0 proxy or a whole upstream, P1 users see it, P2 degraded, P3 the"
                " client or information.",
                "ops",
                (
                    Query(
                        f"sum by (severity) ({rate_of('app_316_fault_total')})",
                        "{{ severity }}",
                    ),
                ),
                is_stacked=True,
            ),
            Panel(
                "Retries",
                "What was tried again, and why.",
                "ops",
                (
                    Query(
                        "sum by (upstream, reason)"
                        f" ({rate_of('sidecar_retries_total', _UPSTREAM)})",
                        "{{ upstream }}: {{ reason }}",
                    ),
                ),
            ),
            Panel(
                "Limits of time",
                "Which of a route's timeouts ended requests or tries.",
                "ops",
                (
                    Query(
                        f"sum by (kind) ({rate_of('sidecar_timeouts_total')})",
                        "{{ kind }}",
                    ),
                ),
            ),
            Panel(
                "Limits on clients",
                "Named as their setting is.",
                "ops",
                (
                    Query(
                        f"sum by (limit) ({rate_of('sidecar_limit_hits_total')})",
                        "{{ limit }}",
                    ),
                ),
            ),
        ),
    )


def _since_when() -> Row:
    return Row(
        "Since when?",
        (
            Panel(
                "Breakers",
                "The worst state of each route's breaker in any sidecar.",
                "none",
                (
                    Query(
                        "max by (route, upstream)"
                        f" ({_SCOPE.series('sidecar_breaker_state')})",
                        "{{ route }} to {{ upstream }}",
                    ),
                ),
                "state-timeline",
                12,
                words=(("closed", "green"), ("half open", "orange"), ("open", "red")),
            ),
            Panel(
                "Configuration in force",
                "How many sidecars go by each version: did it begin with a change?",
                "none",
                (
                    Query(
                        f"count by (version) ({_SCOPE.series('sidecar_config_info')})",
                        "{{ version }}",
                    ),
                ),
                width=12,
                is_stacked=True,
            ),
            Panel(
                "Latency by route (p95)",
                "Since when it is slow.",
                "s",
                (
                    Query(
                        _quantile(0.95, "http_route", REQUESTS, _ROUTE),
                        "{{ http_route }}",
                    ),
                ),
            ),
            Panel(
                "Recovery (p95)",
                "From a route's first fault of a code to its first success after it.",
                "s",
                (
                    Query(
                        _quantile(0.95, "error_code", "app_fault_recovery_seconds"),
                        "{{ error_code }}",
                    ),
                ),
            ),
            Panel(
                "Uptime",
                "A fall is a restart: its last word is in /dev/termination-log.",
                "s",
                (
                    Query(
                        _SCOPE.series("sidecar_uptime_seconds"),
                        "{{ instance }}",
                    ),
                ),
            ),
        ),
    )


def _us_or_the_app() -> Row:
    return Row(
        "Is it us or the application?",
        (
            Panel(
                "Failures by who caused them",
                "By the code: the upstream failed, the proxy refused, or the client"
                " erred.",
                "ops",
                tuple(_by_origin(origin) for origin in Origin),
                is_stacked=True,
            ),
            Panel(
                "Lag of the event loop",
                "How late the proxy itself is: what is slow beyond it, the application"
                " is.",
                "s",
                (Query(_SCOPE.series("sidecar_loop_lag_seconds"), "{{ instance }}"),),
                steps=(("green", None), ("red", 0.1)),
            ),
            Panel(
                "Overload",
                "What the proxy is short of: then it refuses retries, and then all.",
                "none",
                (
                    Query(
                        "max by (resource)"
                        f" ({_SCOPE.series('sidecar_overload_level')})",
                        "{{ resource }}",
                    ),
                ),
                "state-timeline",
                words=(("enough", "green"), ("near", "orange"), ("over", "red")),
            ),
            Panel(
                "Places of upstreams in use",
                "Requests in flight of the most that are allowed at once, in the"
                " fullest sidecar: the application does not keep up.",
                "percentunit",
                (
                    Query(
                        "max by (upstream) ("
                        + _SCOPE.series(
                            "sidecar_pool_requests", _UPSTREAM, 'state="in_flight"'
                        )
                        + " / ignoring (state, of) "
                        + _SCOPE.series(
                            "sidecar_pool_limit", _UPSTREAM, 'of="requests"'
                        )
                        + ")",
                        "{{ upstream }}",
                    ),
                ),
                steps=(("green", None), ("red", 0.8)),
            ),
            Panel(
                "Memory",
                "Of each sidecar; the limit is that of its container.",
                "bytes",
                (
                    Query(_SCOPE.series("app_memory_usage_bytes"), "{{ instance }}"),
                    Query(
                        f"min({_SCOPE.series('sidecar_cgroup_memory_limit_bytes')})",
                        "limit",
                    ),
                ),
            ),
            Panel(
                "CPU",
                "In percent of one core, of which the event loop can use one.",
                "percent",
                (Query(_SCOPE.series("app_cpu_usage_percent"), "{{ instance }}"),),
                steps=(("green", None), ("red", 90.0)),
            ),
        ),
    )


def _by_origin(origin: Origin) -> Query:
    codes = codes_of(origin)
    if origin is Origin.UPSTREAM:  # And those that applications made up.
        others = [*codes_of(Origin.CLIENT), *codes_of(Origin.PROXY)]
        matcher = one_of("error_code", others).replace("=~", "!~", 1)
    else:
        matcher = one_of("error_code", codes)
    faults = rate_of("app_316_fault_total", matcher)
    return Query(f"sum({faults})", origin.value)
