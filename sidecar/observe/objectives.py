"""What routes promise (`slo`), and the alerts of a promise that is being broken.

A burn rate is how many times faster than allowed failures use up what an objective
leaves for them. An alert needs two windows: the long one says that it matters, the
short one that it still goes on.

    P1   14.4 over 1 h  and 5 m     gone in 2 days
    P1    6   over 6 h  and 30 m    gone in 5 days
    P2    3   over 1 d  and 2 h     gone in 10 days
    P2    1   over 3 d  and 6 h     gone in 30 days

Raw series are read for five minutes only; longer windows are means of what was
recorded, so that three days cost a few thousand samples a route.

Source:
    B. Beyer et al., "The Site Reliability Workbook", O'Reilly 2018, chapter 5,
    "Multiwindow, Multi-Burn-Rate Alerts".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sidecar.faults.spec import Severity
from sidecar.observe.alerts import MIN_FAULTS, MIN_REQUESTS
from sidecar.observe.promql import REQUESTS, WHERE, equals, number, one_of
from sidecar.observe.rules import Alert, Group, Recording
from sidecar.settings.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sidecar.observe.promql import Scope

_BASE: Final = "5m"
_SOON: Final = ("30m", "1h", "2h")
_LATE: Final = ("6h", "1d", "3d")
_WINDOW_S: Final = {"1h": 3600, "6h": 21_600, "1d": 86_400, "3d": 259_200}


@dataclass(frozen=True, slots=True)
class Objective:
    """What one route promises.

    Attributes:
        success_ratio: Share of the requests that do not fail; None: no promise.
        latencies_s: By percentile such as 95, in how many seconds it is answered.
    """

    route: str
    success_ratio: float | None
    latencies_s: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class _Burn:
    severity: Severity
    rate: float
    long: str
    short: str
    lasts: str
    days: int  # Until the budget of 30 days is used up.


BURNS: Final = (
    _Burn(Severity.P1, 14.4, "1h", "5m", "2m", 2),
    _Burn(Severity.P1, 6, "6h", "30m", "5m", 5),
    _Burn(Severity.P2, 3, "1d", "2h", "15m", 10),
    _Burn(Severity.P2, 1, "3d", "6h", "30m", 30),
)


def objective_groups(
    objectives: Iterable[Objective], service: str, scope: Scope
) -> Iterator[Group]:
    """Yield the groups of what is promised; none if nothing is."""
    by_ratio: dict[float, list[str]] = {}
    by_latency: dict[tuple[int, float], list[str]] = {}
    for each in objectives:
        if each.success_ratio is not None:
            by_ratio.setdefault(each.success_ratio, []).append(each.route)
        for latency in each.latencies_s:
            by_latency.setdefault(latency, []).append(each.route)
    if by_ratio:
        yield Group("requests", tuple(_recorded(service, scope)))
        # A series must come again before Prometheus takes it for gone, in 5 minutes.
        yield Group("requests-long", tuple(_means(_LATE, service)), interval="2m")
        burns = (
            _burning(burn, ratio, routes, service)
            for ratio, routes in sorted(by_ratio.items())
            for burn in BURNS
        )
        yield Group("objectives", tuple(burns))
    if by_latency:
        missed = (
            _missed(*latency, routes, scope)
            for latency, routes in sorted(by_latency.items())
        )
        yield Group("latencies", tuple(missed))


def _recorded(service: str, scope: Scope) -> Iterator[Recording]:
    by = f"sum by ({WHERE}, http_route)"
    requests = scope.series(f"{REQUESTS}_count")
    name = f"sidecar:route_requests:rate{_BASE}"
    yield Recording(name, f"{by} (rate({requests}[{_BASE}]))")
    # A route without a failure has none, not an unknown number of them.
    none = f"sum without (service) (0 * {name}{{{equals('service', service)}}})"
    yield Recording(
        f"sidecar:route_failures:rate{_BASE}",
        f"{by} {scope.failures('rate', _BASE)}\nor\n{none}",
    )
    yield from _means(_SOON, service)


def _means(windows: Iterable[str], service: str) -> Iterator[Recording]:
    for window in windows:
        for what in ("requests", "failures"):
            base = f"sidecar:route_{what}:rate{_BASE}{{{equals('service', service)}}}"
            yield Recording(
                f"sidecar:route_{what}:rate{window}",
                f"avg_over_time({base}[{window}])",
            )


def _burning(burn: _Burn, ratio: float, routes: list[str], service: str) -> Alert:
    matchers = f"{{{equals('service', service)},{one_of('http_route', routes)}}}"
    limit = number(burn.rate * (1 - ratio))

    def failing(window: str) -> str:
        failures = f"sidecar:route_failures:rate{window}{matchers}"
        return f"{failures}\n/ sidecar:route_requests:rate{window}{matchers}"

    failures = f"sidecar:route_failures:rate{burn.long}{matchers}"
    shown = f"{number(ratio * 100)}%"
    return Alert(
        name="SidecarErrorBudgetBurn",
        severity=burn.severity,
        expr=f"{failing(burn.long)} > {limit}\n"
        f"and\n{failing(burn.short)} > {limit}\n"
        f"and\n{failures} * {_WINDOW_S[burn.long]} >= {MIN_FAULTS}",
        lasts=burn.lasts,
        labels={"objective": shown, "window": burn.long},
        summary="Route {{ $labels.http_route }} fails"
        " {{ $value | humanizePercentage }} of its requests",
        description=f"In the last {burn.long}; the objective is {shown}. So it uses up"
        f" what may fail in 30 days within {burn.days} days or less. `topk(5, sum by"
        ' (error_code) (rate(app_316_fault_total{route="{{ $labels.http_route }}"}'
        "[5m])))` tells why.",
    )


def _missed(percentile: int, limit_s: float, routes: list[str], scope: Scope) -> Alert:
    """What switched protocols lasts as long as people talk; it is left out."""
    matchers = (one_of("http_route", routes), 'http_response_status_code!="101"')
    buckets = scope.series(f"{REQUESTS}_bucket", *matchers)
    requests = scope.series(f"{REQUESTS}_count", *matchers)
    by = f"{WHERE}, http_route"
    shown = format_duration(limit_s)
    return Alert(
        name="SidecarLatencyObjectiveMissed",
        severity=Severity.P2,
        expr="histogram_quantile(\n"
        f"  {number(percentile / 100)}, sum by ({by}, le) (rate({buckets}[5m]))\n"
        f") > {number(limit_s)}\n"
        f"and\nsum by ({by}) (increase({requests}[5m])) >= {MIN_REQUESTS}",
        lasts="5m",
        code="316-TIMEOUT-ERR",
        labels={"objective": f"p{percentile} {shown}"},
        summary=f"p{percentile} of route {{{{ $labels.http_route }}}} is"
        " {{ $value | humanizeDuration }}",
        description=f"In the last five minutes; the objective is {shown}. With"
        " tracing, the spans of the upstream tell whether the application or the proxy"
        " is slow.",
    )
