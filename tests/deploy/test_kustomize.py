"""Every folder of k8s/ renders to valid objects that fit together.

The schemas of Kubernetes know its own kinds. Of the others (cert-manager, the
Prometheus operator) only what is in `FOREIGN` is looked at: that a field which they
require is there. What a value of theirs means is checked nowhere here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils

from sidecar import __version__
from sidecar.settings.load import load_text
from tests.deploy.rendered import (
    FOLDERS,
    K8S,
    WORKLOADS,
    configurations,
    containers_of,
    injected,
    kinds,
    namespace_of,
    needs_kubectl,
    objects_of,
    one,
    ports_of,
    selected,
    template_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.deploy.rendered import Object

_KNOWN = sorted(
    {
        tuple(int(part) for part in version.split(".")[:2])
        for version in utils.all_versions()
    }
)
VERSIONS = [f"{major}.{minor}" for major, minor in _KNOWN[-4:]]
# By API and kind, the fields that their definitions require, and that we need.
FOREIGN = {
    ("cert-manager.io/v1", "Issuer"): (),
    ("cert-manager.io/v1", "Certificate"): ("secretName", "issuerRef"),
    ("monitoring.coreos.com/v1", "PodMonitor"): ("selector", "podMetricsEndpoints"),
}
# What kustomize 2.0, in Debian's kubectl, knows as well as today's.
FIELDS = {
    "apiVersion", "kind", "namespace", "bases", "resources", "configMapGenerator",
    "generatorOptions", "patchesStrategicMerge",
}  # fmt: skip

pytestmark = needs_kubectl
in_each_folder = pytest.mark.parametrize("folder", FOLDERS)


def is_foreign(value: Object) -> bool:
    return (value["apiVersion"], value["kind"]) in FOREIGN


def workloads(folder: str) -> list[Object]:
    return kinds(injected(objects_of(folder)), *WORKLOADS)


@pytest.mark.parametrize("version", VERSIONS)
@in_each_folder
def test_its_objects_are_valid(folder: str, version: str) -> None:
    """With what the webhook makes of them, too."""
    objects = objects_of(folder)
    also = [each for each in injected(objects) if each not in objects]
    for value in [*objects, *also]:
        if not is_foreign(value):
            kubernetes_validate.validate(value, version, strict=True)


def test_a_misspelt_field_is_not_valid() -> None:
    """What the test above is worth."""
    webhook = one(objects_of("base"), "Deployment", "sidecar-webhook")
    template_of(webhook)["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(webhook, VERSIONS[-1], strict=True)


@in_each_folder
def test_an_object_of_another_project_has_what_that_requires(folder: str) -> None:
    for value in filter(is_foreign, objects_of(folder)):
        for field in FOREIGN[value["apiVersion"], value["kind"]]:
            assert field in value["spec"]


@in_each_folder
def test_it_is_written_for_every_kustomize(folder: str) -> None:
    text = (K8S / folder / "kustomization.yaml").read_text("utf-8")
    assert yaml.safe_load(text).keys() <= FIELDS


def test_every_file_is_part_of_a_kustomization() -> None:
    named: set[str] = set()
    for folder in FOLDERS:
        text = (K8S / folder / "kustomization.yaml").read_text("utf-8")
        value = yaml.safe_load(text)
        files = [
            *value.get("resources", ()),
            *value.get("patchesStrategicMerge", ()),
            *(
                file.rpartition("=")[2]
                for each in value.get("configMapGenerator", ())
                for file in each.get("files", ())
            ),
            "kustomization.yaml",
        ]
        named.update(f"{folder}/{file}" for file in files)
    there = {str(p.relative_to(K8S)) for p in K8S.rglob("*") if p.is_file()}
    assert there == named


@in_each_folder
def test_no_two_objects_are_the_same(folder: str) -> None:
    names = [
        (value["kind"], namespace_of(value), value["metadata"]["name"])
        for value in objects_of(folder)
    ]
    assert len(set(names)) == len(names)


@in_each_folder
def test_every_configuration_loads_without_a_warning(folder: str) -> None:
    for name, text in configurations(objects_of(folder)):
        assert not load_text(text).warnings, name


@in_each_folder
def test_what_a_pod_refers_to_is_there(folder: str) -> None:
    objects = objects_of(folder)
    for workload in workloads(folder):
        spec = template_of(workload)["spec"]
        there = [
            each for each in objects if namespace_of(each) == namespace_of(workload)
        ]
        if "serviceAccountName" in spec:
            one(there, "ServiceAccount", spec["serviceAccountName"])
        for volume in spec.get("volumes", ()):
            check_volume(volume, there, folder)
        volumes = {volume["name"] for volume in spec.get("volumes", ())}
        for container in containers_of(workload):
            mounted = {each["name"] for each in container.get("volumeMounts", ())}
            assert mounted <= volumes
            for variable in container.get("env", ()):
                place = variable["valueFrom"]["configMapKeyRef"]
                assert place["key"] in one(there, "ConfigMap", place["name"])["data"]


def check_volume(volume: Object, there: list[Object], folder: str) -> None:
    if "configMap" in volume:
        assert one(there, "ConfigMap", volume["configMap"]["name"])["data"]
    else:
        name = volume["secret"]["secretName"]
        makers = [
            *(each["metadata"]["name"] for each in kinds(there, "Secret")),
            *(each["spec"]["secretName"] for each in kinds(there, "Certificate")),
        ]
        assert (
            name in makers or folder == "base/webhook"
        )  # Which has none, and says so.


@in_each_folder
def test_a_probe_asks_a_port_of_its_container(folder: str) -> None:
    for workload in workloads(folder):
        for container in containers_of(workload):
            ports = {p["name"]: p["containerPort"] for p in container.get("ports", ())}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                for action in container.get(kind, {}).values():
                    if isinstance(action, dict):
                        port = action["port"]
                        assert port in ports or port in ports.values()


@in_each_folder
def test_a_service_leads_to_a_port_of_pods(folder: str) -> None:
    objects = injected(objects_of(folder))
    for service in kinds(objects, "Service"):
        labels = {"matchLabels": service["spec"]["selector"]}
        (workload,) = selected(objects, namespace_of(service), labels)
        ports = ports_of(workload)
        for port in service["spec"]["ports"]:
            target = port["targetPort"]
            assert target in ports or target in ports.values()


@in_each_folder
def test_a_policy_or_a_budget_is_about_pods_that_are_there(folder: str) -> None:
    objects = injected(objects_of(folder))
    for policy in kinds(objects, "NetworkPolicy"):
        about = selected(objects, namespace_of(policy), policy["spec"]["podSelector"])
        assert about
        for rule in policy["spec"].get("ingress", ()):
            numbers = {n for each in about for n in ports_of(each).values()}
            assert {port["port"] for port in rule["ports"]} <= numbers
            for peer in rule.get("from", ()):
                if "podSelector" in peer:
                    assert selected(objects, namespace_of(policy), peer["podSelector"])
    for budget in kinds(objects, "PodDisruptionBudget"):
        spec = budget["spec"]
        (workload,) = selected(objects, namespace_of(budget), spec["selector"])
        assert spec["minAvailable"] < workload["spec"]["replicas"]


@in_each_folder
def test_a_deployment_selects_its_own_pods(folder: str) -> None:
    objects = objects_of(folder)
    for workload in kinds(objects, "Deployment"):
        selector = workload["spec"]["selector"]
        assert selected(objects, namespace_of(workload), selector) == [workload]


@in_each_folder
def test_what_is_in_a_namespace_of_ours_says_so(folder: str) -> None:
    objects = objects_of(folder)
    own = {each["metadata"]["name"] for each in kinds(objects, "Namespace")}
    if own:
        assert {namespace_of(each) for each in objects} - {""} == own


@in_each_folder
def test_rights_are_given_to_who_is_there(folder: str) -> None:
    objects = objects_of(folder)
    for binding in kinds(objects, "RoleBinding", "ClusterRoleBinding"):
        ref = binding["roleRef"]
        one(objects, ref["kind"], ref["name"])
        for subject in binding["subjects"]:
            account = one(objects, subject["kind"], subject["name"])
            assert namespace_of(account) == subject["namespace"]


@in_each_folder
def test_no_right_is_more_than_to_read_and_replace_what_is_named(folder: str) -> None:
    for role in kinds(objects_of(folder), "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert rule["verbs"] == ["get", "update"]
            assert len(rule["resourceNames"]) == 1
            assert "*" not in json.dumps(rule)


def containers(folder: str) -> Iterator[tuple[Object, Object]]:
    """Yield every container, those of the webhook's included, with its pod."""
    for workload in workloads(folder):
        for container in containers_of(workload):
            yield container, template_of(workload)["spec"]


@in_each_folder
def test_a_container_has_no_right_it_does_not_need(folder: str) -> None:
    """As the "restricted" Pod Security Standard asks for, and a closed root."""
    for container, pod in containers(folder):
        context = container["securityContext"]
        assert context["runAsNonRoot"]
        assert context["runAsUser"] > 0
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"]["memory"]
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        for volume in pod.get("volumes", ()):
            assert volume.keys() - {"name"} <= {"configMap", "secret"}


@in_each_folder
def test_only_who_certifies_has_a_token_of_the_api(folder: str) -> None:
    for workload in workloads(folder):
        name = workload["metadata"]["name"]
        mounts = template_of(workload)["spec"]["automountServiceAccountToken"]
        assert mounts is (name == "sidecar-certify")


@in_each_folder
def test_our_image_is_of_this_version(folder: str) -> None:
    images = [container["image"] for container, _ in containers(folder)]
    images += [
        each["data"]["image"]
        for each in kinds(objects_of(folder), "ConfigMap")
        if "image" in each["data"]
    ]
    ours = [image for image in images if image.startswith("sidecar-316")]
    assert set(ours) <= {f"sidecar-316:{__version__}"}


def test_all_that_is_tested_here_is_there() -> None:
    """Else a loop over nothing would be content."""
    found: dict[str, set[Any]] = {}
    for folder in FOLDERS:
        for value in objects_of(folder):
            found.setdefault(value["kind"], set()).add(value["metadata"]["name"])
    assert found.keys() >= {
        "CronJob", "Job", "Deployment", "Service", "ConfigMap", "Secret", "Namespace",
        "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler", "Role",
        "ClusterRole", "RoleBinding", "ClusterRoleBinding", "ServiceAccount",
        "MutatingWebhookConfiguration", "PodMonitor", "Certificate", "Issuer",
    }  # fmt: skip
