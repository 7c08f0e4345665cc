"""How the composition root puts configuration and environment together."""

from __future__ import annotations

from sidecar.app import with_environment
from sidecar.settings.load import load_text

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
