"""Dashboards as Grafana's schema has them; nobody looks at them here."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.observe.dashboard import service_dashboard
from sidecar.observe.fleet import fleet_dashboard

if TYPE_CHECKING:
    from sidecar.observe.panels import Dashboard

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize(
    "dashboard", [service_dashboard(), fleet_dashboard()], ids=["service", "fleet"]
)
QUESTIONS = [
    "Is it healthy?",
    "Who fails?",
    "Why?",
    "Since when?",
    "Is it us or the application?",
]


def data(dashboard: Dashboard) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dashboard.as_json())
    return found


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    return [panel for panel in data(dashboard)["panels"] if panel["type"] != "row"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_one_row_is_one_question() -> None:
    rows = [p for p in data(service_dashboard())["panels"] if p["type"] == "row"]
    assert [row["title"] for row in rows] == QUESTIONS


@BOTH
def test_ids_are_unique_and_no_two_panels_overlap(dashboard: Dashboard) -> None:
    found = data(dashboard)["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    places = [panel["gridPos"] for panel in found]
    assert all(p["x"] >= 0 and p["x"] + p["w"] <= 24 and p["h"] > 0 for p in places)
    wrong = [pair for pair in combinations(places, 2) if overlap(*pair)]
    assert wrong == []


def test_an_overlap_would_be_noticed() -> None:
    """What the test above is worth."""
    place = {"x": 0, "y": 0, "w": 8, "h": 8}
    assert overlap(place, place | {"x": 7, "y": 7})
    assert not overlap(place, place | {"x": 8})


@BOTH
def test_each_panel_says_what_it_shows_and_in_which_unit(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        assert panel["title"]
        assert panel["description"].endswith((".", "?")), panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        steps = [step["value"] for step in defaults["thresholds"]["steps"]]
        assert steps[0] is None
        assert steps[1:] == sorted(steps[1:])


@BOTH
def test_each_query_goes_to_the_chosen_source_and_knows_its_variables(
    dashboard: Dashboard,
) -> None:
    known = {v["name"] for v in data(dashboard)["templating"]["list"]}
    assert "datasource" in known
    known.add("__rate_interval")  # Grafana's own.
    for panel in panels(dashboard):
        assert panel["targets"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            used = set(re.findall(r"\$([a-z_]+)", target["expr"]))
            assert used <= known


def test_service_route_and_upstream_can_be_chosen() -> None:
    names = [v["name"] for v in data(service_dashboard())["templating"]["list"]]
    assert names == ["datasource", "service", "route", "upstream"]


def test_their_addresses_stay() -> None:
    """Links to them are in runbooks: a uid is never changed."""
    found = [data(each)["uid"] for each in (service_dashboard(), fleet_dashboard())]
    assert found == ["sidecar-316-service", "sidecar-316-fleet"]


def test_the_file_for_kubernetes_is_fresh() -> None:
    """`make observability` makes it anew."""
    path = ROOT / "k8s" / "overlays" / "observability" / "dashboard.json"
    assert path.read_text("utf-8") == service_dashboard().as_json()
