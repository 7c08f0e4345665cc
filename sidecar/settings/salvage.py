"""What is left of a file with mistakes: so that one `check` tells of all of them.

A key that does not fit has its default, a route whose name or upstream does not fit
is left out, an upstream that does not fit keeps its name. What is left is only looked
at for further mistakes, never served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sidecar.settings.models import FileSettings, UpstreamSettings

if TYPE_CHECKING:
    from sidecar.settings.models import RouteSettings

_NAMED_ONLY = UpstreamSettings(endpoints=("127.0.0.1:1",))


def salvaged(data: dict[str, Any]) -> tuple[FileSettings, list[int]]:
    """Return what of `data` fits, and the index in the file of each route in it."""
    fitting: dict[str, Any] = {}
    for key in FileSettings.model_fields.keys() - {"upstreams", "routes"}:
        found = _fitting(key, data.get(key))
        fitting[key] = getattr(found or _EMPTY, key)
    upstreams = data.get("upstreams")
    named: dict[str, UpstreamSettings] = {}
    for name, given in upstreams.items() if isinstance(upstreams, dict) else ():
        found = _fitting("upstreams", {name: given})
        named[name] = found.upstreams[name] if found else _NAMED_ONLY
    routes: dict[int, RouteSettings] = {}
    listed = data.get("routes")
    for index, given in enumerate(listed if isinstance(listed, list) else ()):
        found = _fitting("routes", [_fitting_keys(given)])
        if found is not None:
            routes[index] = found.routes[0]
    whole = FileSettings.model_construct(
        **fitting, upstreams=named, routes=tuple(routes.values())
    )
    return whole, list(routes)


def _fitting_keys(route: Any) -> Any:
    """Return the keys of a route that fit, each for itself."""
    if not isinstance(route, dict):
        return route
    least = {"name": "any", "upstream": "any"}
    return {
        key: value
        for key, value in route.items()
        if _fitting("routes", [{**least, key: value}]) is not None
    }


def _fitting(key: str, value: Any) -> FileSettings | None:
    """Return settings that have this key and no other, if its value fits."""
    try:
        return FileSettings.model_validate({"upstreams": {}, "routes": [], key: value})
    except ValidationError:
        return None


_EMPTY = FileSettings(upstreams={}, routes=())
