"""The dashboard of all services: which one to look at, and what runs where."""

from __future__ import annotations

from typing import Final

from sidecar.observe.dashboard import GOOD_OR_BAD, RATE, SUCCESS_STEPS, success_by
from sidecar.observe.panels import Dashboard, Panel, Query, Row, Variable
from sidecar.observe.promql import REQUESTS, Scope

_SCOPE: Final = Scope(['namespace=~"$namespace"'])
_DAY_S: Final = 86_400.0


def fleet_dashboard() -> Dashboard:
    """Return the dashboard of all sidecars of a Prometheus."""
    return Dashboard(
        uid="sidecar-316-fleet",
        title="Sidecar: the fleet",
        description="All services with a sidecar, by job. Made by `sidecar dashboard"
        " --fleet`.",
        variables=(
            Variable("namespace", "label_values(app_request_success_rate, namespace)"),
        ),
        rows=(_healthy(), _which(), _what_runs(), _what_is_short()),
    )


def _count_if(metric: str, condition: str) -> Query:
    found = _SCOPE.series(metric)
    return Query(f"count({found} {condition}) or vector(0)", metric)


def _top(metric: str, by: str = "job, instance") -> Query:
    legend = " ".join(f"{{{{ {label} }}}}" for label in by.split(", "))
    return Query(f"topk(10, max by ({by}) ({_SCOPE.series(metric)}))", legend)


def _healthy() -> Row:
    requests = f"sum(rate({_SCOPE.series(f'{REQUESTS}_count')}[{RATE}]))"
    return Row(
        "Is the fleet healthy?",
        (
            Panel(
                "Success",
                "Share of all requests that did not fail. A call through two sidecars"
                " counts in both.",
                "percentunit",
                (Query(success_by("", _SCOPE), "success"),),
                "stat",
                4,
                SUCCESS_STEPS,
            ),
            Panel(
                "Requests",
                "Of all sidecars together.",
                "reqps",
                (Query(requests, "requests"),),
                "stat",
                4,
            ),
            Panel(
                "Sidecars",
                "How many are scraped.",
                "none",
                (Query(f"count({_SCOPE.series('sidecar_uptime_seconds')})", "all"),),
                "stat",
                4,
            ),
            Panel(
                "Breakers not closed",
                "Open or half open, of all routes in all sidecars.",
                "none",
                (_count_if("sidecar_breaker_state", ">= 1"),),
                "stat",
                4,
                GOOD_OR_BAD,
            ),
            Panel(
                "Rejected configurations",
                "Sidecars that refuse the file that they were given.",
                "none",
                (_count_if("sidecar_config_last_reload_successful", "== 0"),),
                "stat",
                4,
                GOOD_OR_BAD,
            ),
            Panel(
                "First certificate to end",
                "Of all that upstreams are reached with.",
                "s",
                (
                    Query(
                        f"min({_SCOPE.series('sidecar_certificate_not_after_seconds')})"
                        " - time()",
                        "left",
                    ),
                ),
                "stat",
                4,
                (("red", None), ("orange", 3 * _DAY_S), ("green", 14 * _DAY_S)),
            ),
        ),
    )


def _which() -> Row:
    faults = _SCOPE.series("app_316_fault_total", 'severity!="P3"')
    buckets = _SCOPE.series("app_response_time_seconds_bucket")
    return Row(
        "Which service fails?",
        (
            Panel(
                "The ten that succeed least",
                "Look at them in the dashboard of a service.",
                "percentunit",
                (Query(f"bottomk(10, {success_by('job', _SCOPE)})", "{{ job }}"),),
                steps=SUCCESS_STEPS,
            ),
            Panel(
                "Failures by code",
                "One code in many services: it is what they share, a node, a network or"
                " a name server.",
                "ops",
                (
                    Query(
                        f"topk(10, sum by (error_code) (rate({faults}[{RATE}])))",
                        "{{ error_code }}",
                    ),
                ),
                is_stacked=True,
            ),
            Panel(
                "The ten slowest (p95)",
                "Response time of all routes of a service.",
                "s",
                (
                    Query(
                        "topk(10, histogram_quantile(0.95, sum by (le, job)"
                        f" (rate({buckets}[{RATE}]))))",
                        "{{ job }}",
                    ),
                ),
            ),
        ),
    )


def _what_runs() -> Row:
    builds = f"count by (version) ({_SCOPE.series('sidecar_build_info')})"
    configs = f"count by (job, version) ({_SCOPE.series('sidecar_config_info')})"
    return Row(
        "What runs?",
        (
            Panel(
                "Versions of the sidecar",
                "How many run each.",
                "none",
                (Query(builds, "{{ version }}"),),
                width=12,
                is_stacked=True,
            ),
            Panel(
                "Configurations by service",
                "More than one version for long: some did not take the change.",
                "none",
                (Query(configs, ""),),
                "table",
                12,
            ),
        ),
    )


def _what_is_short() -> Row:
    return Row(
        "What runs short?",
        (
            Panel(
                "Most memory",
                "Resident, the ten largest sidecars.",
                "bytes",
                (_top("app_memory_usage_bytes"),),
            ),
            Panel(
                "Most CPU",
                "In percent of one core.",
                "percent",
                (_top("app_cpu_usage_percent"),),
                steps=(("green", None), ("red", 90.0)),
            ),
            Panel(
                "Overload",
                "2: it refuses requests.",
                "none",
                (_top("sidecar_overload_level", "job, resource"),),
                steps=(("green", None), ("orange", 1.0), ("red", 2.0)),
            ),
        ),
    )
