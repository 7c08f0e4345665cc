"""The half of docs/alerts.md that needs no Prometheus says what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.alerting import words
from sidecar.alerting.notice import Kind
from sidecar.settings.alerting import (
    AlertRuleSettings,
    AlertSettings,
    RateLimitSettings,
)
from sidecar.settings.load import load_text
from sidecar.settings.units import format_duration
from tests.alerting.samples import SENDER, notice

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "alerts.md").read_text("utf-8").split("# Without Prometheus")[1]
BASE = """
upstreams: {app: {endpoints: ["127.0.0.1:8080"]}}
routes: [{name: all, upstream: app}]
"""
BLOCKS: list[str] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_file_shown_is_good(block: str) -> None:
    loaded = load_text(BASE + block)
    assert loaded.snapshot.alerts.receivers
    told = [str(w) for w in loaded.warnings]
    assert [text for text in told if "until it can be" not in text] == []


def test_every_key_of_a_rule_and_of_alerts_is_told() -> None:
    told = set(re.findall(r"`([a-z_]+)`", TEXT))
    keys = {*AlertRuleSettings.model_fields, *AlertSettings.model_fields}
    assert keys - told - {"name", "receivers", "rules", "silences"} == set()


def test_the_defaults_are_those_of_the_table() -> None:
    fields = AlertSettings.model_fields
    for key in ("repeat", "group_wait", "timeout", "give_up"):
        default = format_duration(fields[key].default)
        assert f"| `{key}` | {default} |" in TEXT
    limit = RateLimitSettings()
    shown = f"{limit.messages} in {format_duration(limit.per)}"
    assert f"| `rate_limit` | {shown} |" in TEXT


def test_every_member_of_the_json_is_told() -> None:
    body = words.as_json([notice()], SENDER, 0)
    members = {*body, *body["alerts"][0]} - {"alerts"}
    told = set(re.findall(r"`([a-z_]+)`", TEXT))
    assert members - told == set()
    assert {kind.value for kind in Kind} - told == set()
