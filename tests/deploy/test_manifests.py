"""The manifests are valid, and their ports meet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar.settings.load import load_text

K8S = Path(__file__).parents[2] / "k8s"


def load(name: str) -> Any:
    return yaml.safe_load((K8S / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(K8S.glob("*.yaml")), ids=lambda p: p.name)
def test_a_manifest_is_valid(path: Path) -> None:
    kubernetes_validate.validate(load(path.name), "1.33", strict=True)


def test_ports_probes_and_configuration_meet() -> None:
    pod = load("deployment.yaml")["spec"]["template"]["spec"]
    sidecar = pod["initContainers"][0]
    assert sidecar["restartPolicy"] == "Always"
    ports = {port["name"]: port["containerPort"] for port in sidecar["ports"]}
    snapshot = load_text(load("configmap.yaml")["data"]["sidecar.yaml"]).snapshot
    assert ports["inbound"] == snapshot.listeners[0].port
    assert ports["health"] == snapshot.health[1]
    assert load("service.yaml")["spec"]["ports"][0]["targetPort"] in ports
    app = pod["containers"][0]["ports"][0]["containerPort"]
    assert snapshot.upstreams["app"].endpoints[0].port == app
    assert pod["terminationGracePeriodSeconds"] > snapshot.drain_grace_s
