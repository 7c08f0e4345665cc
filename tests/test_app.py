"""How the composition root puts configuration and environment together."""

from __future__ import annotations

import asyncio
from io import StringIO

import yaml
from aiohttp import ClientSession

from sidecar.app import App, with_environment
from sidecar.settings.load import load_text
from tests.support.name_server import name_server
from tests.support.proxy import ANYWHERE

BASE = """
upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}
routes: [{name: all, upstream: app}]
"""
ENVIRON = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
    "OTEL_TRACES_SAMPLER": "always_on",
}


def test_the_environment_fills_what_the_file_leaves_open() -> None:
    tracing = with_environment(load_text(BASE), ENVIRON).tracing
    assert tracing.enabled
    assert tracing.sample_ratio == 1.0
    assert tracing.endpoint is None  # The exporter reads it itself.


def test_what_the_file_says_stays_also_where_it_is_the_default() -> None:
    said = "telemetry: {tracing: {enabled: false, sample_ratio: 1%}}"
    tracing = with_environment(load_text(BASE + said), ENVIRON).tracing
    assert not tracing.enabled
    assert tracing.sample_ratio == 0.01


def test_without_variables_the_snapshot_is_equal() -> None:
    loaded = load_text(BASE)
    assert with_environment(loaded, {}) == loaded.snapshot


async def test_health_answers_while_endpoints_are_waited_for() -> None:
    """A name server that is silent holds traffic up, and no probe."""
    async with name_server() as names:
        names.is_silent = True
        settings = {
            "inbound": {"listen": ANYWHERE},
            "health": {"listen": ANYWHERE},
            "admin": {"listen": ANYWHERE},
            "upstreams": {"app": {"discovery": {"dns": {"name": "a.test", "port": 1}}}},
            "routes": [{"name": "all", "upstream": "app"}],
            "discovery": {
                "nameservers": [f"127.0.0.1:{names.port}"],
                "first_answer": "50s",
            },
        }
        app = App(load_text(yaml.safe_dump(settings)), stream=StringIO())
        starting = asyncio.create_task(app.start())
        try:
            await names.until_asked("A")
            assert app.servers is not None
            host, port = app.servers.health_address
            async with ClientSession(f"http://{host}:{port}") as session:
                for path, status in (("live", 200), ("started", 503), ("ready", 503)):
                    async with session.get(f"/healthz/{path}") as got:
                        assert got.status == status
            assert not starting.done()
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await app.close()
