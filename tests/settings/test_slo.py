"""What routes promise: over defaults key by key, and what is hardly meant."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sidecar.settings.compile import effective_slo
from sidecar.settings.differences import differences
from sidecar.settings.load import Loaded, load_text


def load(slo: Any = None, defaults: Any = None, **route: Any) -> Loaded:
    data: dict[str, Any] = {
        "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
        "routes": [{"name": "all", "upstream": "app", **route}],
    }
    if slo is not None:
        data["routes"][0]["slo"] = slo
    if defaults is not None:
        data["defaults"] = {"slo": defaults}
    return load_text(yaml.safe_dump(data), "x")


def promised(*given: Any) -> tuple[float | None, dict[str, float]]:
    settings = load(*given).settings
    slo = effective_slo(settings, settings.routes[0])
    return slo.success, {name: s for name, s in slo.latency if s is not None}


def test_a_route_promises_what_defaults_do_but_for_what_it_says() -> None:
    defaults = {"success": "99%", "latency": {"p95": "1s", "p99": "2s"}}
    assert promised() == (None, {})
    assert promised(None, defaults) == (0.99, {"p95": 1.0, "p99": 2.0})
    own = {"latency": {"p95": "250ms"}}
    assert promised(own, defaults) == (0.99, {"p95": 0.25, "p99": 2.0})
    assert promised("off", defaults) == (None, {})


def test_a_promise_is_no_difference_for_traffic() -> None:
    assert differences(load().snapshot, load({"success": "99%"}).snapshot) == []


@pytest.mark.parametrize(
    ("slo", "path", "words"),
    [
        ({"success": "100%"}, "routes[0].slo.success", "no room for a failure"),
        ({"success": "90%"}, "routes[0].slo.success", "is under 93.1 %"),
        (
            {"latency": {"p95": "15s"}},
            "routes[0].slo.latency.p95",
            "timeouts.request (15 s) ends requests before",
        ),
        (
            {"latency": {"p95": "10s"}},
            "routes[0].slo.latency.p95",
            "measured up to 10 s",
        ),
        (
            {"latency": {"p50": "2s", "p99": "1s"}},
            "routes[0].slo.latency.p99",
            "is under p50 (2 s)",
        ),
    ],
)
def test_what_is_hardly_meant_is_a_warning(
    slo: dict[str, Any], path: str, words: str
) -> None:
    [warning] = load(slo).warnings
    assert warning.path == path
    assert words in warning.message
    assert warning.line


def test_what_is_meant_is_none() -> None:
    assert (
        load({"success": "99.9%", "latency": {"p50": "1s", "p95": "9s"}}).warnings == []
    )
    assert load({"latency": {"p95": "5s"}}, timeouts={"request": "off"}).warnings == []


def test_a_warning_about_defaults_is_told_once_where_they_are() -> None:
    text = """\
upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}
defaults: {slo: {success: 100%}}
routes:
  - {name: a, upstream: app, matches: [{path: {value: /a}}]}
  - {name: b, upstream: app}
"""
    [warning] = load_text(text, "x").warnings
    assert (warning.line, warning.path) == (2, "defaults.slo.success")
