"""The documents of one file as one: settings, and HTTPRoutes beside them.

    service: orders      at most one document of settings
    ---
    kind: HTTPRoute      any number of objects, or Lists of them
    ---
    kind: List

A problem keeps the line and the key path of the document it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sidecar.settings.problem import Problem, SettingsError, shown
from sidecar.settings.source import Path_, Source

if TYPE_CHECKING:
    from collections.abc import Iterator


_MARKS = ("apiVersion", "kind")  # Every object of Kubernetes has both.
_KINDS = ("HTTPRoute", "List", "HTTPRouteList")

Place = tuple[Source, Path_]  # An object: its document, and where it is in there.


def joined(documents: list[Source]) -> Source:
    """Return settings that hold the routes of all documents.

    Raises:
        SettingsError: There are two documents of settings.
    """
    objects = [one for one in documents if _is_object(one.data)]
    own = [one for one in documents if not _is_object(one.data)]
    if len(own) > 1:
        message = "a second document begins here that is not an object of Kubernetes"
        raise SettingsError([own[1].problem((), message)])
    if not objects:
        return own[0]
    from sidecar.settings.adopt import adopted  # noqa: PLC0415 - most files have none

    problems: list[Problem] = []
    places = [place for one in objects for place in _routes_in(one, (), problems)]
    problems += [problem for one in objects for problem in one.problems]
    settings = own[0] if own else Source(objects[0].name, {}, {(): (1, 1)})
    if not isinstance(settings.data, dict):
        return settings  # It is told that it is none.
    return adopted(settings, places, problems)


def _is_object(data: Any) -> bool:
    return isinstance(data, dict) and any(mark in data for mark in _MARKS)


def _routes_in(document: Source, at: Path_, problems: list[Problem]) -> Iterator[Place]:
    """Yield the HTTPRoutes of a document, or of a list in it."""
    data = document.data
    for key in at:
        data = data[key]
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind in _KINDS[1:]:
        items = data.get("items")
        if not isinstance(items, list):
            message = "is missing" if items is None else "is not a list"
            problems.append(document.problem((*at, "items"), message))
            return
        for index in range(len(items)):
            yield from _routes_in(document, (*at, "items", index), problems)
    elif kind is None or kind == _KINDS[0]:
        yield document, at  # What is missing is told by the model.
    else:
        hint = f"there are {', '.join(_KINDS)}"
        message = f"{shown(kind)} is not supported"
        problems.append(document.problem((*at, "kind"), message, hint))
