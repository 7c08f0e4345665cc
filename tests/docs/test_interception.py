"""docs/interception.md says what is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from sidecar.settings.load import load_text
from tests.docs.serving import shell

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "interception.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", TEXT, re.DOTALL)
BLOCKS = [yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_command_prints_what_is_shown(command: str, shown: str) -> None:
    words = command.replace("sidecar ", ".venv/bin/sidecar ", 1)
    assert shell(words, ROOT, {}) == shown


def test_every_option_is_in_the_table() -> None:
    told = shell(".venv/bin/sidecar iptables --help", ROOT, {})
    options = set(re.findall(r"--[a-z-]+", told.partition("Options:")[2])) - {"--help"}
    assert len(options) > 15
    assert [option for option in sorted(options) if not is_told(option)] == []


def is_told(option: str) -> bool:
    return re.search(rf"{option}\b(?!-)", TEXT) is not None


def test_the_init_container_calls_what_there_is() -> None:
    """Printed here, not applied."""
    _, rules = next(b for b in BLOCKS if "initContainers" in b)["initContainers"]
    words = [word for word in rules["args"] if word != "--apply"]
    printed = shell(shlex.join([".venv/bin/sidecar", *words]), ROOT, {})
    assert "--dport 9000:9010 -j RETURN" in printed


def test_the_listener_of_both_families_is_good() -> None:
    listen = next(b for b in BLOCKS if "inbound" in b)
    rest = {
        "upstreams": {"app": {"endpoints": ["127.0.0.1:8080"]}},
        "routes": [{"name": "all", "upstream": "app"}],
    }
    assert load_text(yaml.safe_dump(listen | rest)).warnings == []
