"""k8s/ as `kubectl kustomize` renders it, and what its objects refer to."""

from __future__ import annotations

import copy
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from sidecar.kube.options import Options
from sidecar.kube.workloads import inject_object

if TYPE_CHECKING:
    from collections.abc import Iterator

Object = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
FOLDERS = sorted(
    str(file.parent.relative_to(K8S)) for file in K8S.rglob("kustomization.yaml")
)
INJECTION = {"sidecar.316/injection": "enabled"}
WORKLOADS = ("Deployment", "Job", "CronJob")
_RENDER_S = 50

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed"
)


def kustomize(folder: Path) -> list[Object]:
    """Return the objects of a folder; a warning that a field is old is let be."""
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=_RENDER_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    objects: list[Object] = list(yaml.safe_load_all(done.stdout))
    return objects


@cache
def _rendered(folder: str) -> tuple[Object, ...]:
    return tuple(kustomize(K8S / folder))


def objects_of(folder: str) -> list[Object]:
    """Return the objects of a folder of k8s/."""
    return copy.deepcopy(list(_rendered(folder)))


def kinds(objects: list[Object], *wanted: str) -> list[Object]:
    return [each for each in objects if each["kind"] in wanted]


def one(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (
        each for each in kinds(objects, kind) if each["metadata"]["name"] == name
    )
    return found


def namespace_of(value: Object) -> str:
    return str(value["metadata"].get("namespace", ""))


def injected(objects: list[Object]) -> list[Object]:
    """Return objects as a cluster with the webhook has them."""
    labelled = {
        each["metadata"]["name"]
        for each in kinds(objects, "Namespace")
        if INJECTION.items() <= each["metadata"].get("labels", {}).items()
    }
    options = Options()
    return [
        inject_object(each, options).value
        if each["kind"] in WORKLOADS and namespace_of(each) in labelled
        else each
        for each in objects
    ]


def template_of(workload: Object) -> Object:
    """Return the pod template."""
    spec = workload["spec"]
    if workload["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template: Object = spec["template"]
    return template


def containers_of(workload: Object) -> list[Object]:
    spec = template_of(workload)["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def ports_of(workload: Object) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in containers_of(workload)
        for port in container.get("ports", ())
    }


def selected(objects: list[Object], namespace: str, selector: Object) -> list[Object]:
    """Return the workloads whose pods these labels select."""
    assert selector.keys() <= {"matchLabels"}, "only labels are looked at here"
    wanted = selector.get("matchLabels", {}).items()
    return [
        each
        for each in kinds(objects, *WORKLOADS)
        if namespace_of(each) == namespace
        and wanted <= template_of(each)["metadata"]["labels"].items()
    ]


def configurations(objects: list[Object]) -> Iterator[tuple[str, str]]:
    """Yield each configuration of a sidecar, and the name of its ConfigMap."""
    for each in kinds(objects, "ConfigMap"):
        if "sidecar.yaml" in each["data"]:
            yield each["metadata"]["name"], each["data"]["sidecar.yaml"]


def arguments_of(container: Object, objects: list[Object], namespace: str) -> list[str]:
    """Return a container's arguments, its variables put in as the kubelet does."""
    arguments = list(container["args"])
    for variable in container.get("env", ()):
        place = variable["valueFrom"]["configMapKeyRef"]
        source = one(objects, "ConfigMap", place["name"])
        assert namespace_of(source) == namespace
        value = source["data"][place["key"]]
        mark = f"$({variable['name']})"
        arguments = [word.replace(mark, value) for word in arguments]
    return arguments
