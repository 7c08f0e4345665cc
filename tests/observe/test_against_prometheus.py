"""What is asked of Prometheus has an answer: a real one scraped a real sidecar."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from contextlib import asynccontextmanager, suppress
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.app import App
from sidecar.cli.alerts import rule_book
from sidecar.demo.shop import start_shop
from sidecar.observe.dashboard import service_dashboard
from sidecar.observe.fleet import fleet_dashboard
from sidecar.observe.promql import Scope
from sidecar.record.meter import Meter
from sidecar.settings.load import load_text
from sidecar.settings.snapshot import Address
from tests.e2e.test_telemetry import prometheus_of
from tests.support.certificates import Authority
from tests.support.cgroups import cgroup_of
from tests.support.proxy import Origin, Proxy, always_ok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Debian's prometheus"
)

CONFIG = """
inbound: {listen: "127.0.0.1:0"}
health: {listen: "127.0.0.1:0", application: {tcp: {port: PORT}, start_period: 0s}}
admin: {listen: "127.0.0.1:0"}
faults: {recovered_after: 100ms}
defaults: {slo: {success: 99.9%, latency: {p95: 1s}}}
upstreams:
  shop: {endpoints: ["127.0.0.1:PORT"]}
  gone: {endpoints: ["127.0.0.1:1"], tls: {ca_file: "CA"}}
routes:
  - {name: shop, upstream: shop}
  - {name: gone, upstream: gone, matches: [{path: {value: /gone}}]}
telemetry: {access_log: {mode: "off"}}
"""
FAULTY = "x-316-deadline-ms: x"  # 400, by the proxy itself.
METRIC = re.compile(r"\b(?:app|sidecar|http_server)_[a-z0-9_]+")
_PATIENCE_S = 45


@asynccontextmanager
async def eventful(folder: Path) -> AsyncIterator[Proxy]:
    """Run a sidecar to which nearly everything happens that is counted."""
    shop = await start_shop(Address("127.0.0.1", 0))
    text = CONFIG.replace("PORT", str(shop.addresses[0][1]))
    text = text.replace("CA", Authority(folder / "ca").ca_file)
    app = App(load_text(text), stream=StringIO())
    limited = cgroup_of(folder, {"memory.max": str(1 << 30)})
    app.recorder.meter = Meter(app.clock, limited)  # Not every machine has a limit.
    await app.start()
    proxy = Proxy(app, Origin(always_ok))
    try:
        await fail(proxy)
        app.recorder.store.timeouts["request"] += 1
        yield proxy
    finally:
        await app.close()
        await shop.cleanup()


async def fail(proxy: Proxy) -> None:
    """Let one route recover, and another fail until its breaker opens."""
    await proxy.get("/catalogue", FAULTY)
    await proxy.get("/catalogue")
    for _ in range(10):
        await proxy.get("/gone")


def queries() -> Iterator[tuple[str, str]]:
    """Yield title and expression of each panel, the variables filled in."""
    for dashboard in (service_dashboard(), fleet_dashboard()):
        for panel in json.loads(dashboard.as_json())["panels"]:
            for target in panel.get("targets", ()):
                expr = target["expr"].replace("$__rate_interval", "1m")
                yield panel["title"], re.sub(r'"\$[a-z]+"', '".*"', expr)


async def test_every_panel_shows_something(tmp_path: Path) -> None:
    """So every metric that it names is there, with the labels that it goes by."""
    async with eventful(tmp_path) as proxy, prometheus_of(proxy, tmp_path) as asked:
        silent = dict.fromkeys(queries())
        assert len(silent) > 30
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                for each in list(silent):
                    await asked.ask("query", query=each[1])
                    del silent[each]
        assert list(silent) == []


async def test_every_metric_that_a_query_names_is_exported(tmp_path: Path) -> None:
    """A panel may show a 0 of its own making: the names are looked for, too."""
    settings = load_text(CONFIG.replace("PORT", "1")).settings
    rules = rule_book(settings, Scope(), "docs/faults.md").as_prometheus()
    exprs = [expr for _, expr in queries()]
    exprs += [
        rule["expr"]
        for group in yaml.safe_load(rules)["groups"]
        for rule in group["rules"]
    ]
    named = set().union(*map(METRIC.findall, exprs))
    async with eventful(tmp_path) as proxy, prometheus_of(proxy, tmp_path) as asked:
        await asked.ask("query", query="sidecar_uptime_seconds")
        known = set(await asked.ask("label/__name__/values"))
    assert named <= known
    assert len(named) > 20


async def test_rules_are_evaluated_and_an_outage_is_noticed(tmp_path: Path) -> None:
    """By the whole chain: a request, a scrape, what is recorded, an alert."""
    settings = load_text(CONFIG.replace("PORT", "1")).settings
    text = rule_book(settings, Scope(['job="s"']), "docs/faults.md").as_prometheus()
    rules = tmp_path / "rules.yaml"
    rules.write_text(re.sub(r"interval: \d+[sm]", "interval: 1s", text), "utf-8")
    async with (
        eventful(tmp_path) as proxy,
        prometheus_of(proxy, tmp_path, rules=(str(rules),)) as asked,
    ):
        await asked.ask("query", query="sidecar_uptime_seconds")
        wanted = {"SidecarErrorBudgetBurn", "SidecarBreakerOpen"}
        while True:
            await fail(proxy)
            found = (await asked.ask("alerts"))["alerts"]
            names = {alert["labels"]["alertname"] for alert in found}
            if names >= wanted:
                break
        assert {alert["labels"]["service"] for alert in found} == {"app"}
        health = await health_of_rules(asked)
    assert set(health.values()) == {"ok"}


async def health_of_rules(asked: Any) -> dict[str, str]:
    """Return how each rule fared, once all have been evaluated."""
    while True:
        groups = (await asked.ask("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        health = {rule["query"]: rule["health"] for rule in rules}
        if "unknown" not in health.values():
            return health
