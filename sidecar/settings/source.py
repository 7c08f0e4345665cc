"""YAML as plain data, and where each part of it stands.

Only what YAML 1.2 calls a boolean is one: `off`, `on` and `no` are words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.settings.problem import Problem, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 32
_MAX_NODES = 1_000_000  # Aliases can make a small file a huge one.

Path_ = tuple[str | int, ...]


class _Loader(_Base):  # type: ignore[misc]  # A class of C, without types.
    """Resolves plain scalars by the YAML 1.2 core schema."""

    yaml_implicit_resolvers: Mapping[str, Any] = {}


_TAG = "tag:yaml.org,2002:"
_SCALARS = (
    ("bool", r"true|false|True|False|TRUE|FALSE", "tfTF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
)
for _name, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(
        _TAG + _name,
        re.compile(f"^(?:{_pattern})$"),
        [c if c != "\0" else "" for c in _first],
    )


@dataclass(frozen=True, slots=True)
class Source:
    """A file's data, with line and column (from 1) of each key and value."""

    name: str
    data: Any
    places: dict[Path_, tuple[int, int]]

    def problem(self, path: Path_, message: str, hint: str = "") -> Problem:
        """Return a problem at `path`, or at the nearest thing around it."""
        at = path
        while at not in self.places and at:
            at = at[:-1]
        line, column = self.places.get(at, (0, 0))
        return Problem(self.name, line, column, _dotted(path), message, hint)


def read_file(path: str) -> Source:
    """Read a file.

    Raises:
        SettingsError: It cannot be read, or is not YAML.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(
            [Problem(path, 0, 0, "", f"cannot be read: {reason}")]
        ) from None
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 at byte {error.start}"
        raise SettingsError([Problem(path, 0, 0, "", message)]) from None
    return read_text(text, path)


def read_text(text: str, name: str) -> Source:
    """Parse YAML.

    Raises:
        SettingsError: It is not YAML, is empty, or has a key twice.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SettingsError([_syntax_problem(error, name)]) from None
    if node is None:
        raise SettingsError([Problem(name, 0, 0, "", "is empty")])
    builder = _Builder(name)
    data = builder.build(node, ())
    if builder.problems:
        raise SettingsError(builder.problems)
    return Source(name, data, builder.places)


class _Builder:
    """Turns nodes into data, noting places."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loader = _Loader("")
        self._count = 0
        self.places: dict[Path_, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def build(self, node: Any, path: Path_) -> Any:
        mark = node.start_mark
        self.places.setdefault(path, (mark.line + 1, mark.column + 1))
        self._count += 1
        if len(path) > _MAX_DEPTH or self._count > _MAX_NODES:
            self._complain(node, path, "is nested too deeply or too large")
            raise SettingsError(self.problems)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*path, i)) for i, n in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path)
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self._complain(node, path, f"{node.value!r} cannot be read")
            return None

    def _build_mapping(self, node: Any, path: Path_) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at = (*path, key)
            if key in data:
                first = self.places[at][0]
                self._complain(key_node, at, f"is there twice (first in line {first})")
            mark = key_node.start_mark
            self.places.setdefault(at, (mark.line + 1, mark.column + 1))
            data[key] = self.build(value_node, at)
        return data

    def _complain(self, node: Any, path: Path_, message: str) -> None:
        mark = node.start_mark
        self.problems.append(
            Problem(self._name, mark.line + 1, mark.column + 1, _dotted(path), message)
        )


def _syntax_problem(error: yaml.YAMLError, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Problem(name, line, column, "", f"is not YAML: {what}")


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
