"""The rules as files: what Prometheus and its operator take, and people can follow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.alerts import rule_book
from sidecar.observe.objectives import BURNS
from sidecar.observe.promql import Scope, equals, one_of
from sidecar.settings import slo_checks
from sidecar.settings.load import from_upstream, load_file
from tests.observe.promtool import (
    CONFIG,
    ROOT,
    check_firing,
    needs_promtool,
    promtool,
    rules_text,
    series,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAULTS = (ROOT / "docs" / "faults.md").read_text("utf-8")
URGENCIES = {"P0": "critical", "P1": "critical", "P2": "warning", "P3": "info"}


def rules(text: str) -> Iterator[dict[str, Any]]:
    for group in yaml.safe_load(text)["groups"]:
        yield from group["rules"]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules(rules_text()) if "alert" in rule]


@needs_promtool
@pytest.mark.parametrize("matchers", [(), ('job="orders"', 'namespace="shop"')])
def test_prometheus_takes_them_all(matchers: tuple[str, ...], tmp_path: Path) -> None:
    settings = load_file(str(CONFIG)).settings
    text = rule_book(settings, Scope(matchers), "https://x/faults").as_prometheus()
    (tmp_path / "rules.yaml").write_text(text, encoding="utf-8")
    done = promtool("check", "rules", "--lint-fatal", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(list(rules(text)))} rules found" in done.stdout


@needs_promtool
def test_a_rule_that_does_not_fire_is_noticed(tmp_path: Path) -> None:
    """What the tests of firing are worth."""
    given = series("sidecar_config_last_reload_successful", "1x9")
    with pytest.raises(AssertionError, match="SidecarConfigRejected"):
        check_firing(tmp_path, given, "5m", {("SidecarConfigRejected", ""): 1})
    given = series("sidecar_config_last_reload_successful", "0x9")
    with pytest.raises(AssertionError, match="SidecarConfigRejected"):
        check_firing(tmp_path, given, "5m", {})


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_how_bad_what_and_where_to_read(alert: dict[str, Any]) -> None:
    labels, texts = alert["labels"], alert["annotations"]
    assert labels["severity"] == URGENCIES[labels["priority"]]
    assert labels["service"] == "orders"
    assert texts.keys() == {"summary", "description", "runbook_url"}
    assert all(texts.values())


def test_each_runbook_is_a_section_of_the_page_of_codes() -> None:
    """Or the section of the alert's own code, which each code has."""
    headings = re.findall(r"^#+ (.*)$", FAULTS, re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    links = {alert["annotations"]["runbook_url"] for alert in alerts()}
    templates = {link for link in links if "{{" in link}
    assert templates == {"docs/faults.md#{{ $labels.error_code | toLower }}"}
    for link in links - templates:
        page, _, anchor = link.partition("#")
        assert (ROOT / page).exists()
        assert anchor in anchors
    codes = {alert["labels"].get("code", "316-OTHER") for alert in alerts()}
    assert {code.lower() for code in codes if "{{" not in code} <= anchors


def test_the_matchers_of_a_call_are_in_every_selector_of_raw_series() -> None:
    """So rules of one service are not about another's series."""
    settings = load_file(str(CONFIG)).settings
    scope = Scope([equals("job", "orders")])
    for rule in rules(rule_book(settings, scope, "x").as_prometheus()):
        names = r"\b(?:app|sidecar|http_server)_[a-z0-9_]+(?!\()"
        for found in re.finditer(names, rule["expr"]):
            rest = rule["expr"][found.end() :]
            assert rest.startswith('{job="orders"'), rule["expr"]


def test_what_is_recorded_is_read_with_the_label_of_its_service() -> None:
    """Two services may have routes of the same name, in one Prometheus."""
    for rule in rules(rules_text()):
        for rest in re.findall(r"sidecar:[a-z0-9_:]+(\S*)", rule["expr"]):
            assert rest.startswith('{service="orders"'), rule["expr"]
        if "record" in rule:
            assert rule["labels"] == {"service": "orders"}


def test_routes_with_the_same_promise_share_their_rules() -> None:
    burns = [a for a in alerts() if a["alert"] == "SidecarErrorBudgetBurn"]
    found = {(a["labels"]["objective"], a["labels"]["window"]) for a in burns}
    assert len(found) == len(burns) == 2 * len(BURNS)
    routes = {"99.9%": "read|submit", "99%": "report"}
    for alert in burns:
        matcher = f'http_route=~"{routes[alert["labels"]["objective"]]}"'
        assert matcher in alert["expr"]
    assert all("health" not in a["expr"] for a in burns)


def test_without_a_promise_there_are_the_general_ones_alone() -> None:
    settings = from_upstream("127.0.0.1:8080").settings
    found = list(rules(rule_book(settings, Scope(), "x").as_prometheus()))
    assert found
    assert all("record" not in rule for rule in found)
    assert not any("Objective" in rule["alert"] for rule in found)


def test_the_operators_object_has_the_same_rules() -> None:
    settings = load_file(str(CONFIG)).settings
    settings = settings.model_copy(update={"service": "My.Orders_2"})
    book = rule_book(settings, Scope(), "docs/faults.md")
    found = yaml.safe_load(book.as_prometheusrule())
    assert found["apiVersion"] == "monitoring.coreos.com/v1"
    assert found["kind"] == "PrometheusRule"
    name = found["metadata"]["name"]
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)
    assert found["spec"] == yaml.safe_load(book.as_prometheus())


def test_the_file_for_kubernetes_is_fresh() -> None:
    """`make observability` makes it anew; the same, in whatever process."""
    path = ROOT / "k8s" / "overlays" / "observability" / "rules.yaml"
    assert path.read_text("utf-8") == rules_text()


def test_the_warning_about_objectives_knows_the_fastest_burn() -> None:
    assert max(burn.rate for burn in BURNS) == slo_checks.FASTEST_BURN


@given(st.lists(st.text("ab.-_0", min_size=1, max_size=5), min_size=1, max_size=3))
def test_a_pattern_of_names_matches_them_and_nothing_else(names: list[str]) -> None:
    """As RE2 reads it, anchored; the string around it is PromQL's."""
    label, _, quoted = one_of("route", names).partition("=~")
    assert label == "route"
    pattern = quoted[1:-1].replace("\\\\", "\\")
    assert all(re.fullmatch(pattern, name) for name in names)
    other = names[0].replace(".", "x") if "." in names[0] else names[0] + "x"
    assert re.fullmatch(pattern, other) is None
