"""The OpenAPI document of the admin API, made from the routes that there are.

A handler says with `@told` what it takes and returns; its docstring is the summary.
What it takes is declared once: the same `Param` checks a request, and is told here.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sidecar
from sidecar.admin.schemas import SCHEMAS, ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

H = TypeVar("H", bound="Callable[..., Any]")

_TOLD: Final = "__openapi__"
_PLACE = re.compile(r"\{([a-z_]+)\}")
_ERRORS: Final = {
    "401": "the token is missing or wrong",
    "403": "refused: a foreign page, or changes are not enabled",
    "429": "too many wrong tokens",
}


class QueryError(ValueError):
    """A query asks for something that does not exist."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a query."""

    name: str
    about: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    most: int = 0  # How often it may come; 0: it is one, of which the last counts.

    def check(self, value: str) -> None:
        """Tell what is wrong with a value.

        Raises:
            QueryError: Something is.
        """
        choices = self.schema.get("enum")
        if choices and value not in choices:
            msg = f"{self.name} is {value!r}; it must be one of {', '.join(choices)}"
            raise QueryError(msg)
        if self.schema["type"] != "integer":
            return
        least, most = self.schema["minimum"], self.schema["maximum"]
        is_number = (
            value.isascii() and value.isdigit() and len(value) < len(str(most)) + 1
        )
        if not is_number or not least <= int(value) <= most:
            msg = (
                f"{self.name} is {value!r}; it must be a number from {least} to {most}"
            )
            raise QueryError(msg)


@dataclass(frozen=True, slots=True)
class Told:
    """What a handler takes, and returns."""

    returns: str = ""  # The name of a schema,
    is_list: bool = False  # or a list of such.
    query: tuple[Param, ...] = ()
    body: dict[str, Any] | None = None
    status: int = 200
    kinds: tuple[str, ...] = ("application/json",)
    errors: tuple[int, ...] = ()  # Beside those of `access.py` and `guard.py`.


def told(**what: Any) -> Callable[[H], H]:
    """Mark a handler with what there is to tell of it: see `Told`."""

    def mark(handler: H) -> H:
        setattr(handler, _TOLD, Told(**what))
        return handler

    return mark


def checked(query: Mapping[str, str], params: tuple[Param, ...]) -> dict[str, str]:
    """Return a query, each of its parameters known and well-formed.

    Raises:
        QueryError: One is not.
    """
    known = {param.name: param for param in params}
    times = Counter(name for name, _ in query.items())  # It may come repeatedly.
    for name, value in query.items():
        if name not in known:
            msg = f"there is no parameter {name!r}; there are {', '.join(known)}"
            raise QueryError(msg)
        known[name].check(value)
        if 0 < known[name].most < times[name]:
            msg = f"{name} comes {times[name]} times; it may {known[name].most} times"
            raise QueryError(msg)
    return dict(query)


def document(application: web.Application) -> dict[str, Any]:
    """Return the OpenAPI document of a server."""
    paths: dict[str, dict[str, Any]] = {}
    for route in application.router.routes():
        resource = route.resource
        if resource is None or route.method == "HEAD":
            continue
        operation = _operation(resource.canonical, route.method, route.handler)
        paths.setdefault(resource.canonical, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sidecar admin API",
            "version": sidecar.__version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(path: str, method: str, handler: Any) -> dict[str, Any]:
    what: Told = getattr(handler, _TOLD, Told())
    changes = method not in ("GET", "HEAD")
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}_{getattr(handler, '__name__', path)}",
        "summary": (handler.__doc__ or "").strip().split("\n", 1)[0],
        "parameters": [*_places(path), *map(_param, what.query)],
        "responses": _responses(what, has_place="{" in path),
    }
    if changes:
        operation["security"] = [{"token": []}]
    if what.body is not None and method != "DELETE":
        content = {"application/json": {"schema": what.body}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _places(path: str) -> list[dict[str, Any]]:
    return [
        {"name": n, "in": "path", "required": True, "schema": {"type": "string"}}
        for n in _PLACE.findall(path)
    ]


def _param(param: Param) -> dict[str, Any]:
    schema = param.schema
    if param.most:
        schema = {"type": "array", "items": schema, "maxItems": param.most}
    return {
        "name": param.name,
        "in": "query",
        "description": param.about,
        "schema": schema,
    }


def _responses(what: Told, *, has_place: bool) -> dict[str, Any]:
    schema = ref(what.returns) if what.returns else {}
    if what.is_list:
        schema = {"type": "array", "items": schema}
    content: dict[str, Any] = {}
    for kind in what.kinds:
        is_json = kind == "application/json"
        content[kind] = {"schema": schema if is_json else {"type": "string"}}
    found: dict[str, Any] = {
        str(what.status): {"description": "as asked", "content": content}
    }
    errors = {str(status): "what is wrong is told" for status in what.errors}
    if has_place:
        errors["404"] = "there is no such thing"
    for status, about in (errors | _ERRORS).items():
        kinds = {"application/json": {"schema": ref("Error")}}
        if status == "404":  # A path that is none at all is the library's to refuse.
            kinds["text/plain"] = {"schema": {"type": "string"}}
        found[status] = {"description": about, "content": kinds}
    return found
