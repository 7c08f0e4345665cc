"""A file, a text or one address in; a snapshot or a list of problems out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from sidecar.settings.compile import (
    _nearest,
    compile_settings,
    find_problems,
    find_warnings,
)
from sidecar.settings.models import FileSettings
from sidecar.settings.problem import Problem, SettingsError
from sidecar.settings.source import Source, read_file, read_text

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot

_LITERAL_ERRORS = frozenset(("literal_error", "enum"))


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
        raise SettingsError([source.problem((), "is not a mapping of keys to values")])
    try:
        settings = FileSettings.model_validate(source.data)
    except ValidationError as error:
        raise SettingsError(_problems(error, source)) from None
    problems = find_problems(settings, source)
    if problems:
        raise SettingsError(problems)
    snapshot = compile_settings(settings, source)
    return Loaded(snapshot, find_warnings(snapshot, source), settings)


def _problems(error: ValidationError, source: Source) -> list[Problem]:
    """Return one problem for each place, though a union may report several."""
    problems: dict[tuple[str | int, ...], Problem] = {}
    details = error.errors(include_url=False)
    for detail in sorted(details, key=_is_of_the_wrong_branch):
        path = _real_path(detail["loc"], source.data)
        is_wrong_branch = _is_of_the_wrong_branch(detail)
        if is_wrong_branch and any(p[: len(path)] == path for p in problems):
            continue
        if path not in problems:
            problems[path] = _problem(detail, path, source)
    return sorted(problems.values(), key=lambda p: (p.line, p.column))


def _is_of_the_wrong_branch(detail: Any) -> bool:
    """Tell whether a union complains for the branch that was not meant."""
    given, is_word = detail["input"], detail["type"] in _LITERAL_ERRORS
    return is_word if isinstance(given, dict) else detail["type"] == "model_type"


def _problem(detail: Any, path: tuple[str | int, ...], source: Source) -> Problem:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = _keys_beside(path)
        return source.problem(
            path, "is not a known key", _nearest(str(path[-1]), known)
        )
    if kind == "missing":
        return source.problem(path, "is missing")
    message = detail["msg"].removeprefix("Value error, ")
    if kind in _LITERAL_ERRORS:
        return source.problem(path, f"{given!r}: {message[0].lower()}{message[1:]}")
    if repr(given) not in message and not isinstance(given, dict | list):
        message = f"{given!r}: {message[0].lower()}{message[1:]}"
    return source.problem(path, message)


def _real_path(loc: tuple[str | int, ...], data: Any) -> tuple[str | int, ...]:
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


def _keys_beside(path: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are known where `path` ends."""
    model: Any = FileSettings
    for part in path[:-1]:
        if isinstance(part, int):
            continue
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue  # A name that the file gives, such as an upstream's.
        found = _model_in(field.annotation)
        model = found or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    """Return the settings class somewhere inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
