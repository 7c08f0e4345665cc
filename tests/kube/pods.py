"""Pods, plain ones and odd ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from sidecar.kube.options import Options

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Pod = dict[str, Any]


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> Pod:
    """Return a pod template with one container, and what else is given."""
    spec = {"containers": [{"name": "app", "image": "app:1"}], **spec}
    return {"metadata": {"annotations": annotations or {}}, "spec": spec}


def named(pod: Pod, name: str) -> Pod:
    """Return the one container of this name."""
    spec = pod["spec"]
    every = [*spec.get("initContainers", ()), *spec["containers"]]
    (found,) = [container for container in every if container["name"] == name]
    assert isinstance(found, dict)
    return found


def names(pod: Pod, key: str) -> list[str]:
    return [item["name"] for item in pod["spec"].get(key) or ()]


def tidy(pod: Pod) -> Pod:
    """Return a pod without what is empty at its top: it means the same as nothing."""
    kept = {
        key: value
        for key, value in pod["spec"].items()
        if value or key not in ("initContainers", "volumes")
    }
    metadata = {k: v for k, v in (pod.get("metadata") or {}).items() if v}
    rest = {key: value for key, value in pod.items() if key != "metadata"}
    return {**rest, **({"metadata": metadata} if metadata else {}), "spec": kept}


# The names are often ours, or nearly so.
_names = st.sampled_from(
    ["app", "sidecar", "sidecar-316", "sidecar-316-iptables", "sidecar-316-config", "x"]
)
_ports = st.integers(1, 65535) | st.sampled_from([15000, 15001, 15006, 15020])
_contexts = st.fixed_dictionaries(
    {},
    optional={
        "runAsUser": st.sampled_from([0, 1000, 1337]),
        "runAsNonRoot": st.booleans(),
        "capabilities": st.just({"add": ["SYS_PTRACE"]}),
    },
)
_probes = st.fixed_dictionaries(
    {},
    optional={
        "httpGet": st.fixed_dictionaries(
            {"port": _ports | st.sampled_from(["http", "none"])},
            optional={"host": st.just("other.example")},
        ),
        "tcpSocket": st.fixed_dictionaries({"port": _ports}),
        "exec": st.just({"command": ["true"]}),
    },
)


def _items(item: SearchStrategy[Pod]) -> SearchStrategy[list[Pod]]:
    return st.lists(item, max_size=3, unique_by=lambda each: str(each["name"]))


_containers = st.fixed_dictionaries(
    {"name": _names, "image": st.just("app:1")},
    optional={
        "ports": st.none()
        | st.lists(
            st.fixed_dictionaries(
                {"containerPort": _ports},
                optional={
                    "name": st.just("http"),
                    "protocol": st.sampled_from(["TCP", "UDP"]),
                },
            ),
            max_size=2,
        ),
        "readinessProbe": _probes,
        "livenessProbe": st.none() | _probes,
        "lifecycle": st.fixed_dictionaries({"preStop": _probes}),
        "securityContext": st.none() | _contexts,
    },
)
_annotations = st.dictionaries(
    st.sampled_from(
        ["team", "prometheus.io/port", "prometheus.io/scrape", "sidecar.316/inject",
         "sidecar.316/native", "sidecar.316/intercept-inbound",
         "sidecar.316/intercept-outbound"]
    ),
    st.sampled_from(["true", "false"]),
)  # fmt: skip
_specs = st.fixed_dictionaries(
    {"containers": _items(_containers).filter(bool)},
    optional={
        "initContainers": st.none() | _items(_containers),
        "volumes": st.none()
        | _items(st.fixed_dictionaries({"name": _names, "emptyDir": st.just({})})),
        "hostNetwork": st.booleans(),
        "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never"]),
        "securityContext": st.none() | _contexts,
        "os": st.sampled_from([{"name": "linux"}, {"name": "windows"}]),
    },
)
PODS: SearchStrategy[Pod] = st.fixed_dictionaries(
    {"spec": _specs},
    optional={
        "metadata": st.none()
        | st.fixed_dictionaries(
            {},
            optional={"annotations": st.none() | _annotations, "labels": st.just({})},
        ),
        "status": st.just({}),
    },
)
OPTIONS: SearchStrategy[Options] = st.builds(
    Options,
    image=st.sampled_from(["sidecar-316:1", "sidecar-316:2"]),
    intercept_inbound=st.booleans(),
    intercept_outbound=st.booleans(),
    rewrite_probes=st.booleans(),
    intercept_probe_ports=st.booleans(),
    exclude_inbound_ports=st.sampled_from([(), (22, 8081)]),
    exclude_outbound_cidrs=st.sampled_from([(), ("10.0.0.0/8",)]),
    cpu_limit=st.sampled_from([None, "1"]),
    log_level=st.sampled_from([None, "debug"]),
    native=st.booleans(),
)
