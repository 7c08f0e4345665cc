"""The containers that an injection adds, as Kubernetes has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.kube.options import Options

# Of our own, so that no application has them by chance ("sidecar" is often taken).
SIDECAR = "sidecar-316"
RULES = "sidecar-316-iptables"
VOLUME = "sidecar-316-config"

USER_ID = 1337  # The rules of interception leave its traffic alone.
INBOUND_PORT = 15006
HEALTH_PORT = 15020
# What the sidecar binds; admin is on loopback, but a pod has one loopback.
PORTS = {15000: "admin", 15001: "outbound", INBOUND_PORT: "inbound", 15020: "health"}
PROMETHEUS = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(HEALTH_PORT),
    "prometheus.io/path": "/metrics",
}
_FOLDER = "/etc/sidecar"


def volume(options: Options) -> dict[str, Any]:
    """Return the volume with the configuration."""
    return {"name": VOLUME, "configMap": {"name": options.config_map}}


def sidecar(options: Options, environment: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the container of the sidecar, with these variables."""
    variables = {"env": environment} if environment else {}
    level = ["--log-level", options.log_level] if options.log_level else []
    always = {"restartPolicy": "Always"} if options.native else {}
    return {
        "name": SIDECAR,
        "image": options.image,
        **always,
        "args": ["run", "-c", f"{_FOLDER}/sidecar.yaml", *level],
        **variables,
        # Their names are long, for a Service finds a port of any container by name.
        "ports": [
            {"name": "sidecar-inbound", "containerPort": INBOUND_PORT},
            {"name": "sidecar-health", "containerPort": HEALTH_PORT},
        ],
        # What comes after a native sidecar starts when this has succeeded.
        "startupProbe": _probe("/healthz/started", period_s=1, failures=30),
        "readinessProbe": _probe("/healthz/ready", period_s=2, failures=2),
        "livenessProbe": _probe("/healthz/live", period_s=10, failures=3),
        "resources": _resources(options),
        "securityContext": {
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "runAsNonRoot": True,
            **_confined(),
        },
        "volumeMounts": [{"name": VOLUME, "mountPath": _FOLDER, "readOnly": True}],
    }


def rules(options: Options, excluded_inbound: Iterable[int]) -> dict[str, Any]:
    """Return the container that writes the rules of interception, and ends.

    It is root, for only root's capabilities survive the start of a program, and has no
    right of root but NET_ADMIN, to change rules. (NET_RAW and a lock file in /run are
    needs of the older iptables-legacy, which the image does not have.)
    """
    return {
        "name": RULES,
        "image": options.image,
        "args": ["iptables", "--apply", *_interception(options, excluded_inbound)],
        "resources": _resources(options),
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            **_confined("NET_ADMIN"),
        },
    }


def _interception(options: Options, excluded_inbound: Iterable[int]) -> list[str]:
    """Return the options of `sidecar iptables`, which refuses those without effect."""
    # A sidecar listens on IPv4 unless its file says [::], which is not known here: of
    # the other family nothing is led to where nobody listens.
    words = ["--family", "4"]
    words.append("--inbound" if options.intercept_inbound else "--no-inbound")
    lists: dict[str, Iterable[object]] = {}
    if options.intercept_inbound:
        lists["--exclude-inbound-ports"] = excluded_inbound
    if options.intercept_outbound:
        words.append("--outbound")
        lists["--exclude-outbound-ports"] = options.exclude_outbound_ports
        lists["--exclude-outbound-cidrs"] = options.exclude_outbound_cidrs
    for option, values in lists.items():
        if text := ",".join(str(value) for value in values):
            words += [option, text]
    return [*words, "--user", str(USER_ID)]


def _probe(path: str, *, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": HEALTH_PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    }


def _resources(options: Options) -> dict[str, Any]:
    limits = {"memory": options.memory_limit}
    if options.cpu_limit is not None:
        limits["cpu"] = options.cpu_limit
    requests = {"cpu": options.cpu_request, "memory": options.memory_request}
    return {"requests": requests, "limits": limits}


def _confined(*capabilities: str) -> dict[str, Any]:
    """Return what a container may not do; its root file system is closed."""
    kept = {"add": list(capabilities)} if capabilities else {}
    return {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], **kept},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
