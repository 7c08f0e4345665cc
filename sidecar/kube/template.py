"""What is read of a pod template: its lists, and the ports that its probes ask.

The API server checks a template by itself. Here only that is checked which would make
an injection fail or do harm; of anything deeper, what has not the expected form counts
as not there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sidecar.kube.options import InjectionError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

Template = dict[str, Any]

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_HOOKS = ("postStart", "preStop")
_ACTIONS = ("httpGet", "tcpSocket", "grpc")
_MAX_PORT = 65535


def check(template: Any) -> None:
    """Refuse what is not the shape of a pod template.

    Raises:
        InjectionError: Says where it is not.
    """
    where = "the pod"
    metadata = _mapping_at(template, "metadata", where)
    annotations = _mapping_at(metadata, "annotations", "metadata")
    if any(not isinstance(name, str) for name in annotations):
        msg = "an annotation's name is not a string; write it in quotes"
        raise InjectionError(msg)
    spec = _mapping_at(template, "spec", where)
    for key in ("initContainers", "containers", "volumes"):
        items = spec.get(key)
        is_list = items is None or isinstance(items, list)
        if not is_list or not all(_has_name(item) for item in items or ()):
            msg = f"spec.{key} is not a list of mappings, each with a name"
            raise InjectionError(msg)
    if not spec.get("containers"):
        msg = "spec.containers is missing or empty: nothing to stand beside"
        raise InjectionError(msg)


def _mapping_at(parent: Any, key: str, where: str) -> Template:
    """Return a mapping below another; an absent one is empty."""
    if not isinstance(parent, dict):
        msg = f"{where} is not a mapping"
        raise InjectionError(msg)
    value = parent.get(key)
    if value is not None and not isinstance(value, dict):
        msg = f"{key} of {where} is not a mapping"
        raise InjectionError(msg)
    return value or {}


def _has_name(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def annotations_of(template: Template) -> Template:
    """Return the annotations; not to be changed, it may be a stand-in."""
    return mapping(mapping(template.get("metadata")).get("annotations"))


def containers_of(spec: Template) -> Iterator[Template]:
    """Yield every container, those that initialise first."""
    for key in ("initContainers", "containers"):
        yield from spec.get(key) or ()


def mapping(value: Any) -> Template:
    """Return a mapping, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def declared_ports(container: Template) -> Iterator[int]:
    """Yield the TCP ports that a container says it listens on."""
    for port in _ports_of(container):
        number = port.get("containerPort")
        if isinstance(number, int) and port.get("protocol", "TCP") == "TCP":
            yield number


def probe_name(container: Template, kind: str) -> str:
    """Return what a probe is called: "container/kind"."""
    return f"{container['name']}/{kind}"


def probed_ports(spec: Template, without: Container[str]) -> tuple[int, ...]:
    """Return the ports that the kubelet connects to by itself, each once.

    Those of lifecycle hooks and of probes; a named one is of the same container. An
    `exec` connects to nothing, and with a `host` it is another pod's matter.

    Args:
        spec: Of a pod.
        without: Names of probes that are not asked there.
    """
    ports: dict[int, None] = {}
    for container in containers_of(spec):
        for action in _actions_of(container, without):
            port = port_number(action.get("port"), container)
            if port is not None and not action.get("host"):
                ports[port] = None
    return tuple(ports)


def _actions_of(container: Template, without: Container[str]) -> Iterator[Template]:
    lifecycle = mapping(container.get("lifecycle"))
    handlers = [lifecycle.get(key) for key in _HOOKS]
    handlers += [
        container.get(kind)
        for kind in PROBES
        if probe_name(container, kind) not in without
    ]
    for handler in handlers:
        for key in _ACTIONS:
            yield mapping(mapping(handler).get(key))


def port_number(port: Any, container: Template) -> int | None:
    """Return the number of a port as the kubelet finds it: by name, or as it is."""
    found = port
    for declared in _ports_of(container):
        if port is not None and declared.get("name") == port:
            found = declared.get("containerPort")
            break
    else:
        if isinstance(port, str) and re.fullmatch(r"[0-9]{1,5}", port):
            found = int(port)
    return found if isinstance(found, int) and 0 < found <= _MAX_PORT else None


def _ports_of(container: Template) -> list[Template]:
    ports = container.get("ports")
    return [mapping(port) for port in ports] if isinstance(ports, list) else []
