"""docs/kubernetes.md says what is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.kube.options import NAMES, Options

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
OBJECTS: dict[str, dict[str, Any]] = {
    value["kind"]: value
    for block in BLOCKS
    for value in yaml.safe_load_all(block.replace("${CA_BUNDLE}", "Y2E="))
}
ROWS = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|", TEXT, re.MULTILINE))


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


@pytest.mark.parametrize("version", ["1.30", "1.31", "1.33", "1.35"])
@pytest.mark.parametrize("kind", OBJECTS)
def test_an_object_is_valid(kind: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_the_webhooks_objects_agree() -> None:
    (hook,) = OBJECTS["MutatingWebhookConfiguration"]["webhooks"]
    service, deployment = OBJECTS["Service"], OBJECTS["Deployment"]
    place = hook["clientConfig"]["service"]
    assert place["name"] == service["metadata"]["name"]
    assert place["namespace"] == service["metadata"]["namespace"]
    assert place["path"] == "/mutate"
    (port,) = service["spec"]["ports"]
    assert place["port"] == port["port"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {port["targetPort"]: 8443, "health": 15020}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for other in (
        service["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
    ):
        assert other.items() <= labels.items()
    name = f"{place['name']}.{place['namespace']}.svc"
    assert TEXT.count(name) == 2  # What the certificate must be valid for.


def test_the_webhook_does_not_wait_for_itself() -> None:
    (hook,) = OBJECTS["MutatingWebhookConfiguration"]["webhooks"]
    label = hook["namespaceSelector"]["matchLabels"]
    assert label == {"sidecar.316/injection": "enabled"}
    assert "kubectl label namespace shop sidecar.316/injection=enabled" in TEXT
    assert "label namespace sidecar-316" not in TEXT


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_the_certificate_made_by_hand_can_be_used_as_the_deployment_uses_it(
    tmp_path: Path,
) -> None:
    """With the arguments of the Deployment, but for where its files are."""
    made = re.search(r"openssl req.*?\.svc\n", TEXT, re.DOTALL)
    assert made is not None
    subprocess.run(["sh", "-c", made[0]], cwd=tmp_path, capture_output=True, check=True)
    (container,) = OBJECTS["Deployment"]["spec"]["template"]["spec"]["containers"]
    args = [word.replace("=/tls/", f"={tmp_path}/") for word in container["args"]]
    places = ["--listen=127.0.0.1:0", "--health=127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", *args, *places],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            assert "serving: webhook" in process.stderr.readline()
        finally:
            process.kill()


def test_the_mistake_that_is_shown_is_told_so(tmp_path: Path) -> None:
    shown = re.search(r"\$ (sidecar inject .*)\n(.*)\n", TEXT)
    assert shown is not None
    (tmp_path / "deploy.yaml").write_text(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: orders}\nspec: "
        "{template: {metadata: {annotations: {sidecar.316/cpu-limt: '1'}}, "
        "spec: {containers: [{name: app}]}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", *shown[1].split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == shown[2] + "\n"
    assert done.returncode == 1
