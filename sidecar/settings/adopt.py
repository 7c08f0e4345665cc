"""HTTPRoutes as routes and upstreams of the settings.

    rule             a route; its name is NAMESPACE.ROUTE.RULE, or the rule's number
    backendRef       an upstream, NAMESPACE.SERVICE.PORT, at the Service's DNS name
      own Service    app-PORT, the application beside this sidecar: 127.0.0.1:PORT

An upstream of that name in the settings stands: so endpoints, TLS, pool and discovery
of a backend are said there. Equals are decided by age, then by name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sidecar.settings.mesh import CLUSTER, Mesh, Service, UnclearError, mesh_of
from sidecar.settings.objects import RouteObject, read_objects
from sidecar.settings.source import Source
from sidecar.settings.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.documents import Place
    from sidecar.settings.httproute import BackendRef, Rule
    from sidecar.settings.mistakes import Part
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_

_MAX_NAME = 63
_DIGEST = 8
_BACKOFF_GROWTH = 10  # As 25ms to 250ms.
# What has another name in a route of the settings.
_RENAMED: tuple[tuple[Path_, Path_], ...] = (
    (("backendRefs",), ("upstream",)),
    (("timeouts", "backendRequest"), ("timeouts", "per_try")),
    (("retry", "attempts"), ("retry", "max_retries")),
    (("retry", "backoff"), ("retry", "backoff", "base")),
)


@dataclass(slots=True)
class _Adoption:
    """What the objects come to, as it is put together."""

    mesh: Mesh
    routes: list[dict[str, Any]] = field(default_factory=list)
    upstreams: dict[str, Any] = field(default_factory=dict)
    # Of each document: what is written there, and where it is now.
    moved: dict[int, dict[Path_, list[Path_]]] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)

    def move(self, part: Part, path: Path_, target: Path_) -> None:
        document = id(part.source)
        self.sources[document] = part.source
        moves = self.moved.setdefault(document, {})
        moves.setdefault((*part.at, *path), []).append(target)


def adopted(settings: Source, places: list[Place], problems: list[Problem]) -> Source:
    """Return settings with the routes of objects after their own.

    Args:
        settings: A mapping, perhaps an empty one.
        places: The objects.
        problems: What is wrong already.
    """
    found = read_objects(places, problems)
    attachments = [one for each in found for one in each.attachments]
    data = dict(settings.data)
    said = data.get("service")
    try:
        mesh = mesh_of(
            attachments,
            said if isinstance(said, str) else None,
            has_outbound=data.get("outbound") is not None,
        )
    except UnclearError as error:
        if not problems:  # Else the object that would make it clear may be missing.
            problems.append(settings.problem(("service",), error.message, error.hint))
        mesh, found = Mesh(None, None, ()), []
    adoption = _Adoption(mesh)
    warnings: list[Problem] = []
    first = len(data["routes"]) if isinstance(data.get("routes"), list) else 0
    for one in found:
        problems += _port_problems(one, mesh)
        warnings += _warnings(one, mesh)
        for number, rule in enumerate(one.route.spec.rules):
            _add_rule(adoption, one, number, rule, first)
    if mesh.own is not None and said is None:
        data["service"] = mesh.own.name
    data["routes"] = _extended(data.get("routes"), adoption.routes)
    data["upstreams"] = _completed(data.get("upstreams"), adoption.upstreams)
    return _replaced(settings, data, problems, warnings, adoption)


def _port_problems(one: RouteObject, mesh: Mesh) -> Iterator[Problem]:
    for index, attached in enumerate(one.attachments):
        ports = mesh.ports(attached.parent)
        if not mesh.why_not(attached) and len(ports) > 1:
            at = ("spec", "parentRefs", index)
            message = (
                f"routes of {attached.parent} name different ports: which was asked"
                " for is not to be seen here"
            )
            yield one.part.problem(at, message, "name one port, or none")


def _warnings(one: RouteObject, mesh: Mesh) -> Iterator[Problem]:
    for index, attached in enumerate(one.attachments):
        at = ("spec", "parentRefs", index)
        if reason := mesh.why_not(attached):
            yield one.part.problem(at, f"is left out: it {reason}")
            continue
        if attached.port is not None:
            message = f"requests to other ports of {attached.parent} are routed alike"
            yield one.part.problem((*at, "port"), message)
        if attached.parent != mesh.own and not mesh.is_short(attached.parent):
            if mesh.home is not None:
                continue  # Nobody there would mean this one.
            message = f"{attached.parent.name!r} alone is several Services: no route"
            hint = "say where this sidecar is: service: NAME.NAMESPACE"
            yield one.part.problem((*at, "name"), message, hint)


def _add_rule(
    adoption: _Adoption, one: RouteObject, number: int, rule: Rule, first: int
) -> None:
    """Add a rule's route to each side that it holds for."""
    backend = next((ref for ref in rule.backend_refs if ref.weight), None)
    if backend is None:
        return  # It was told.
    sides = _sides(adoption.mesh, one)
    for listener, hosts in sides.items():
        suffix = "outbound" if len(sides) > 1 and listener == "outbound" else ""
        route = _route(one, number, rule, suffix)
        upstream = _add_upstream(adoption, one, backend, listener)
        route |= {"listener": listener, "hosts": hosts, "upstream": upstream}
        at = ("routes", first + len(adoption.routes))
        adoption.routes.append(route)
        for written, read in _moves(number, len(rule.matches)):
            adoption.move(one.part, written, (*at, *read))


def _sides(mesh: Mesh, one: RouteObject) -> dict[str, list[str]]:
    """Return the listeners that a route holds for, each with the hosts of it."""
    parents = [each.parent for each in one.attachments if not mesh.why_not(each)]
    others = dict.fromkeys(parent for parent in parents if parent != mesh.own)
    sides: dict[str, list[str]] = {"inbound": []} if mesh.own in parents else {}
    if others:
        sides["outbound"] = [host for parent in others for host in mesh.hosts(parent)]
    return sides


def _moves(number: int, matches: int) -> Iterator[tuple[Path_, Path_]]:
    """Yield where each part of a rule is written, and where in its route it is."""
    rule = ("spec", "rules", number)
    yield rule, ()
    for key in ("listener", "hosts"):
        yield ("spec", "parentRefs"), (key,)
    for written, read in _RENAMED:
        yield (*rule, *written), read
    for index in range(matches):
        match = ("matches", index)
        yield (*rule, *match, "queryParams"), (*match, "query")


def _route(one: RouteObject, number: int, rule: Rule, suffix: str) -> dict[str, Any]:
    data = one.part.data["spec"]["rules"][number]
    name = rule.name or str(number)
    words = [one.namespace, one.route.metadata.name, name, suffix]
    route: dict[str, Any] = {"name": fitting_name(*filter(None, words))}
    # These have the keys of the Gateway API in the settings, too.
    route |= {key: data[key] for key in ("matches", "filters") if data.get(key)}
    timeouts, per_try_s = _timeouts(rule)
    route["timeouts"] = timeouts
    if rule.retry is not None:
        route["retry"] = _retry(rule, has_per_try=bool(per_try_s))
    return route


def _timeouts(rule: Rule) -> tuple[dict[str, str], float | None]:
    """Return the limits as the settings write them, and that of one try."""
    request_s, per_try_s = rule.timeouts.request, rule.timeouts.backend_request
    if per_try_s is not None and per_try_s == request_s:
        per_try_s = 0.0  # The request's own limit ends the try.
    given = {"request": request_s, "per_try": per_try_s}
    shown = {key: format_duration(s) for key, s in given.items() if s is not None}
    return shown, per_try_s


def _retry(rule: Rule, *, has_per_try: bool) -> dict[str, Any]:
    given = rule.retry
    assert given is not None  # noqa: S101 - for the type
    if given.attempts == 0:
        return {"preset": "off"}
    retry: dict[str, Any] = {"preset": "safe", "codes": list(given.codes)}
    if has_per_try:
        retry["on"] = ["per-try-timeout"]
    if given.attempts is not None:
        retry["max_retries"] = given.attempts
    if given.backoff is not None:
        base, most = given.backoff, given.backoff * _BACKOFF_GROWTH
        retry["backoff"] = {"base": format_duration(base), "max": format_duration(most)}
    return retry


def _add_upstream(
    adoption: _Adoption, one: RouteObject, backend: BackendRef, listener: str
) -> str:
    """Add the upstream of a backend, and return its name."""
    service = Service(backend.namespace or one.namespace, backend.name)
    if listener == "inbound" and service == adoption.mesh.own:
        name, address = f"app-{backend.port}", f"127.0.0.1:{backend.port}"
    else:
        name = upstream_name(service, backend.port)
        address = f"{service.name}.{service.namespace}.{CLUSTER}:{backend.port}"
    adoption.upstreams[name] = {"endpoints": [address]}
    return name


def upstream_name(service: Service, port: int) -> str:
    """Return what the upstream of a Service's port is called."""
    return fitting_name(service.namespace, service.name, str(port))


def fitting_name(*words: str) -> str:
    """Return words as a name of the settings; what is too long ends in a digest."""
    name = ".".join(words)
    if len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
    return f"{name[: _MAX_NAME - _DIGEST - 1]}-{digest}"


def _extended(own: Any, routes: list[dict[str, Any]]) -> Any:
    """Return a list with routes at its end; what is no list is left to be told."""
    return [*(own or []), *routes] if own is None or isinstance(own, list) else own


def _completed(own: Any, upstreams: dict[str, Any]) -> Any:
    return {**upstreams, **(own or {})} if own is None or isinstance(own, dict) else own


def _replaced(
    settings: Source,
    data: dict[str, Any],
    problems: list[Problem],
    warnings: list[Problem],
    adoption: _Adoption,
) -> Source:
    places = dict(settings.places)
    written: dict[Path_, Path_] = {}
    for document, moves in adoption.moved.items():
        source = adoption.sources[document]
        for origin, targets in moves.items():
            written |= dict.fromkeys(targets, origin)
        places |= _moved_places(source, moves)
    return Source(
        settings.name,
        data,
        places,
        (*settings.problems, *problems),
        tuple(warnings),
        written,
    )


def _moved_places(
    source: Source, moves: dict[Path_, list[Path_]]
) -> Iterator[tuple[Path_, tuple[int, int]]]:
    for path, place in source.places.items():
        for length in range(len(path) + 1):
            for target in moves.get(path[:length], ()):
                yield (*target, *path[length:]), place
