"""A file, a text or one address in; a snapshot or a list of problems out."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, ValidationError

from sidecar.settings.checks import find_problems, find_table_problems
from sidecar.settings.compile import compile_settings
from sidecar.settings.models import FileSettings
from sidecar.settings.problem import Problem, SettingsError, nearest, shown
from sidecar.settings.salvage import salvaged
from sidecar.settings.source import Source, read_file, read_text
from sidecar.settings.warn import find_warnings
from sidecar.wire.secret_names import MASK

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from sidecar.settings.snapshot import Snapshot
    from sidecar.settings.source import Path_

_LITERAL_ERRORS = frozenset(("literal_error", "enum"))
_QUOTED = re.compile(r"'([^']*)'")
_MAPPING_ERRORS = frozenset(("model_type", "model_attributes_type", "dict_type"))
_LIST_ERRORS = frozenset(("tuple_type", "list_type"))
_SHOWN_KEYS = 4


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used."""

    snapshot: Snapshot
    warnings: list[Problem]
    settings: FileSettings


def load_file(path: str) -> Loaded:
    """Load a YAML file. Raises `SettingsError`."""
    return _load(read_file(path))


def load_text(text: str, name: str = "text") -> Loaded:
    """Load YAML. Raises `SettingsError`."""
    return _load(read_text(text, name))


def from_upstream(address: str, **overrides: Any) -> Loaded:
    """Load what stands for no file at all: everything goes to one address.

    Args:
        address: host:port of the application.
        overrides: Top-level keys of the YAML.

    Raises:
        SettingsError: The address is none, or an override is wrong.
    """
    data: dict[str, Any] = {
        "upstreams": {"app": {"endpoints": [address]}},
        "routes": [{"name": "all", "upstream": "app"}],
        **overrides,
    }
    return _load(Source("command line", data, {}))


def _load(source: Source) -> Loaded:
    if not isinstance(source.data, dict):
        problem = source.problem((), "is not a mapping of keys to values")
        raise SettingsError([*source.problems, problem])
    problems = list(source.problems)
    try:
        settings = FileSettings.model_validate(source.data)
    except ValidationError as error:
        problems += _problems(error, source)
        problems += find_problems(*salvaged(source.data), source)
        raise SettingsError(_in_order(problems)) from None
    problems += find_problems(settings, range(len(settings.routes)), source)
    if problems:
        raise SettingsError(_in_order(problems))
    snapshot = compile_settings(settings, source)
    problems += find_table_problems(snapshot, source)
    if problems:
        raise SettingsError(_in_order(problems))
    return Loaded(snapshot, find_warnings(settings, snapshot, source), settings)


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Return each problem once, as one reads a file."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: (problem.line, problem.column))


def _problems(error: ValidationError, source: Source) -> list[Problem]:
    """Return one problem for each place, though a union may report several."""
    problems: dict[Path_, Problem] = {}
    above: set[Path_] = set()  # Whatever a problem is below.
    details = error.errors(include_url=False)
    for detail in sorted(details, key=_is_of_the_wrong_branch):
        path = _real_path(detail["loc"], source.data)
        if _is_of_the_wrong_branch(detail) and path in above:
            continue
        if path not in problems:
            problems[path] = _problem(detail, path, source)
            above.update(path[:length] for length in range(len(path) + 1))
    return list(problems.values())


def _is_of_the_wrong_branch(detail: ErrorDetails) -> bool:
    """Tell whether a union complains for the branch that was not meant."""
    given, is_word = detail["input"], detail["type"] in _LITERAL_ERRORS
    return is_word if isinstance(given, dict) else detail["type"] == "model_type"


def _problem(detail: ErrorDetails, path: Path_, source: Source) -> Problem:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        hint = nearest(str(path[-1]), _keys_beside(path))
        return source.problem(path, "is not a known key", hint)
    if kind == "missing":
        return source.problem(path, "is missing")
    message = detail["msg"]
    quoted = shown(given, path)
    if kind == "value_error":
        message = message.removeprefix("Value error, ").replace(shown(given), quoted)
        return source.problem(path, message)
    if kind in _LIST_ERRORS:
        hint = "" if quoted == MASK else _list_hint(given)
        return source.problem(path, "is not a list", hint)
    if kind in _MAPPING_ERRORS:
        hint = _mapping_hint(kind, given, path)
        return source.problem(path, "is not a mapping of keys to values", hint)
    hint = ""
    if kind in _LITERAL_ERRORS:
        hint = nearest(str(given), _QUOTED.findall(message))
    elif kind == "string_type" and isinstance(given, int | float):
        hint = "in quotes it is one" + (f': "{given}"' if quoted != MASK else "")
    message = message[0].lower() + message[1:]
    if not isinstance(given, dict | list | tuple):
        message = f"{quoted}: {message}"
    return source.problem(path, message, hint)


def _list_hint(given: Any) -> str:
    """Return how to write a list of what stands there alone."""
    is_word = isinstance(given, str | int | float) and given != ""
    return f"write [{json.dumps(given)}]" if is_word else "items begin with '- '"


def _mapping_hint(kind: str, given: Any, path: Path_) -> str:
    """Return what could stand there instead."""
    if path[-1:] == ("retry",) and given == "off":
        return "write {preset: off}"
    if kind == "dict_type":
        return "names of yours, each with what it stands for"
    keys = _keys_beside((*path, ""))
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


def _keys_beside(path: Path_) -> list[str]:
    """Return the keys that are known where `path` ends."""
    from sidecar.settings.schema import model_in  # noqa: PLC0415 - after a mistake

    model: type[BaseModel] = FileSettings
    for part in path[:-1]:
        field = _field(model, part)
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
    others = alias.choices if isinstance(alias, AliasChoices) else ()
    return list(dict.fromkeys((name, *map(str, others))))
