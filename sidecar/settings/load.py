"""A file, a text or one address in; a snapshot or a list of problems out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sidecar.settings.checks import find_problems, find_table_problems
from sidecar.settings.compile import compile_settings
from sidecar.settings.documents import joined
from sidecar.settings.mistakes import Part, mistakes_of
from sidecar.settings.models import FileSettings
from sidecar.settings.problem import Problem, SettingsError
from sidecar.settings.salvage import salvaged
from sidecar.settings.source import Source, read_documents, read_file_documents
from sidecar.settings.warn import find_warnings

if TYPE_CHECKING:
    from sidecar.settings.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used."""

    snapshot: Snapshot
    warnings: list[Problem]
    settings: FileSettings


def load_file(path: str) -> Loaded:
    """Load a YAML file. Raises `SettingsError`."""
    return load_source(joined(read_file_documents(path)))


def load_text(text: str, name: str = "text") -> Loaded:
    """Load YAML. Raises `SettingsError`."""
    return load_source(joined(read_documents(text, name)))


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
    return load_source(Source("command line", data, {}))


def load_source(source: Source) -> Loaded:
    """Load what was read. Raises `SettingsError`."""
    if not isinstance(source.data, dict):
        problem = source.problem((), "is not a mapping of keys to values")
        raise SettingsError([*source.problems, problem])
    problems = list(source.problems)
    try:
        settings = FileSettings.model_validate(source.data)
    except ValidationError as error:
        problems += mistakes_of(error, Part(source, (), source.data, FileSettings))
        problems += find_problems(*salvaged(source.data), source)
        raise SettingsError(_in_order(problems)) from None
    problems += find_problems(settings, range(len(settings.routes)), source)
    if problems:
        raise SettingsError(_in_order(problems))
    snapshot = compile_settings(settings, source)
    problems += find_table_problems(snapshot, source)
    if problems:
        raise SettingsError(_in_order(problems))
    warnings = [*source.warnings, *find_warnings(settings, snapshot, source)]
    return Loaded(snapshot, _in_order(warnings), settings)


def _in_order(problems: list[Problem]) -> list[Problem]:
    """Return each problem once, as one reads a file."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda problem: (problem.line, problem.column))
