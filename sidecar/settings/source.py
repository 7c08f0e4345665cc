"""YAML as plain data, and where each part of it stands.

Only what YAML 1.2 calls a boolean is one: `off`, `on` and `no` are words. The
nodes are composed here, from events, because the composer of the C library
recurses without a bound: a file of brackets would end the process.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.settings.problem import Problem, SettingsError, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_DEPTH = 32
_MAX_NODES = 1_000_000  # Aliases can make a small file a huge one.
# What constructors raise for a scalar that its tag does not fit, as in `!!int ''`.
_UNREADABLE = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError)
_MERGE_HINT = (
    "an alias can stand for a whole value; `defaults` is for what routes share"
)

Path_ = tuple[str | int, ...]
Identity = tuple[int, ...]  # Of a file as it is now.


class _Loader(_Base):  # type: ignore[misc]  # A class of C, without types.
    """Resolves plain scalars by the YAML 1.2 core schema."""

    yaml_implicit_resolvers: Mapping[str, Any] = {}


_TAG = "tag:yaml.org,2002:"
_WORD = _TAG + "str"
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
    problems: tuple[Problem, ...] = ()  # What can be told beside what else is wrong.
    warnings: tuple[Problem, ...] = ()
    # What is written elsewhere: in another document of the file, under other keys.
    written: Mapping[Path_, Path_] = field(default_factory=dict)

    def problem(self, path: Path_, message: str, hint: str = "") -> Problem:
        """Return a problem at `path`, or at the nearest thing around it."""
        at = path
        while at not in self.places and at:
            at = at[:-1]
        line, column = self.places.get(at, (0, 0))
        told = _dotted(self._as_written(path))
        return Problem(self.name, line, column, told, message, hint)

    def _as_written(self, path: Path_) -> Path_:
        for length in range(len(path), 0, -1):
            found = self.written.get(path[:length])
            if found is not None:
                return (*found, *path[length:])
        return path


def read_file(path: str) -> Source:
    """Read a file of one document. Raises `SettingsError`."""
    return _only(read_file_documents(path))


def read_text(text: str, name: str) -> Source:
    """Parse YAML of one document. Raises `SettingsError`."""
    return _only(read_documents(text, name))


def read_file_documents(path: str) -> list[Source]:
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
    except ValueError as error:
        if not isinstance(error, UnicodeDecodeError):  # A NUL in the name.
            raise SettingsError([Problem(path, 0, 0, "", str(error))]) from None
        raise SettingsError([_encoding_problem(error, path)]) from None
    return read_documents(text, path)


def read_documents(text: str, name: str) -> list[Source]:
    """Parse YAML; of several documents, those with nothing in them are left out.

    Raises:
        SettingsError: It is not YAML, is empty, or is nested without end.
    """
    try:
        loader = _Loader(text.removeprefix("\ufeff"))
        nodes = _Composer(loader, name).documents()
    except yaml.YAMLError as error:
        raise SettingsError([_syntax_problem(error, text, name)]) from None
    if not nodes:
        raise SettingsError([Problem(name, 0, 0, "", "is empty")])
    builder = _Builder(loader, name)
    documents = [builder.document(node) for node in nodes]
    return [one for one in documents if one.data is not None] or documents[:1]


def _only(documents: list[Source]) -> Source:
    """Return the one document that there is to be."""
    if len(documents) > 1:
        message = "a second document begins here"
        raise SettingsError([documents[1].problem((), message)])
    return documents[0]


class _Composer:
    """Turns events into nodes, as deep as a configuration may be."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name
        self._anchors: dict[str, Any] = {}

    def documents(self) -> list[Any]:
        """Return the root of each document."""
        self._loader.get_event()  # Start of the stream.
        roots = []
        while not self._loader.check_event(yaml.StreamEndEvent):
            self._loader.get_event()  # Start of the document.
            self._anchors = {}  # Those of one document are not known in the next.
            roots.append(self._node(0))
            self._loader.get_event()  # Its end.
        return roots

    def _node(self, depth: int) -> Any:
        event = self._loader.get_event()
        if depth > _MAX_DEPTH:
            raise self._refusal(event.start_mark, "is nested too deeply")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                message = f"there is no anchor &{event.anchor}"
                raise self._refusal(event.start_mark, message)
            return self._anchors[event.anchor]
        node = self._begun(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if isinstance(node, yaml.SequenceNode):
            while not self._loader.check_event(yaml.SequenceEndEvent):
                node.value.append(self._node(depth + 1))
            self._loader.get_event()
        elif isinstance(node, yaml.MappingNode):
            while not self._loader.check_event(yaml.MappingEndEvent):
                node.value.append((self._node(depth + 1), self._node(depth + 1)))
            self._loader.get_event()
        return node

    def _begun(self, event: Any) -> Any:
        """Return the node that `event` begins, without what is inside."""
        marks = (event.start_mark, event.end_mark)
        if isinstance(event, yaml.ScalarEvent):
            tag = event.tag
            if tag is None or tag == "!":
                tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            return yaml.ScalarNode(tag, event.value, *marks)
        is_list = isinstance(event, yaml.SequenceStartEvent)
        return (yaml.SequenceNode if is_list else yaml.MappingNode)(
            event.tag, [], *marks
        )

    def _refusal(self, mark: Any, message: str) -> SettingsError:
        place = (mark.line + 1, mark.column + 1)
        return SettingsError([Problem(self._name, *place, "", message)])


class _Builder:
    """Turns nodes into data, noting places."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader = loader
        self._name = name
        self._count = 0  # Of all documents.
        self.places: dict[Path_, tuple[int, int]] = {}
        self.problems: list[Problem] = []

    def document(self, node: Any) -> Source:
        """Return one document of the file."""
        self.places, self.problems = {}, []
        data = self.build(node, ())
        return Source(self._name, data, self.places, tuple(self.problems))

    def build(self, node: Any, path: Path_) -> Any:
        mark = node.start_mark
        self.places.setdefault(path, (mark.line + 1, mark.column + 1))
        self._count += 1
        if len(path) > _MAX_DEPTH or self._count > _MAX_NODES:
            self._complain(node, (), "is too large, or its aliases go round in a ring")
            raise SettingsError(self.problems)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(n, (*path, i)) for i, n in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._build_mapping(node, path)
        if node.tag == _WORD:
            return node.value
        try:
            return self._loader.construct_object(node)
        except _UNREADABLE:
            self._complain(node, path, f"{shown(node.value, path)} cannot be read")
            return None

    def _build_mapping(self, node: Any, path: Path_) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(key_node, path, "has a key that is not a word")
                continue
            key = key_node.value
            at = (*path, key)
            if key == "<<":
                self._complain(key_node, at, "is no key of YAML 1.2", _MERGE_HINT)
                continue
            if key in data:
                first = self.places[at][0]
                self._complain(key_node, at, f"is there twice (first in line {first})")
                continue
            mark = key_node.start_mark
            self.places.setdefault(at, (mark.line + 1, mark.column + 1))
            data[key] = self.build(value_node, at)
        return data

    def _complain(self, node: Any, path: Path_, message: str, hint: str = "") -> None:
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        problem = Problem(self._name, *place, _dotted(path), message, hint)
        self.problems.append(problem)


def _encoding_problem(error: UnicodeDecodeError, name: str) -> Problem:
    """Tell where a file is not UTF-8, and what it probably is."""
    data = bytes(error.object)
    before = data[: error.start].decode("utf-8")
    is_utf_16 = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    hint = "it is UTF-16: save it as UTF-8" if is_utf_16 else ""
    message = f"is not UTF-8 at byte {error.start}"
    return Problem(name, *_place_after(before), "", message, hint)


def _syntax_problem(error: yaml.YAMLError, text: str, name: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    if isinstance(error, yaml.reader.ReaderError):  # It counts bytes.
        before = text.encode("utf-8", "replace")[: error.position]
        place = _place_after(before.decode("utf-8", "ignore"))
        return Problem(name, *place, "", f"is not YAML: {error.reason}")
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Problem(name, line, column, "", f"is not YAML: {what}")


def _place_after(text: str) -> tuple[int, int]:
    """Return line and column, from 1, of what follows `text`."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def identity_of(path: str | None) -> Identity:
    """Return what changes when a file is written or replaced; links are followed."""
    if path is None:
        return ()
    try:
        found = Path(path).stat()
    except OSError as error:
        return (error.errno or 0,)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
