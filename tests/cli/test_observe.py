"""`sidecar alerts` and `sidecar dashboard`, as a person calls them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cli.test_commands import sidecar

if TYPE_CHECKING:
    from pathlib import Path

OBJECTIVES = "config/examples/objectives.yaml"


def test_alerts_prints_a_rule_file_or_an_object() -> None:
    plain = sidecar("alerts", "-c", OBJECTIVES)
    assert plain.returncode == 0
    found = sidecar("alerts", "-c", OBJECTIVES, "--format", "prometheusrule")
    assert yaml.safe_load(found.stdout)["spec"] == yaml.safe_load(plain.stdout)


def test_alerts_takes_matchers_and_a_runbook() -> None:
    done = sidecar(
        *("alerts", "-c", OBJECTIVES, "--match", 'job=a"b', "--match", "ns=c"),
        *("--runbook", "https://runbooks.example/316"),
    )
    assert '{job="a\\"b",ns="c"' in done.stdout
    assert "https://runbooks.example/316#316-circuit-open" in done.stdout
    assert "docs/faults.md" not in done.stdout


@pytest.mark.parametrize("word", ["orders", "1job=orders", "=orders", "a b=c"])
def test_a_matcher_that_is_none_is_told(word: str) -> None:
    done = sidecar("alerts", "-c", OBJECTIVES, "--match", word)
    assert done.returncode == 2
    assert "LABEL=VALUE" in done.stderr
    assert "Traceback" not in done.stderr


def test_alerts_of_a_broken_file_tells_where_it_is(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "upstreams: {app: {endpoints: ['127.0.0.1:1']}}\n"
        "routes:\n"
        "  - {name: a, upstream: app, slo: {success: 199%}}\n"
        "  - {name: b, upstream: app, slo: {latency: {p94: 1s}}}\n"
        "  - {name: c, upstream: app, slo: {latency: {p95: 1}}}\n",
        encoding="utf-8",
    )
    done = sidecar("alerts", "-c", str(bad))
    assert (done.returncode, done.stdout) == (1, "")
    for start in ("3:36: routes[0].slo.success: ", "4:46: ", "5:46: "):
        assert f"{bad}:{start}" in done.stderr, done.stderr
    assert "did you mean 'p90'" in done.stderr
    assert "its unit is missing, as in 1s" in done.stderr


def test_dashboard_prints_one_of_two() -> None:
    one, all_ = sidecar("dashboard"), sidecar("dashboard", "--fleet")
    uids = [json.loads(done.stdout)["uid"] for done in (one, all_)]
    assert uids == ["sidecar-316-service", "sidecar-316-fleet"]
