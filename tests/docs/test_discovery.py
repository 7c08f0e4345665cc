"""docs/discovery.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.settings.discovery import (
    DiscoverySettings,
    DnsSettings,
    KubernetesSettings,
)
from sidecar.settings.load import load_text
from sidecar.settings.units import format_duration, parse_duration

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "discovery.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
OBJECTS: list[dict[str, Any]] = [
    value
    for block in BLOCKS
    for value in yaml.safe_load_all(block)
    if "apiVersion" in value
]


def rows_below(title: str) -> dict[str, str]:
    """Return the defaults of the table of keys with that title."""
    table = TEXT.partition(f"| key of `{title}` |")[2].partition("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \|([^|]*)\|", table, re.MULTILINE))


def test_the_example_is_a_configuration() -> None:
    snapshot = load_text(BLOCKS[0]).snapshot
    assert {str(u.discovery) for u in snapshot.upstreams.values()} == {
        "dns A pages.default.svc.cluster.local.",
        "kubernetes service stock",
    }


@pytest.mark.parametrize(
    ("title", "model"), [("dns", DnsSettings), ("kubernetes", KubernetesSettings)]
)
def test_every_key_is_in_its_table(title: str, model: Any) -> None:
    assert list(rows_below(title)) == list(model.model_fields)


def test_the_defaults_are_those_of_the_code() -> None:
    rows = rows_below("dns")
    for key in ("timeout", "min_ttl", "stale"):
        default = DnsSettings.model_fields[key].default
        assert parse_duration(rows[key].strip("` ")) == default
    assert rows["type"].strip("` ") == DnsSettings.model_fields["type"].default
    first_s = DiscoverySettings.model_fields["first_answer"].default
    shown = format_duration(first_s).replace("s", " s")
    assert f"`discovery.first_answer` ({shown})" in TEXT


@pytest.mark.parametrize("version", ["1.30", "1.33"])
@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: thing["kind"])
def test_the_permissions_are_valid(thing: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(thing, version, strict=True)


def test_the_role_allows_what_is_asked_and_no_more() -> None:
    (role,) = [thing for thing in OBJECTS if thing["kind"] == "Role"]
    assert role["rules"] == [
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        }
    ]
