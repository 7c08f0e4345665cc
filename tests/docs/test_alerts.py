"""docs/alerts.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from sidecar.observe.objectives import BURNS
from sidecar.record.metrics.histogram import DURATION_BOUNDS_S
from sidecar.settings.load import load_text
from tests.cli.test_commands import sidecar
from tests.observe.promtool import rules_text

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "alerts.md").read_text("utf-8")
COMMANDS = re.findall(r"^sidecar (.*?)(?: > .*)?$", TEXT, re.MULTILINE)
APP = 'upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}\n'


def test_every_alert_is_in_the_table_once_and_nothing_else() -> None:
    rules = [
        rule for g in yaml.safe_load(rules_text())["groups"] for rule in g["rules"]
    ]
    wanted = {
        (
            rule["alert"],
            rule["labels"]["priority"],
            rule["for"],
            code_of(rule["labels"]),
        )
        for rule in rules
        if "alert" in rule
    }
    rows = re.findall(
        r"^\| `(\w+)` \| (P\d) \| (\w+) \| (\S[^|]*) \| \S", TEXT, re.MULTILINE
    )
    assert len(rows) == len(set(rows))
    assert set(rows) == wanted


def code_of(labels: dict[str, str]) -> str:
    code = labels.get("code", "-")
    return "its own" if "{{" in code else code


def test_the_windows_are_those_of_the_rules() -> None:
    for burn in BURNS:
        row = (
            f"| {burn.severity.name} | {burn.rate:g} | {burn.long} | {burn.short}"
            f" | {burn.days} days |"
        )
        assert row in TEXT


def test_what_a_budget_allows_is_reckoned_right() -> None:
    """Until the first alert: until failures fill 14.4 budgets of the hour, then 2 m."""
    rows = re.findall(
        r"^\| ([\d.]+)% \| ([^|]*) \| ([\d,]+) \| (\d+) min \|$", TEXT, re.MULTILINE
    )
    assert len(rows) == 4
    for success, allowed, requests, first in rows:
        lost = 1 - float(success) / 100
        assert minutes(allowed) == pytest.approx(lost * 30 * 24 * 60, abs=0.5)
        assert int(requests.replace(",", "")) == round(lost * 1e6)
        assert int(first) == round(lost * BURNS[0].rate * 60) + 2


def minutes(text: str) -> float:
    """Return the minutes of "7 h 12 min" or "4 min 19 s"."""
    parts = re.findall(r"(\d+) (h|min|s)\b", text)
    return sum(int(n) * {"h": 60, "min": 1, "s": 1 / 60}[unit] for n, unit in parts)


def test_the_bounds_of_the_histogram_are_told() -> None:
    [told] = re.findall(
        r"histogram \(([\d., ]+) ms; ([\d., ]+) s\)", TEXT.replace("\n", " ")
    )
    ms, s = ([float(word) for word in part.split(", ")] for part in told)
    assert (*(each / 1000 for each in ms), *s) == DURATION_BOUNDS_S


def test_the_promises_shown_are_good() -> None:
    block, *_ = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    settings = load_text(APP + block).settings
    assert [route.name for route in settings.routes] == ["read", "report", "health"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_something(command: str) -> None:
    words = command.replace("sidecar.yaml", "config/sidecar.yaml").split()
    done = sidecar(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
