"""The example for Alertmanager, asked by its own tool who would be told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.observe.promtool import rules_text

CONFIG = Path(__file__).parents[2] / "config" / "examples" / "alertmanager.yaml"
needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs Debian's prometheus-alertmanager"
)


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["amtool", *arguments], capture_output=True, text=True, timeout=50, check=False
    )


@needs_amtool
def test_alertmanager_takes_it() -> None:
    done = amtool("check-config", str(CONFIG))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_amtool
@pytest.mark.parametrize(
    ("priority", "receiver"),
    [
        ("P0", "mail-and-webhook"),
        ("P1", "mail-and-webhook"),
        ("P2", "webhook"),
        ("P3", "nobody"),
    ],
)
def test_the_priority_decides_who_is_told(priority: str, receiver: str) -> None:
    where = f"--config.file={CONFIG}"
    label = f"priority={priority}"
    verify = f"--verify.receivers={receiver}"
    done = amtool("config", "routes", "test", where, verify, label)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_goes_by_labels_that_the_rules_have() -> None:
    """A matcher of another name would match nothing, and nobody would notice."""
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    named = set(config["route"]["group_by"])
    for rule in config["inhibit_rules"]:
        named.update(rule["equal"])
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            named.add(matcher.partition("=")[0].rstrip("!"))
    groups = yaml.safe_load(rules_text())["groups"]
    labels = {k for g in groups for rule in g["rules"] for k in rule["labels"]}
    assert named - labels == {"alertname", "namespace", "http_route", "upstream"}
