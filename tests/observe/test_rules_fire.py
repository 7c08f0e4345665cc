"""Each alert fires when it should, and is silent when it should not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sidecar.observe.alerts import general_groups
from sidecar.observe.promql import Scope
from sidecar.observe.rules import alerts_of
from tests.observe.promtool import Series, check_firing, needs_promtool, series

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_promtool

DAY_S = 86_400


def faults(values: str, severity: str = "P1") -> Series:
    labels = {"error_code": "316-CONN-REFUSED", "component": "app", "route": "read"}
    return series("app_316_fault_total", values, severity=severity, **labels)


def requests(values: str) -> Series:
    return series("app_response_time_seconds_count", values)


def durations(within_1s: str, in_all: str) -> Series:
    """Return a histogram of all requests, none of which takes over 2.5 s."""
    found = requests(in_all)
    for bound, values in (("1.0", within_1s), ("2.5", in_all), ("+Inf", in_all)):
        found |= series("app_response_time_seconds_bucket", values, le=bound)
    return found


def pool(in_flight: int) -> Series:
    used = {"upstream": "app", "state": "in_flight"}
    limit = {"upstream": "app", "of": "requests"}
    return series("sidecar_pool_requests", f"{in_flight}x30", **used) | series(
        "sidecar_pool_limit", "1000x30", **limit
    )


def breaker(values: str) -> Series:
    return series("sidecar_breaker_state", values, route="read", upstream="app")


def memory(used: float, limit: float | None = None) -> Series:
    found = series("app_memory_usage_bytes", f"{used:.0f}x30")
    if limit is not None:
        found |= series("sidecar_cgroup_memory_limit_bytes", f"{limit:.0f}x30")
    return found


def ends_in(days: int) -> Series:
    name = "sidecar_certificate_not_after_seconds"
    return series(name, f"{days * DAY_S}x60", upstream="app", file="ca_file")


def of_upstream(name: str, value: int) -> Series:
    return series(name, f"{value}x30", upstream="app")


def ejected(count: int) -> Series:
    name = "sidecar_upstream_endpoints"
    return series(name, f"{count}x30", upstream="app", state="ejected")


def skipped(reason: str) -> Series:
    name = "sidecar_retries_skipped_total"
    return series(name, "0+6x30", upstream="app", reason=reason)


def application(values: str) -> Series:
    return series("sidecar_application_healthy", values)


SOON = "SidecarCertificateExpiresSoon"
CASES: list[tuple[str, Series, str, set[str]]] = [
    ("one P0", faults("_x9 1x20", "P0"), "11m", {"SidecarFaultP0"}),
    ("another P0", faults("1x9 2x20", "P0"), "12m", {"SidecarFaultP0"}),
    ("a P0 of long ago", faults("1x60", "P0"), "40m", set()),
    ("a P1", faults("_x9 1x20", "P1"), "11m", set()),
    (
        "a tenth fails",
        faults("0+6x60") | requests("0+60x60"),
        "15m",
        {"Sidecar316FaultRateHigh"},
    ),
    ("a 25th fails", faults("0+2.4x60") | requests("0+60x60"), "15m", set()),
    ("few requests", faults("0+1x60") | requests("0+5x60"), "15m", set()),
    ("client's own", faults("0+6x60", "P3") | requests("0+60x60"), "15m", set()),
    (
        "98 % succeed",
        series("app_request_success_rate", "0.98x30") | requests("0+60x30"),
        "15m",
        {"SidecarSuccessRateLow"},
    ),
    (
        "99.5 % succeed",
        series("app_request_success_rate", "0.995x30") | requests("0+60x30"),
        "15m",
        set(),
    ),
    (
        "one of two failed",
        series("app_request_success_rate", "0.5x30") | requests("0+1x30"),
        "15m",
        set(),
    ),
    ("a sixth is slow", durations("0+50x60", "0+60x60"), "15m", {"SidecarLatencyHigh"}),
    ("a 30th is slow", durations("0+58x60", "0+60x60"), "15m", set()),
    ("slow, but few", durations("0+0x60", "0+1x60"), "15m", set()),
    ("a breaker that probes", breaker("0x4 2 1 2 1 2 1"), "9m", {"SidecarBreakerOpen"}),
    ("a breaker open for a moment", breaker("0x4 2 0x9"), "7m", set()),
    ("a breaker that closed", breaker("2x9 0x20"), "20m", set()),
    (
        "an endpoint ejected",
        ejected(1),
        "10m",
        {"SidecarEndpointEjected"},
    ),
    ("none ejected", ejected(0), "9m", set()),
    ("a full pool", pool(900), "10m", {"SidecarPoolNearlyFull"}),
    ("a pool with room", pool(700), "10m", set()),
    (
        "no retries left",
        skipped("budget"),
        "15m",
        {"SidecarRetryBudgetEmpty"},
    ),
    ("retries not made for another reason", skipped("method"), "15m", set()),
    ("ends in 10 days", ends_in(10), "20m", {SOON}),
    ("ends in 2 days", ends_in(2), "20m", {SOON, "SidecarCertificateExpires"}),
    ("has ended", ends_in(0), "20m", {SOON, "SidecarCertificateExpires"}),
    ("ends in 30 days", ends_in(30), "20m", set()),
    ("90 % of memory", memory(90e6, 100e6), "10m", {"SidecarMemoryHigh"}),
    ("70 % of memory", memory(70e6, 100e6), "10m", set()),
    ("no limit, 9 GB", memory(9e9), "10m", {"SidecarMemoryHigh"}),
    ("no limit, 1 GB", memory(1e9), "10m", set()),
    (
        "overloaded",
        series("sidecar_overload_level", "2x30", resource="lag"),
        "9m",
        {"SidecarOverloaded"},
    ),
    (
        "nearly overloaded",
        series("sidecar_overload_level", "1x30", resource="lag"),
        "9m",
        set(),
    ),
    (
        "a broken file",
        series("sidecar_config_last_reload_successful", "0x30"),
        "9m",
        {"SidecarConfigRejected"},
    ),
    (
        "a good file",
        series("sidecar_config_last_reload_successful", "1x30"),
        "9m",
        set(),
    ),
    (
        "an application that fails",
        application("1x5 0x30"),
        "12m",
        {"SidecarApplicationUnhealthy"},
    ),
    (
        "an application that flaps",
        application("1x2 0 1 1 0 1 1 0 1 1 0 1 1 0 1 1 0 1 1 0 1 1 0 1 1 0 1"),
        "24m",
        {"SidecarApplicationUnhealthy"},
    ),
    ("an application that starts", application("0x3 1x30"), "9m", set()),
    ("an application that was restarted", application("1x5 0x3 1x9"), "15m", set()),
    ("nothing at all", {}, "9m", set()),
]


@pytest.mark.parametrize(
    ("given", "at", "names"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_exactly_what_should_fire_does(
    given: Series, at: str, names: set[str], tmp_path: Path
) -> None:
    check_firing(tmp_path, given, at, {(name, ""): 1 for name in names})


def test_each_general_alert_has_a_case_that_fires() -> None:
    names = {alert.name for alert in alerts_of(general_groups(Scope()))}
    assert names == set().union(*(case[3] for case in CASES))


BURN = "SidecarErrorBudgetBurn"
MISSED = "SidecarLatencyObjectiveMissed"


def ended(
    values: str, status: int = 200, code: str = "", route: str = "read"
) -> Series:
    labels = {"http_route": route, "http_response_status_code": str(status)}
    error = {"error_type": code} if code else {}
    name = "http_server_request_duration_seconds_count"
    return series(name, values, **labels, **error)


ALL = {"1h", "6h", "1d", "3d"}
REFUSED = "316-CONN-REFUSED"


@pytest.mark.parametrize(
    ("given", "at", "windows"),
    [
        (ended("0+588x120") | ended("0+12x120", 502, REFUSED), "2h", ALL),
        (ended("0+588x120") | ended("0+12x120", 503), "2h", ALL),
        (ended("0+588x120") | ended("0+12x120", 200, "316-DATA-TRUNCATED"), "2h", ALL),
        (ended("0+600x120", 502, REFUSED), "10m", {"1h", "6h"}),
        (
            ended("0+588x90") | ended("0+12x60 720x30", 502, REFUSED),
            "75m",
            {"6h", "1d", "3d"},
        ),
        (ended("0+597x200") | ended("0+2.4x200", 502, REFUSED), "3h", {"1d", "3d"}),
        (ended("0+600x200") | ended("0+0.3x200", 502, REFUSED), "3h", set()),
        (ended("0+12x120") | ended("0x100 0+1x20", 502, REFUSED), "105m", set()),
        (ended("0+588x120") | ended("0+12x120", 404, "316-OTHER"), "2h", set()),
        (ended("0+588x120") | ended("0+12x120", 499, "316-CLIENT-ABORT"), "2h", set()),
        (ended("0+588x120") | ended("0+12x120", 200, "316-CLIENT-ABORT"), "2h", set()),
        (ended("0+600x120", 502, REFUSED, "health"), "2h", set()),
        (
            ended("0+594x120", route="report")
            | ended("0+6x120", 502, REFUSED, route="report"),
            "2h",
            set(),
        ),
    ],
    ids=[
        "2 % fail",
        "an application's 503",
        "answers that break off",
        "all fail, since ten minutes",
        "an outage that is over",
        "0.4 % fail",
        "0.05 % fail",
        "few failures of few requests",
        "the client's mistakes",
        "clients that leave",
        "clients that leave within the answer",
        "a route that promises nothing",
        "1 % where 99 % are promised",
    ],
)
def test_failures_burn_the_budget_of_their_windows(
    given: Series, at: str, windows: set[str], tmp_path: Path
) -> None:
    check_firing(tmp_path, given, at, {(BURN, window): 1 for window in windows})


def test_an_outage_of_minutes_does_not_page_by_the_long_windows(tmp_path: Path) -> None:
    """Three hours of peace, then five minutes of 3 % failures: not worth a night."""
    given = ended("0+600x300") | ended("0x180 0+18x5 90x60", 502, REFUSED)
    check_firing(tmp_path, given, "200m", {})


def within(bound: str, values: str, route: str, status: str = "200") -> Series:
    labels = {"http_route": route, "http_response_status_code": status, "le": bound}
    return series("http_server_request_duration_seconds_bucket", values, **labels)


@pytest.mark.parametrize(
    ("route", "status", "fast", "missed"),
    [
        ("read", 200, "0+50x60", 1),
        ("read", 200, "0+58x60", 0),
        ("submit", 200, "0+50x60", 0),
        ("health", 200, "0+0x60", 0),
        ("read", 101, "0+0x60", 0),
    ],
    ids=[
        "a sixth over 250 ms",
        "a 30th over 250 ms",
        "a route that may take 1 s",
        "a route without a promise",
        "tunnels",
    ],
)
def test_a_latency_objective_is_of_its_route(
    route: str, status: int, fast: str, missed: int, tmp_path: Path
) -> None:
    given = ended("0+60x60", status, route=route)
    given |= within("0.25", fast, route, str(status))
    given |= within("0.5", "0+60x60", route, str(status))
    given |= within("+Inf", "0+60x60", route, str(status))
    check_firing(tmp_path, given, "20m", {(MISSED, ""): 1} if missed else {})


def test_what_a_person_reads_is_filled_in(tmp_path: Path) -> None:
    """Labels, value, and a runbook that is the section of the code."""
    given = faults("0+6x60") | requests("0+60x60")
    labels = {
        "job": "orders",
        "namespace": "shop",
        "error_code": REFUSED,
        "service": "orders",
        "severity": "critical",
        "priority": "P1",
        "code": REFUSED,
    }
    texts = {
        "summary": f"10% of the requests of orders meet {REFUSED}",
        "description": "In the last five minutes; the limit is 5 %. What the client"
        " caused (P3) is left out.",
        "runbook_url": "docs/faults.md#316-conn-refused",
    }
    asked = {
        "eval_time": "15m",
        "alertname": "Sidecar316FaultRateHigh",
        "exp_alerts": [{"exp_labels": labels, "exp_annotations": texts}],
    }
    expected = {("Sidecar316FaultRateHigh", ""): 1}
    check_firing(tmp_path, given, "15m", expected, alert_rule_test=[asked])
