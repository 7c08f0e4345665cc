"""What a model finds wrong, told as a problem at its place in the file."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices

from sidecar.settings.problem import Problem, nearest, shown
from sidecar.wire.secret_names import MASK

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from sidecar.settings.source import Path_, Source

_LITERAL_ERRORS = frozenset(("literal_error", "enum"))
_QUOTED = re.compile(r"'([^']*)'")
_MAPPING_ERRORS = frozenset(("model_type", "model_attributes_type", "dict_type"))
_LIST_ERRORS = frozenset(("tuple_type", "list_type"))
_SHOWN_KEYS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """What one model reads: a whole document, or an object in it."""

    source: Source
    at: Path_  # Where it stands in the document.
    data: Any
    model: type[BaseModel]

    def problem(self, path: Path_, message: str, hint: str = "") -> Problem:
        """Return a problem at a path below this part."""
        return self.source.problem((*self.at, *path), message, hint)


def mistakes_of(error: ValidationError, part: Part) -> list[Problem]:
    """Return one problem for each place, though a union may report several."""
    problems: dict[Path_, Problem] = {}
    above: set[Path_] = set()  # Whatever a problem is below.
    details = error.errors(include_url=False)
    for detail in sorted(details, key=_is_of_the_wrong_branch):
        path = _real_path(detail["loc"], part.data)
        if _is_of_the_wrong_branch(detail) and path in above:
            continue
        if path not in problems:
            problems[path] = _problem(detail, path, part)
            above.update(path[:length] for length in range(len(path) + 1))
    return list(problems.values())


def _is_of_the_wrong_branch(detail: ErrorDetails) -> bool:
    """Tell whether a union complains for the branch that was not meant."""
    given, is_word = detail["input"], detail["type"] in _LITERAL_ERRORS
    return is_word if isinstance(given, dict) else detail["type"] == "model_type"


def _problem(detail: ErrorDetails, path: Path_, part: Part) -> Problem:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        hint = nearest(str(path[-1]), _keys_beside(path, part.model))
        return part.problem(path, "is not a known key", hint)
    if kind == "missing":
        return part.problem(path, "is missing")
    message = detail["msg"]
    quoted = shown(given, path)
    if kind == "value_error":
        message = message.removeprefix("Value error, ").replace(shown(given), quoted)
        return part.problem(path, message)
    if kind in _LIST_ERRORS:
        hint = "" if quoted == MASK else _list_hint(given)
        return part.problem(path, "is not a list", hint)
    if kind in _MAPPING_ERRORS:
        hint = _mapping_hint(kind, given, path, part.model)
        return part.problem(path, "is not a mapping of keys to values", hint)
    hint = ""
    if kind in _LITERAL_ERRORS:
        hint = nearest(str(given), _QUOTED.findall(message))
    elif kind == "string_type" and isinstance(given, int | float):
        hint = "in quotes it is one" + (f': "{given}"' if quoted != MASK else "")
    message = message[0].lower() + message[1:]
    if not isinstance(given, dict | list | tuple):
        message = f"{quoted}: {message}"
    return part.problem(path, message, hint)


def _list_hint(given: Any) -> str:
    """Return how to write a list of what stands there alone."""
    is_word = isinstance(given, str | int | float) and given != ""
    return f"write [{json.dumps(given)}]" if is_word else "items begin with '- '"


def _mapping_hint(kind: str, given: Any, path: Path_, model: type[BaseModel]) -> str:
    """Return what could stand there instead."""
    if path[-1:] == ("retry",) and given == "off":
        return "write {preset: off}"
    if kind == "dict_type":
        return "names of yours, each with what it stands for"
    keys = _keys_beside((*path, ""), model)
    more = ", ..." if len(keys) > _SHOWN_KEYS else ""
    return f"its keys: {', '.join(keys[:_SHOWN_KEYS])}{more}"


def _real_path(loc: Path_, data: Any) -> Path_:
    """Drop the parts of a location that name a branch of a union, not a key."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if isinstance(data, dict) and part in data:
            data = data[str(part)]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (is_last and isinstance(data, dict)) or "[" in str(part):
            continue
        path.append(part)
    return tuple(path)


def _keys_beside(path: Path_, model: type[BaseModel]) -> list[str]:
    """Return the keys that are known where `path` ends."""
    from sidecar.settings.schema import model_in  # noqa: PLC0415 - after a mistake

    for key in path[:-1]:
        field = _field(model, key)
        if field is not None:  # Else a name that the file gives, or an index.
            model = model_in(field.annotation) or model
    return [key for name in model.model_fields for key in _names(model, name)]


def _field(model: type[BaseModel], key: str | int) -> Any:
    for name, field in model.model_fields.items():
        if key in _names(model, name):
            return field
    return None


def _names(model: type[BaseModel], name: str) -> list[str]:
    """Return a field's name, and the others that a file may use for it."""
    alias = model.model_fields[name].validation_alias
    if isinstance(alias, str):  # As in Kubernetes: the only one.
        return [alias]
    others = alias.choices if isinstance(alias, AliasChoices) else ()
    return list(dict.fromkeys((name, *map(str, others))))
