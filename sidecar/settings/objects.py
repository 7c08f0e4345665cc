"""The HTTPRoutes of a file, in their order, and what each says that cannot be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from sidecar.settings.httproute import HttpRoute, Rule
from sidecar.settings.mesh import Attachment, Service
from sidecar.settings.mistakes import Part, mistakes_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.settings.documents import Place
    from sidecar.settings.problem import Problem
    from sidecar.settings.source import Path_

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class RouteObject:
    """One HTTPRoute, and where it is written."""

    part: Part
    route: HttpRoute
    attachments: tuple[Attachment, ...]  # What each parentRef comes to, in their order.

    @property
    def namespace(self) -> str:
        """Where it lives."""
        return self.route.metadata.namespace

    @property
    def order(self) -> tuple[bool, datetime, str]:
        """What decides between equals: the oldest first, then by name."""
        made = self.route.metadata.creation_timestamp
        full_name = f"{self.namespace}/{self.route.metadata.name}"
        return made is None, made or _EPOCH, full_name


def _attachments(route: HttpRoute) -> tuple[Attachment, ...]:
    namespace = route.metadata.namespace
    return tuple(
        Attachment(namespace, Service(ref.namespace or namespace, ref.name), ref.port)
        for ref in route.spec.parent_refs
    )


def read_objects(places: list[Place], problems: list[Problem]) -> list[RouteObject]:
    """Return the objects that fit, the one that wins between equals first.

    Args:
        places: Where each is.
        problems: What is found wrong is added here.
    """
    found = [one for place in places for one in _objects(place, problems)]
    found.sort(key=lambda one: one.order)
    problems += _doubles(found)
    return found


def _objects(place: Place, problems: list[Problem]) -> Iterator[RouteObject]:
    """Yield the object of a place if it fits the model."""
    source, at = place
    data = source.data
    for key in at:
        data = data[key]
    part = Part(source, at, data, HttpRoute)
    try:
        route = HttpRoute.model_validate(data)
    except ValidationError as error:
        problems += mistakes_of(error, part)
        return
    one = RouteObject(part, route, _attachments(route))
    problems += _own_problems(one)
    yield one


def _own_problems(one: RouteObject) -> Iterator[Problem]:
    """Yield what one object says that cannot be done."""
    part, spec = one.part, one.route.spec
    for key in ("parentRefs", "rules"):
        if not (spec.rules if key == "rules" else spec.parent_refs):
            yield part.problem(("spec", key), "is empty")
    names: dict[str, int] = {}
    for number, rule in enumerate(spec.rules):
        at = ("spec", "rules", number)
        if rule.name is not None and names.setdefault(rule.name, number) != number:
            message = f"{rule.name!r} is the name of rules[{names[rule.name]}], too"
            yield part.problem((*at, "name"), message)
        yield from _backend_problems(part, at, rule)
        yield from _filter_problems(part, at, rule)


def _backend_problems(part: Part, at: Path_, rule: Rule) -> Iterator[Problem]:
    used = [index for index, ref in enumerate(rule.backend_refs) if ref.weight]
    if not used:
        message = "has no backend with a weight: every request would be answered 500"
        yield part.problem((*at, "backendRefs"), message)
    for index in used[1:]:
        message = "a second backend is not supported: there is no split by weight"
        yield part.problem((*at, "backendRefs", index), message)


def _filter_problems(part: Part, at: Path_, rule: Rule) -> Iterator[Problem]:
    """Yield fields that are there twice: the API server would refuse them."""
    for place, one in enumerate(rule.filters):
        for key, edits in (
            ("requestHeaderModifier", one.request_header_modifier),
            ("responseHeaderModifier", one.response_header_modifier),
        ):
            for kind in ("set", "add"):
                seen: set[str] = set()
                for index, change in enumerate(getattr(edits, kind, ())):
                    where = (*at, "filters", place, key, kind, index)
                    if change.name.lower() in seen:
                        yield part.problem(where, f"{change.name!r} is there twice")
                    seen.add(change.name.lower())


def _doubles(found: list[RouteObject]) -> Iterator[Problem]:
    seen: dict[str, RouteObject] = {}
    for one in found:
        name = one.order[2]
        if seen.setdefault(name, one) is not one:
            message = f"there is an HTTPRoute {name} already"
            yield one.part.problem(("metadata", "name"), message)
