"""The routes of a file as HTTPRoutes, and what of them no HTTPRoute can say.

Taken out of the file and replaced by these objects, `routes` and the upstreams that
stand for Services route as before: what `adopt.py` makes of the objects is the same.
All else (listeners, `defaults`, upstreams named as their backends) stays in the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.settings.adopt import upstream_name
from sidecar.settings.export_rule import Rule, Unsaid, keys_beyond, rule_of
from sidecar.settings.mesh import Attachment, Mesh, Service, UnclearError, mesh_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.models import FileSettings, RouteSettings
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_, Source

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_SERVICE = r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"({_SERVICE})(?:\.({_LABEL})(?:\.svc(?:\.cluster\.local)?)?)?")
_ADDRESS = re.compile(rf"({_SERVICE})\.({_LABEL})\.svc(?:\.cluster\.local)?\.?")
_UPSTREAM = re.compile(rf"({_LABEL})\.({_SERVICE})\.([0-9]{{1,5}})")
_APPLICATION = re.compile(r"app-([0-9]{1,5})")
_LOOPBACK = ("127.0.0.1", "localhost")
_MAX_RULES, _MAX_MATCHES = 16, 128  # Of one HTTPRoute.


@dataclass(slots=True)
class Export:
    """Objects, and what is not in them."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    unsaid: list[Problem] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # Routes, by their names.


@dataclass(frozen=True, slots=True)
class _Attached:
    """A rule, and the Services that it is of."""

    parents: tuple[Service, ...]
    rule: Rule


class _Exporter:
    """What one export is made from."""

    def __init__(self, settings: FileSettings, source: Source, own: Service) -> None:
        self.settings = settings
        self.source = source
        self.own = own
        self.unsaid: list[Problem] = []

    def run(self) -> Export:
        """Return the objects."""
        routes = self.settings.routes
        parents = {index: self._parents(route) for index, route in enumerate(routes)}
        mesh = self._mesh([one for each in parents.values() for one in each])
        attached, left_out = [], []
        for index, route in enumerate(routes):
            at = ("routes", index)
            rule = self._rule(at, route)
            problem = self._host_problem(route, parents[index], mesh)
            if problem:
                self._tell((*at, "hosts"), *problem)
            if problem or rule is None:
                left_out.append(route.name)
            else:
                attached.append(_Attached(tuple(parents[index]), rule))
        unsaid = list(dict.fromkeys(self.unsaid))
        return Export(list(_objects(attached, self.own)), unsaid, left_out)

    def _tell(self, path: Path_, message: str, hint: str = "") -> None:
        self.unsaid.append(self.source.problem(path, message, hint))

    def _parents(self, route: RouteSettings) -> list[Service]:
        """Return the Services that a route is of; none if they are not to be told."""
        if route.listener == "inbound":
            return [self.own]
        found = [_HOST.fullmatch(host.lower()) for host in route.hosts]
        services = [
            Service(one[2] or self.own.namespace, one[1]) for one in found if one
        ]
        return list(dict.fromkeys(services)) if all(found) else []

    def _mesh(self, parents: list[Service]) -> Mesh | None:
        """Return the mesh as it will be seen when the objects are read again."""
        home = self.own.namespace
        attachments = [Attachment(home, parent, None) for parent in parents]
        is_said = "service" in self.settings.model_fields_set
        try:
            return mesh_of(
                attachments,
                self.settings.service if is_said else None,
                has_outbound=self.settings.outbound is not None,
            )
        except UnclearError as error:
            self._tell(("service",), error.message, error.hint)
            return None

    def _host_problem(
        self, route: RouteSettings, parents: list[Service], mesh: Mesh | None
    ) -> tuple[str, str] | None:
        if route.listener == "inbound":
            message = "is not said: a route of the own Service takes every host"
            return (message, "match the header Host") if route.hosts else None
        if not parents:
            return "is not said: these are not all names of Services", ""
        if self.own in parents:
            return "is not said: routes of the own Service are inbound", ""
        if mesh is None:
            return None  # It was told.
        names = [name for parent in parents for name in mesh.hosts(parent)]
        if set(names) == {host.lower() for host in route.hosts}:
            return None
        hint = f"all names of {', '.join(map(str, parents))}: {', '.join(names)}"
        return "is not said: an HTTPRoute takes all names of a Service", hint

    def _rule(self, at: Path_, route: RouteSettings) -> Rule | None:
        unsaid: list[Unsaid] = []
        rule = rule_of(route, unsaid)
        for path, message, hint in unsaid:
            self._tell((*at, *path), message, hint)
        backend = self._backend(route)
        if backend is None:
            return None
        reference: dict[str, Any] = {"group": "", "kind": "Service"}
        service, port = backend
        reference["name"] = service.name
        if service.namespace != self.own.namespace:
            reference["namespace"] = service.namespace
        rule.data["backendRefs"] = [{**reference, "port": port}]
        return rule

    def _backend(self, route: RouteSettings) -> tuple[Service, int] | None:
        """Return the Service and port that stand for an upstream."""
        name, is_inbound = route.upstream, route.listener == "inbound"
        upstream = self.settings.upstreams[name]
        if is_inbound and (found := _APPLICATION.fullmatch(name)):
            return self.own, int(found[1])
        if found := _UPSTREAM.fullmatch(name):
            service = Service(found[1], found[2])
            if not (is_inbound and service == self.own):
                return service, int(found[3])
        at = ("upstreams", name)
        address = upstream.endpoints[0] if len(upstream.endpoints) == 1 else None
        found = _ADDRESS.fullmatch(address.host) if address else None
        is_local = is_inbound and address is not None and address.host in _LOOPBACK
        hint = "an upstream named NAMESPACE.SERVICE.PORT, as its backend, is kept"
        if is_local and address:
            hint = f"an upstream named app-{address.port} is kept"
        for key in keys_beyond(upstream, frozenset(("endpoints",))):
            self._tell((*at, key), "is not said", hint)
        if address is None or not (is_local or found):
            message = "is not said: a backend is one Service"
            self._tell((*at, "endpoints"), message, hint)
            return None
        service = Service(found[2], found[1]) if found else self.own
        return self._unless_taken(at, service, address.port, is_local=not found)

    def _unless_taken(
        self, at: Path_, service: Service, port: int, *, is_local: bool
    ) -> tuple[Service, int] | None:
        name = f"app-{port}" if is_local else upstream_name(service, port)
        if name in self.settings.upstreams:
            message = f"is not said: another upstream has its name there, {name!r}"
            self._tell(at, message)
            return None
        return service, port


def exported(
    settings: FileSettings, source: Source, namespace: str | None = None
) -> Export:
    """Return the routes of a configuration as HTTPRoutes.

    Args:
        settings: The configuration.
        source: What it was made of.
        namespace: Where the sidecar is, if `service` does not say it.

    Raises:
        ValueError: `service` and `namespace` say different places, or no Service.
    """
    name, _, place = settings.service.partition(".")
    if place and namespace not in (None, place):
        msg = f"service says namespace {place!r}, not {namespace!r}"
        raise ValueError(msg)
    own = Service(place or namespace or "default", name)
    if not (re.fullmatch(_SERVICE, own.name) and re.fullmatch(_LABEL, own.namespace)):
        msg = f"{own} is not the name of a Service: lower case letters, digits and '-'"
        raise ValueError(msg)
    return _Exporter(settings, source, own).run()


def _objects(attached: list[_Attached], own: Service) -> Iterator[dict[str, Any]]:
    """Yield objects that hold the rules in their order, as full as they may be."""
    groups: list[list[_Attached]] = []
    for one in attached:
        group = groups[-1] if groups else []
        matches = sum(each.rule.matches for each in group) + one.rule.matches
        is_full = len(group) >= _MAX_RULES or matches > _MAX_MATCHES
        if not group or group[0].parents != one.parents or is_full:
            groups.append([one])
        else:
            group.append(one)
    width = len(str(len(groups)))
    for number, group in enumerate(groups):
        # Equals are decided by these names, so they are in the order of the file.
        yield {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {
                "name": f"{own.name}-{number:0{width}}",
                "namespace": own.namespace,
            },
            "spec": {
                "parentRefs": [_parent(one, own) for one in group[0].parents],
                "rules": [one.rule.data for one in group],
            },
        }


def _parent(parent: Service, own: Service) -> dict[str, str]:
    reference = {"group": "", "kind": "Service", "name": parent.name}
    if parent.namespace != own.namespace:
        reference["namespace"] = parent.namespace
    return reference
