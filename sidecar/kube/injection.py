"""A pod template gets a sidecar, or loses it again. Pure: nothing given is changed.

    initContainers: [rules, sidecar, theirs...]   native
    initContainers: [theirs..., rules]            native: false
    containers:     [sidecar, theirs...]

The rules stand before a native sidecar, whose applications' own init containers then
have it already; without, init containers run before anything serves, so nothing may
be intercepted before they have ended. An annotation records what was added, so the
same again changes nothing, other options replace what was there, and `uninject` finds
the way back.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sidecar.kube import containers as ours
from sidecar.kube import probes
from sidecar.kube.options import PREFIX, RECORD, InjectionError
from sidecar.kube.template import (
    Template,
    annotations_of,
    check,
    containers_of,
    declared_ports,
    mapping,
    probed_ports,
)

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from sidecar.kube.options import Options

_CONTAINERS = frozenset((ours.SIDECAR, ours.RULES))
_LISTS = ("initContainers", "containers", "volumes")


@dataclass(frozen=True, slots=True)
class Injected:
    """What became of a template."""

    template: Template
    skipped: str = ""  # Why it has no sidecar, if it has none.
    warnings: tuple[str, ...] = ()


def is_injected(template: Template) -> bool:
    """Tell whether a template has its sidecar from here.

    Raises:
        InjectionError: It is no template.
    """
    check(template)
    names = {container.get("name") for container in containers_of(template["spec"])}
    return RECORD in annotations_of(template) and ours.SIDECAR in names


def inject(template: Template, options: Options) -> Injected:
    """Return a template with a sidecar.

    Args:
        template: `metadata` and `spec` of a pod; other keys are kept.
        options: Where the annotations of the pod say nothing else.

    Raises:
        InjectionError: It cannot have one, or an annotation is wrong.
    """
    bare = uninject(template)
    chosen = options.for_pod(annotations_of(bare))
    reason = _reason_to_skip(bare["spec"], chosen)
    if reason:
        return Injected(bare, skipped=reason)
    _check_room(bare["spec"], chosen)
    return _with_sidecar(bare, chosen)


def uninject(template: Template) -> Template:
    """Return a template without what `inject` added; one without is only copied.

    Raises:
        InjectionError: It is no template, or what was recorded cannot be read.
    """
    check(template)
    bare = copy.deepcopy(template)
    if RECORD not in annotations_of(bare):
        return bare
    annotations, spec = bare["metadata"]["annotations"], bare["spec"]
    for container in containers_of(spec):
        if container.get("name") == ours.SIDECAR:
            probes.restore(spec, container)
    for name in _recorded(annotations.pop(RECORD)):
        annotations.pop(name, None)
    for key in ("initContainers", "containers"):
        spec[key] = _without(spec.get(key), _CONTAINERS)
    spec["volumes"] = _without(spec.get("volumes"), {ours.VOLUME})
    _drop_empty(spec, _LISTS)
    _drop_empty(bare["metadata"], ("annotations",))
    _drop_empty(bare, ("metadata",))
    check(bare)  # A record may stand on a pod that has nothing else.
    return bare


def _without(items: Any, names: Iterable[str]) -> list[Template]:
    return [item for item in items or () if item.get("name") not in names]


def _drop_empty(parent: Template, keys: Iterable[str]) -> None:
    """Remove what means the same when it is not there."""
    for key in keys:
        if not parent[key]:
            del parent[key]


def _recorded(text: Any) -> list[str]:
    """Return the annotations that an injection added; never others than ours."""
    try:
        names = json.loads(text)["annotations"]
        return [name for name in names if name in ours.PROMETHEUS]
    except (ValueError, TypeError, KeyError, RecursionError):
        msg = f"{RECORD}: cannot be read; remove it, and what was injected, by hand"
        raise InjectionError(msg) from None


def _reason_to_skip(spec: Template, options: Options) -> str:
    """Return why this pod is better left alone; may be empty."""
    if not options.inject:
        return f"{PREFIX}inject is false"
    if spec.get("hostNetwork"):
        return "hostNetwork: its ports and rules would be those of the node"
    if mapping(spec.get("os")).get("name") == "windows":
        return "it runs on Windows"
    return ""


def _check_room(spec: Template, options: Options) -> None:
    """Refuse a pod in which the sidecar could not work, or would do harm."""
    out = f'rename it, or set {PREFIX}inject: "false"'
    for container in containers_of(spec):
        name = container.get("name")
        if name in _CONTAINERS:
            msg = f"a container is called {name} already: {out}"
            raise InjectionError(msg)
        for port in declared_ports(container):
            if port in ours.PORTS:
                msg = (
                    f"container {name} has port {port}, which the sidecar needs "
                    f'({ours.PORTS[port]}): move it, or set {PREFIX}inject: "false"'
                )
                raise InjectionError(msg)
    if any(volume.get("name") == ours.VOLUME for volume in spec.get("volumes") or ()):
        msg = f"a volume is called {ours.VOLUME} already: {out}"
        raise InjectionError(msg)
    if not options.native and spec.get("restartPolicy") in ("OnFailure", "Never"):
        msg = (
            f"{PREFIX}native is false, but restartPolicy is {spec['restartPolicy']}: "
            "the pod would never end beside a sidecar that is not native"
        )
        raise InjectionError(msg)
    if options.intercept_outbound:
        _check_users(spec)


def _check_users(spec: Template) -> None:
    """Refuse an application whose traffic the rules would take for the sidecar's."""
    of_pod = mapping(spec.get("securityContext")).get("runAsUser")
    for container in containers_of(spec):
        context = mapping(container.get("securityContext"))
        if context.get("runAsUser", of_pod) == ours.USER_ID:
            msg = (
                f"container {container.get('name')} runs as user {ours.USER_ID}, whose "
                "traffic is not intercepted: set another securityContext.runAsUser"
            )
            raise InjectionError(msg)


def _with_sidecar(bare: Template, options: Options) -> Injected:
    spec = bare["spec"]
    asked = {}
    if options.intercept_inbound and options.rewrite_probes:
        asked = probes.rewrite(spec, ours.HEALTH_PORT, native=options.native)
    excluded, warnings = _excluded_inbound(spec, options, asked)
    added, more = _annotations(annotations_of(bare))
    rules = [ours.rules(options, excluded)] if options.intercepts else []
    initial, running = spec.get("initContainers") or [], spec["containers"]
    sidecar = ours.sidecar(options, probes.environment(asked))
    if options.native:
        initial = [*rules, sidecar, *initial]
    else:
        initial, running = [*initial, *rules], [sidecar, *running]
    spec["initContainers"], spec["containers"] = initial, running
    spec["volumes"] = [*(spec.get("volumes") or ()), ours.volume(options)]
    _drop_empty(spec, _LISTS)
    metadata = bare["metadata"] = bare.get("metadata") or {}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **added}
    idle = tuple(
        f"{PREFIX}{name} has no effect without {PREFIX}{switch}"
        for name, switch in options.idle()
    )
    return Injected(bare, warnings=(*warnings, *more, *idle))


def _annotations(present: Template) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what to add: those for Prometheus, unless it is told something already."""
    has_own = any(name.startswith("prometheus.io/") for name in present)
    added = {} if has_own else dict(ours.PROMETHEUS)
    record = {"annotations": list(added)}
    warning = (
        "the prometheus.io annotations stay as they are; "
        f"the sidecar's metrics are on port {ours.HEALTH_PORT}"
    )
    return {**added, RECORD: json.dumps(record)}, (warning,) if has_own else ()


def _excluded_inbound(
    spec: Template, options: Options, asked: Container[str]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the ports that inbound interception leaves alone, and what to warn of.

    Those of lifecycle hooks, and of probes that the kubelet asks itself, see `probes`:
    through the proxy they would tell how the proxy is.

    Args:
        spec: Of the pod.
        options: Of the pod.
        asked: Names of the probes that the sidecar asks.
    """
    if not options.intercept_inbound:
        return (), ()
    probed: tuple[int, ...] = ()
    if not options.intercept_probe_ports:
        found = probed_ports(spec, without=asked)
        probed = tuple(port for port in found if port != ours.HEALTH_PORT)
    excluded = dict.fromkeys((*probed, *options.exclude_inbound_ports))
    served = {port for each in containers_of(spec) for port in declared_ports(each)}
    bypassed = sorted(served.intersection(probed) - {*options.exclude_inbound_ports})
    if not bypassed:
        return tuple(excluded), ()
    ports = ", ".join(str(port) for port in bypassed)
    warning = (
        f"not intercepted, because probes or hooks use it: port {ports}; give them a "
        f'port of their own, or see {PREFIX}intercept-probe-ports: "true"'
    )
    return tuple(excluded), (warning,)
