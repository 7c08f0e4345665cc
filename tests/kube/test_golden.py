"""Whole manifests and whole reviews, before and after."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonpatch
import kubernetes_validate
import pytest
import yaml

from sidecar.kube.documents import rewrite
from sidecar.kube.workloads import uninject_object
from tests.kube.golden import MANIFESTS, REVIEWS, answered, injected, of

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = ("1.30", "1.31", "1.33", "1.35")


def objects(text: str) -> list[dict[str, Any]]:
    """Return every object of a text, those of a List each by itself."""
    found = [value for value in yaml.safe_load_all(text) if value]
    return [item for value in found for item in value.get("items", [value])]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_becomes_what_it_should(path: Path) -> None:
    assert injected(path.read_text("utf-8")) == of(path).read_text("utf-8")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_once_more_changes_no_byte(path: Path) -> None:
    text = of(path).read_text("utf-8")
    assert injected(text) == text


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_uninject_leads_back(path: Path) -> None:
    text, _ = rewrite(of(path).read_text("utf-8"), uninject_object)
    assert objects(text) == objects(path.read_text("utf-8"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_an_injected_manifest_is_valid(path: Path, version: str) -> None:
    for value in objects(of(path).read_text("utf-8")):
        kubernetes_validate.validate(value, version, strict=True)


@pytest.mark.parametrize("path", REVIEWS, ids=lambda path: path.stem)
def test_a_review_gets_the_answer_it_should(path: Path) -> None:
    assert answered(path.read_bytes()) == json.loads(of(path).read_bytes())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", REVIEWS, ids=lambda path: path.stem)
def test_a_patched_pod_is_valid(path: Path, version: str) -> None:
    pod = json.loads(path.read_bytes())["request"]["object"]
    response = json.loads(of(path).read_bytes())["response"]
    patched = jsonpatch.apply_patch(pod, response.get("patch", []))
    del patched["metadata"]["creationTimestamp"]  # The API server's null for "not yet".
    kubernetes_validate.validate(patched, version, strict=True)


def test_there_are_cases_of_every_kind() -> None:
    kinds = {value["kind"] for path in MANIFESTS for value in objects(path.read_text())}
    assert kinds >= {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}
    assert len(REVIEWS) >= 5
