"""What a pod asks for is what was measured, by the rule that is written down.

After `make resources` these tests say which numbers do not follow from it any more.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from benchmarks.needs import (
    CONNECTED,
    IDLE,
    LOADED,
    PACED,
    WAITING,
    Costs,
    Measured,
    Needs,
    costs,
    read,
    request_and_limit,
    table,
    told,
)
from benchmarks.pages import placed
from sidecar import capacity
from sidecar.kube.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MEASURED = read(ROOT / "docs" / "resources.json")
NEEDS = request_and_limit(MEASURED)
KIB, MIB = 1 << 10, 1 << 20


def one(situation: str, rss_mib: float, **fields: Any) -> Measured:
    plain: dict[str, Any] = dict.fromkeys(
        ("pss_mib", "uss_mib", "kernel_mib", "cpu_percent", "cpu_us", "per_s")
    )
    build = fields.pop("build", "sidecar")
    return Measured(build, situation, rss_mib, **(plain | fields))


MADE_UP = [
    one(IDLE, 60.0),
    one(PACED, 70.0, kernel_mib=2.0, cpu_percent=7.1),
    one(PACED, 71.0, build="interpreted", cpu_percent=60.0),
    one(CONNECTED, 100.0, kernel_mib=72.0),
    one(WAITING, 222.0),
    one(LOADED, 90.0),
]


def test_the_rule_is_the_one_that_is_written_down() -> None:
    assert request_and_limit(MADE_UP) == Needs(80, 336, 100)


def test_a_connection_costs_what_ten_thousand_add() -> None:
    found = costs(MADE_UP)
    assert found == Costs(72 * MIB, 112 * MIB / 10_000, 162 * MIB / 5000)


def test_what_could_not_be_measured_is_no_number() -> None:
    last = table(MADE_UP[:1]).splitlines()[-1]
    assert [cell.strip() for cell in last.split("|")[3:7]] == ["60.0", "-", "-", "-"]


def test_the_page_shows_the_last_run() -> None:
    text = (ROOT / "docs" / "resources.md").read_text(encoding="utf-8")
    assert placed(text, told(MEASURED), "resources") == text


def test_each_situation_was_measured_in_the_build_that_an_image_has() -> None:
    mine = {each.situation for each in MEASURED if each.build == "sidecar"}
    assert mine == {IDLE, PACED, CONNECTED, WAITING, LOADED}


def test_injection_asks_for_what_was_measured() -> None:
    options = Options()
    assert options.memory_request == f"{NEEDS.memory_request_mib}Mi"
    assert options.memory_limit == f"{NEEDS.memory_limit_mib}Mi"
    assert options.cpu_request == f"{NEEDS.cpu_request_millis}m"
    assert options.cpu_limit is None


def sidecars() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the resources of each sidecar in the manifests; our image can do more."""
    for file in sorted((ROOT / "k8s").rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            for container in containers(document):
                yield f"{file.name}: {container['name']}", container["resources"]


def containers(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        is_ours = str(value.get("image", "")).startswith("sidecar-316")
        is_sidecar = not value.get("command") and value.get("args", ["run"])[0] == "run"
        if is_ours and is_sidecar and "resources" in value:
            yield value
        for inner in value.values():
            yield from containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from containers(inner)


def test_manifests_ask_for_what_was_measured() -> None:
    found = dict(sidecars())
    assert found
    wanted = {
        "requests": {
            "cpu": f"{NEEDS.cpu_request_millis}m",
            "memory": f"{NEEDS.memory_request_mib}Mi",
        },
        "limits": {"memory": f"{NEEDS.memory_limit_mib}Mi"},
    }
    assert found == dict.fromkeys(found, wanted)


@pytest.mark.parametrize(
    ("constant", "measured_bytes", "step"),
    [
        (capacity.BASE_BYTES, costs(MEASURED).base, MIB),
        (capacity.CONNECTION_BYTES, costs(MEASURED).connection, KIB),
        (capacity.REQUEST_BYTES, costs(MEASURED).request, KIB),
    ],
    ids=["BASE_BYTES", "CONNECTION_BYTES", "REQUEST_BYTES"],
)
def test_what_the_proxy_goes_by_is_what_was_measured(
    constant: int, measured_bytes: float, step: int
) -> None:
    assert constant == math.ceil(measured_bytes / step) * step
