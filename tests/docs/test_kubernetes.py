"""docs/kubernetes.md says what is so."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.kube.options import NAMES, Options
from sidecar.settings.load import load_text
from tests.deploy.rendered import FOLDERS, kinds, kustomize, needs_kubectl, objects_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
BLOCKS: list[Any] = [
    yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
]
COMMANDS: list[tuple[str, str]] = re.findall(
    r"```console\n\$ ([^\n]*)\n(.*?)```", TEXT, re.DOTALL
)
FOLDER_ROWS = re.findall(r"^\| `((?:base|overlays)[a-z/-]*)` \|", TEXT, re.MULTILINE)
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", TEXT, re.MULTILINE))
IMAGE = "registry.example/sidecar-316:0.1.0"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Return a folder as a reader of the document has it."""
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    (tmp_path / "mesh").mkdir()
    overlay = yaml.safe_dump(BLOCKS[0])
    (tmp_path / "mesh" / "kustomization.yaml").write_text(overlay)
    good = (ROOT / "k8s" / "overlays" / "example" / "sidecar.yaml").read_text("utf-8")
    # Of a sidecar beside this test: its health server would be told of first.
    free = re.sub(r":150[02]0\b", ":0", good)
    (tmp_path / "good.yaml").write_text(free)
    (tmp_path / "sidecar.yaml").write_text(
        good.replace("upstream: app", "upstream: ap")
    )
    (tmp_path / "deploy.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: orders}\nspec: "
        "{template: {metadata: {annotations: {sidecar.316/cpu-limt: '1'}}, "
        "spec: {containers: [{name: app}]}}}\n"
    )
    return tmp_path


def test_every_annotation_is_in_the_table_with_its_default() -> None:
    assert tuple(name for name in ROWS if name in NAMES) == NAMES
    for name in NAMES:
        default = getattr(Options(), name.replace("-", "_"))
        shown = ROWS[name].strip("`")
        if name == "log-level":
            assert (default, shown) == (None, "as `log.level")
        elif default in (None, ()):
            assert shown == "none"
        else:
            assert shown == str(default).replace("True", "true").replace(
                "False", "false"
            )


@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[c for c, _ in COMMANDS])
def test_a_command_prints_what_is_shown(command: str, shown: str, here: Path) -> None:
    """On a port of the test's own: 15006 may be free here, or somebody else's."""
    if "kubectl" in command and shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for file in here.glob("*.yaml"):
            file.write_text(file.read_text("utf-8").replace("15006", port))
        done = subprocess.run(
            [
                "sh",
                "-c",
                re.sub(
                    r"\bsidecar (?=[a-z])", f"{sys.executable} -m sidecar ", command
                ),
            ],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    assert done.stdout + done.stderr == shown.replace("15006", port)


@needs_kubectl
def test_the_overlay_names_the_image_wherever_it_is_run(here: Path) -> None:
    objects = kustomize(here / "mesh")
    (injected,) = kinds(objects, "ConfigMap")
    assert injected["data"] == {"image": IMAGE}
    text = yaml.safe_dump_all(objects)
    assert "image: sidecar-316:" not in text
    assert text.count(f"image: {IMAGE}") == 4
    assert len(objects) == len(objects_of("base"))


def test_every_folder_is_told_of() -> None:
    assert sorted([*FOLDER_ROWS, "base/self-signed"]) == FOLDERS
    for folder in re.findall(r"k8s/((?:base|overlays)[a-z/-]*)", TEXT):
        assert folder in FOLDERS


@needs_kubectl
def test_a_workload_that_a_command_names_is_there() -> None:
    there = {
        f"{each['kind'].lower()}/{each['metadata']['name']}"
        for folder in FOLDERS
        for each in objects_of(folder)
    }
    named = re.findall(r"\b((?:job|cronjob|deployment)/[a-z-]+)", TEXT)
    assert len(named) > 5
    assert set(named) <= there


def test_what_is_told_of_the_certificate_is_so() -> None:
    objects = objects_of("base") if shutil.which("kubectl") else []
    for each in kinds(objects, "MutatingWebhookConfiguration"):
        place = each["webhooks"][0]["clientConfig"]["service"]
        assert f"`{place['name']}.{place['namespace']}.svc`" in TEXT
    done = subprocess.run(
        [sys.executable, "-m", "sidecar", "certify", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "less than 30 of its 90 days" in " ".join(TEXT.split())
    for default in (90 * 24, 30 * 24):
        assert f"[default: {default}h]" in done.stdout


def test_the_configuration_for_interception_is_one() -> None:
    loaded = load_text(yaml.safe_dump(BLOCKS[1]))
    assert loaded.warnings == []
    assert loaded.snapshot.upstreams["app"].is_original


def test_the_adapter_serves_what_the_autoscaler_asks_for(tmp_path: Path) -> None:
    (rule,) = BLOCKS[2]["rules"]
    name = rule["name"]["as"]
    file = ROOT / "k8s" / "overlays" / "autoscaling" / "autoscaler.yaml"
    (metric,) = yaml.safe_load(file.read_text("utf-8"))["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == name
    assert rule["seriesQuery"].startswith(name + "{")
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: whether the query is one was not asked")
    query = rule["metricsQuery"]
    for mark, text in (
        ("<<.GroupBy>>", "pod"),
        ("<<.Series>>", name),
        ("<<.LabelMatchers>>", 'namespace="shop",pod=~"a|b"'),
    ):
        query = query.replace(mark, text)
    recorded = {"groups": [{"name": "a", "rules": [{"record": "a", "expr": query}]}]}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(recorded))
    subprocess.run(
        ["promtool", "check", "rules", "rules.yaml"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
