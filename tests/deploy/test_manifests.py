"""A sidecar written by hand: valid, and in agreement with its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sidecar import __version__
from sidecar.settings.load import load_text

K8S = Path(__file__).parents[2] / "k8s" / "overlays" / "by-hand"
# The oldest has the preStop sleep, which the Deployment needs.
VERSIONS = ("1.30", "1.31", "1.33", "1.35")
USER_ID = 1337


def load(name: str) -> Any:
    return yaml.safe_load((K8S / name).read_text(encoding="utf-8"))


OBJECTS = sorted(load("kustomization.yaml")["resources"])
POD = load("deployment.yaml")["spec"]["template"]
SIDECAR = POD["spec"]["initContainers"][0]
APP = POD["spec"]["containers"][0]
LOADED = load_text(load("configmap.yaml")["data"]["sidecar.yaml"])


def ports_of(container: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in container["ports"]}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OBJECTS)
def test_a_manifest_is_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(load(name), version, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    """What the test above is worth."""
    manifest = load("deployment.yaml")
    manifest["spec"]["template"]["spec"]["initContainers"][0]["restartPolicyy"] = "x"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSIONS[0], strict=True)


def test_kustomize_applies_every_manifest() -> None:
    there = {path.name for path in K8S.glob("*.yaml")}
    assert {*OBJECTS, "kustomization.yaml"} == there


def test_the_configuration_loads_without_a_warning() -> None:
    assert not LOADED.warnings


def test_ports_agree_from_service_to_application() -> None:
    ports, snapshot = ports_of(SIDECAR), LOADED.snapshot
    assert ports == {
        "inbound": snapshot.listeners[0].port,
        "health": snapshot.health[1],
    }
    (service_port,) = load("service.yaml")["spec"]["ports"]
    assert service_port["targetPort"] == ports["inbound"]
    (endpoint,) = snapshot.upstreams["app"].endpoints
    assert endpoint.port == ports_of(APP)["app"]
    assert f"-listen={endpoint}" in APP["args"]


def test_what_kubernetes_must_reach_is_not_on_loopback_and_admin_is() -> None:
    snapshot = LOADED.snapshot
    assert snapshot.listeners[0].host == "0.0.0.0"
    assert snapshot.health[0] == "0.0.0.0"
    assert snapshot.admin[0] == "127.0.0.1"


def test_prometheus_is_told_the_health_port() -> None:
    notes = POD["metadata"]["annotations"]
    assert notes["prometheus.io/scrape"] == "true"
    assert notes["prometheus.io/port"] == str(LOADED.snapshot.health[1])
    assert notes["prometheus.io/path"] == "/metrics"


def test_the_service_selects_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert load("service.yaml")["spec"]["selector"].items() <= labels.items()
    selector = load("deployment.yaml")["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels.items()


def test_the_sidecar_is_native_and_probed() -> None:
    assert SIDECAR["restartPolicy"] == "Always"
    for probe, path in (
        ("startupProbe", "/healthz/ready"),
        ("readinessProbe", "/healthz/ready"),
        ("livenessProbe", "/healthz/live"),
    ):
        assert SIDECAR[probe]["httpGet"] == {"path": path, "port": "health"}
    assert "lifecycle" not in SIDECAR  # A preStop would end outbound before the app.


def test_the_sidecar_mounts_its_configuration_where_the_image_looks() -> None:
    (mount,) = SIDECAR["volumeMounts"]
    (volume,) = POD["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["configMap"]["name"] == load("configmap.yaml")["metadata"]["name"]
    dockerfile = (K8S.parents[2] / "Dockerfile").read_text(encoding="utf-8")
    assert f'"{mount["mountPath"]}/sidecar.yaml"' in dockerfile
    assert SIDECAR["image"] == f"sidecar-316:{__version__}"


@pytest.mark.parametrize("container", [SIDECAR, APP], ids=lambda c: str(c["name"]))
def test_a_container_has_no_right_it_does_not_need(container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["runAsNonRoot"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def test_only_the_sidecar_has_the_user_that_interception_leaves_alone() -> None:
    assert SIDECAR["securityContext"]["runAsUser"] == USER_ID
    assert APP["securityContext"]["runAsUser"] != USER_ID


def test_the_pod_may_take_as_long_as_its_parts_one_after_the_other() -> None:
    """The application's preStop, its own end, then the drain of the sidecar."""
    grace_s = POD["spec"]["terminationGracePeriodSeconds"]
    sleep_s = APP["lifecycle"]["preStop"]["sleep"]["seconds"]
    snapshot = LOADED.snapshot
    assert snapshot.drain_lead_s == 0.0
    assert grace_s >= sleep_s + 10 + snapshot.drain_grace_s
