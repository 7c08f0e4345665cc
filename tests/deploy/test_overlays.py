"""What each part of k8s/ promises, beyond being valid."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from sidecar.settings.load import load_text
from tests.deploy.rendered import (
    INJECTION,
    K8S,
    ROOT,
    configurations,
    injected,
    kinds,
    needs_kubectl,
    objects_of,
    one,
    ports_of,
    selected,
    template_of,
)

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot
    from tests.deploy.rendered import Object

WEBHOOKS = ("base", "base/self-signed", "base/cert-manager", "base/webhook")
METRICS = (ROOT / "docs" / "operations.md").read_text("utf-8")

pytestmark = needs_kubectl


def test_the_base_is_the_webhook_with_its_own_certificates() -> None:
    assert objects_of("base") == objects_of("base/self-signed")


@pytest.mark.parametrize("folder", WEBHOOKS)
def test_the_api_server_finds_the_webhook(folder: str) -> None:
    objects = objects_of(folder)
    (configuration,) = kinds(objects, "MutatingWebhookConfiguration")
    (hook,) = configuration["webhooks"]
    place = hook["clientConfig"]["service"]
    service = one(objects, "Service", place["name"])
    assert place["namespace"] == service["metadata"]["namespace"]
    assert place["path"] == "/mutate"
    (port,) = service["spec"]["ports"]
    assert place["port"] == port["port"]
    webhook = one(objects, "Deployment", "sidecar-webhook")
    assert ports_of(webhook)[port["targetPort"]] == 8443
    assert hook["timeoutSeconds"] <= 10  # What the server waits for a body at most.


@pytest.mark.parametrize("folder", WEBHOOKS)
def test_the_webhook_does_not_wait_for_itself(folder: str) -> None:
    objects = objects_of(folder)
    (configuration,) = kinds(objects, "MutatingWebhookConfiguration")
    assert configuration["webhooks"][0]["namespaceSelector"]["matchLabels"] == INJECTION
    (namespace,) = kinds(objects, "Namespace")
    assert not namespace["metadata"]["labels"].keys() & INJECTION.keys()


@pytest.mark.parametrize("folder", WEBHOOKS)
def test_the_webhook_outlives_a_node(folder: str) -> None:
    webhook = one(objects_of(folder), "Deployment", "sidecar-webhook")
    assert webhook["spec"]["replicas"] == 2
    assert webhook["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    spec = template_of(webhook)["spec"]
    (spread,) = spec["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"] == webhook["spec"]["selector"]
    (container,) = spec["containers"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {
            "path": "/healthz/ready",
            "port": "health",
        }
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz/live"


@pytest.mark.parametrize("folder", WEBHOOKS)
def test_the_webhook_may_be_asked_and_asks_nobody(folder: str) -> None:
    policies = kinds(objects_of(folder), "NetworkPolicy")
    by_name = {each["metadata"]["name"]: each["spec"] for each in policies}
    assert by_name["nothing-else"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    reached, scraped = by_name["sidecar-webhook"]["ingress"]
    assert reached == {"ports": [{"protocol": "TCP", "port": 8443}]}
    assert scraped["from"]
    assert "egress" not in by_name["sidecar-webhook"]


def test_a_pod_waits_for_a_certificate_and_does_not_fail_for_want_of_it() -> None:
    """The kubelet mounts no Secret that lacks a key which is named."""
    objects = objects_of("base")
    spec = template_of(one(objects, "Deployment", "sidecar-webhook"))["spec"]
    (volume,) = spec["volumes"]
    keys = [item["key"] for item in volume["secret"]["items"]]
    assert keys == ["tls.crt", "tls.key"]
    assert "data" not in one(objects, "Secret", volume["secret"]["secretName"])


def test_each_night_is_as_the_first_time() -> None:
    job, cron_job = (
        one(objects_of("base"), kind, "sidecar-certify") for kind in ("Job", "CronJob")
    )
    assert template_of(job) == template_of(cron_job)
    assert cron_job["spec"]["concurrencyPolicy"] == "Forbid"
    assert job["spec"]["ttlSecondsAfterFinished"] <= 600


def test_cert_manager_makes_what_the_webhook_is_called_and_writes_its_authority() -> (
    None
):
    objects = objects_of("base/cert-manager")
    (configuration,) = kinds(objects, "MutatingWebhookConfiguration")
    place = configuration["webhooks"][0]["clientConfig"]["service"]
    certificate = one(objects, "Certificate", "sidecar-webhook")
    name = f"{place['name']}.{place['namespace']}.svc"
    assert certificate["spec"]["dnsNames"] == [name]
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": "sidecar-316/sidecar-webhook"
    }
    for each in kinds(objects, "Certificate"):
        issuer = one(objects, "Issuer", each["spec"]["issuerRef"]["name"])
        assert issuer["metadata"]["namespace"] == each["metadata"]["namespace"]
    authority = one(objects, "Issuer", "sidecar-authority")["spec"]["ca"]["secretName"]
    signed = one(objects, "Certificate", "sidecar-authority")["spec"]
    assert (signed["secretName"], signed["isCA"]) == (authority, True)


def test_the_example_is_what_the_webhook_makes_a_sidecar_of() -> None:
    objects = objects_of("overlays/example")
    (namespace,) = kinds(objects, "Namespace")
    assert INJECTION.items() <= namespace["metadata"]["labels"].items()
    bare = one(objects, "Deployment", "orders")
    assert "initContainers" not in template_of(bare)["spec"]
    made = one(injected(objects), "Deployment", "orders")
    (sidecar,) = template_of(made)["spec"]["initContainers"]
    assert sidecar["name"] == "sidecar-316"


def configuration_of(folder: str, name: str) -> Snapshot:
    return load_text(dict(configurations(objects_of(folder)))[name]).snapshot


@pytest.mark.parametrize(
    ("folder", "workload", "config_map"),
    [
        ("overlays/example", "orders", "sidecar-316"),
        ("overlays/demo", "shop", "shop-sidecar"),
        ("overlays/demo", "client", "client-sidecar"),
    ],
)
def test_the_configuration_fits_what_is_injected(
    folder: str, workload: str, config_map: str
) -> None:
    made = one(injected(objects_of(folder)), "Deployment", workload)
    ports, snapshot = ports_of(made), configuration_of(folder, config_map)
    inbound = snapshot.listeners[0]
    assert (inbound.host, inbound.port) == ("0.0.0.0", ports["sidecar-inbound"])
    assert snapshot.health == ("0.0.0.0", ports["sidecar-health"])
    assert snapshot.admin[0] == "127.0.0.1"
    pod = template_of(made)["spec"]
    (volume,) = (v for v in pod["volumes"] if v["name"] == "sidecar-316-config")
    assert volume["configMap"]["name"] == config_map


@pytest.mark.parametrize(
    ("folder", "workload", "config_map", "word"),
    [
        ("overlays/example", "orders", "sidecar-316", "-listen={}"),
        ("overlays/demo", "shop", "shop-sidecar", "{}"),
    ],
)
def test_the_application_listens_where_its_sidecar_sends(
    folder: str, workload: str, config_map: str, word: str
) -> None:
    (endpoint,) = configuration_of(folder, config_map).upstreams["app"].endpoints
    pod = template_of(one(objects_of(folder), "Deployment", workload))["spec"]
    assert word.format(endpoint) in pod["containers"][0]["args"]
    assert endpoint.port == pod["containers"][0]["ports"][0]["containerPort"]


def test_the_client_calls_its_sidecar_and_that_calls_the_shop() -> None:
    objects = objects_of("overlays/demo")
    snapshot = configuration_of("overlays/demo", "client-sidecar")
    (outbound,) = (a for a in snapshot.listeners if a.host == "127.0.0.1")
    pod = template_of(one(objects, "Deployment", "client"))["spec"]
    assert pod["containers"][0]["args"] == [
        "client",
        f"http://{outbound.host}:{outbound.port}",
    ]
    (endpoint,) = snapshot.upstreams["shop"].endpoints
    assert str(endpoint) == address_of(one(objects, "Service", "shop"))


def address_of(service: Object) -> str:
    name, space = (service["metadata"][key] for key in ("name", "namespace"))
    return f"{name}.{space}.svc:{service['spec']['ports'][0]['port']}"


def test_spans_go_to_the_collector_which_has_no_sidecar() -> None:
    objects = objects_of("overlays/demo")
    address = address_of(one(objects, "Service", "otel-collector"))
    for _, text in configurations(objects):
        tracing = yaml.safe_load(text)["telemetry"]["tracing"]
        assert tracing["enabled"]
        assert tracing["endpoint"] == f"http://{address}"
    made = one(injected(objects), "Deployment", "otel-collector")
    assert made == one(objects, "Deployment", "otel-collector")
    data = one(objects, "ConfigMap", "otel-collector")["data"]
    (file,) = data
    (container,) = template_of(made)["spec"]["containers"]
    assert container["args"] == [f"--config=/conf/{file}"]
    told = yaml.safe_load(data[file])["receivers"]["otlp"]["protocols"]["grpc"]
    assert told["endpoint"].rpartition(":")[2] == address.rpartition(":")[2]


def test_the_collector_uses_what_it_defines() -> None:
    text = one(objects_of("overlays/demo"), "ConfigMap", "otel-collector")["data"]
    value = yaml.safe_load(text["collector-config.yaml"])
    for pipeline in value["service"]["pipelines"].values():
        for part, names in pipeline.items():
            assert set(names) <= value[part].keys()


def test_pods_are_as_many_as_requests_in_flight_need() -> None:
    """By a metric that the sidecar exports, which nobody else sets back."""
    objects = objects_of("overlays/autoscaling")
    autoscaler = one(objects, "HorizontalPodAutoscaler", "orders")
    target = autoscaler["spec"]["scaleTargetRef"]
    workload = one(objects, target["kind"], target["name"])
    assert workload["apiVersion"] == target["apiVersion"]
    assert workload["metadata"]["namespace"] == autoscaler["metadata"]["namespace"]
    assert "replicas" not in workload["spec"]
    (metric,) = autoscaler["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    assert re.search(rf"^\| `{name}` \| gauge \|", METRICS, re.MULTILINE)


def test_the_monitors_find_the_sidecars_and_the_webhook() -> None:
    monitors = objects_of("overlays/pod-monitor")
    (sidecars,) = one(monitors, "PodMonitor", "sidecar-316")["spec"][
        "podMetricsEndpoints"
    ]
    made = one(injected(objects_of("overlays/example")), "Deployment", "orders")
    assert ports_of(made)[sidecars["port"]] == 15020
    spec = one(monitors, "PodMonitor", "sidecar-webhook")["spec"]
    (space,) = spec["namespaceSelector"]["matchNames"]
    (webhook,) = selected(objects_of("base"), space, spec["selector"])
    assert ports_of(webhook)[spec["podMetricsEndpoints"][0]["port"]] == 15020


def test_rules_and_dashboard_are_config_maps_that_are_found_by_label() -> None:
    rules, dashboard = (
        one(objects_of("overlays/observability"), "ConfigMap", name)
        for name in ("sidecar-rules", "sidecar-dashboard")
    )
    assert rules["metadata"]["labels"] == {"prometheus_rule": "1"}
    assert yaml.safe_load(rules["data"]["rules.yaml"])["groups"]
    assert dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert json.loads(dashboard["data"]["dashboard.json"])["panels"]


def test_the_example_and_the_one_by_hand_are_one_application() -> None:
    by_hand = one(objects_of("overlays/by-hand"), "Deployment", "orders")
    example = one(objects_of("overlays/example"), "Deployment", "orders")
    assert (
        template_of(by_hand)["spec"]["containers"]
        == template_of(example)["spec"]["containers"]
    )
    (text,) = (text for _, text in configurations(objects_of("overlays/by-hand")))
    other = (K8S / "overlays" / "example" / "sidecar.yaml").read_text("utf-8")
    assert yaml.safe_load(text) == yaml.safe_load(other)
