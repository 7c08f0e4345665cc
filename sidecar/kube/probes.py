"""An application's probes, asked by the sidecar for the kubelet. Pure.

Where inbound connections are intercepted, a probe would be asked of the proxy: a TCP
one would succeed as long as that listens, an HTTP one could be refused for the proxy's
own reasons, and the kubelet restart an application that is well. So each becomes one
of the sidecar's health server, which is told the original and asks the application:

    httpGet :8080/healthz   -->   httpGet :15020/application/app/livenessProbe
    tcpSocket :8080         -->   httpGet :15020/application/app/readinessProbe

HTTPS is asked so, too, without verifying, as the kubelet does. gRPC is not: its ports
are left out of interception (`injection.py`), for what the proxy passes on it also
bounds. `exec` needs no connection. What asks the sidecar already stays, such as
`/healthz/application`. `restore` undoes it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sidecar.application_probes import PREFIX, VARIABLE
from sidecar.kube.options import InjectionError
from sidecar.kube.template import (
    PROBES,
    Template,
    containers_of,
    mapping,
    port_number,
    probe_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACTIONS = ("httpGet", "tcpSocket")
_SCHEMES = ("", "HTTP", "HTTPS")


def rewrite(spec: Template, port: int, *, native: bool) -> dict[str, Template]:
    """Let the kubelet ask `port` of the sidecar instead; return the originals.

    Args:
        spec: Of a pod, a copy of one's own: its probes are changed.
        port: Of the sidecar's health server.
        native: The sidecar is there before init containers are.

    Returns:
        What the sidecar is to ask, by "container/kind".
    """
    originals: dict[str, Template] = {}
    asked_ones = spec if native else {**spec, "initContainers": None}
    for container, kind, probe in _probes(asked_ones):
        action = next((key for key in _ACTIONS if key in probe), "")
        asked = mapping(probe.get(action))
        number = port_number(asked.get("port"), container)
        is_known = str(asked.get("scheme") or "").upper() in _SCHEMES
        if number in (None, port) or asked.get("host") or not is_known:
            continue
        name = probe_name(container, kind)
        original = {action: probe[action]}
        given_s = probe.get("timeoutSeconds")
        timeout_s = given_s if isinstance(given_s, int) and given_s > 0 else 1
        originals[name] = {**original, "number": number, "timeoutSeconds": timeout_s}
        asked_here = {"path": f"{PREFIX}{name}", "port": port}
        _replace(probe, action, {"httpGet": asked_here})
    return originals


def environment(originals: dict[str, Template]) -> list[Template]:
    """Return what tells the sidecar of them."""
    if not originals:
        return []
    text = json.dumps(originals, sort_keys=True, default=str)
    escaped = text.replace("$", "$$")  # Kubernetes expands $(NAME).
    return [{"name": VARIABLE, "value": escaped}]


def restore(spec: Template, sidecar: Template) -> None:
    """Put the originals back, as the sidecar's container has them.

    A probe that somebody has written anew since is theirs.

    Raises:
        InjectionError: They cannot be read.
    """
    variables = [mapping(item) for item in sidecar.get("env") or ()]
    texts = [item.get("value") for item in variables if item.get("name") == VARIABLE]
    if not texts:
        return
    originals = _read(texts[0])
    for container, kind, probe in _probes(spec):
        name = probe_name(container, kind)
        asked = mapping(probe.get("httpGet"))
        if asked.get("path") != f"{PREFIX}{name}" or name not in originals:
            continue
        original = mapping(originals[name])
        actions = {key: original[key] for key in _ACTIONS if key in original}
        _replace(probe, "httpGet", actions)


def _replace(probe: Template, key: str, by: Template) -> None:
    """Put something in the place of a key: the order of the others stays."""
    items = [
        pair
        for name, value in probe.items()
        for pair in (by.items() if name == key else ((name, value),))
    ]
    probe.clear()
    probe.update(items)


def _read(text: Any) -> Template:
    try:
        originals = json.loads(text.replace("$$", "$"))
    except (ValueError, AttributeError, RecursionError):
        originals = None
    if not isinstance(originals, dict):
        msg = f"{VARIABLE}: cannot be read; restore the probes of the pod by hand"
        raise InjectionError(msg)
    return originals


def _probes(spec: Template) -> Iterator[tuple[Template, str, Template]]:
    """Yield container, kind and probe, of those that have one."""
    for container in containers_of(spec):
        for kind in PROBES:
            probe = container.get(kind)
            if isinstance(probe, dict):
                yield container, kind, probe
