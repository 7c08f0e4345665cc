"""YAML in, YAML out, changed no more than need be.

A document in which nothing changes stays as it is, byte for byte. One that changes is
written anew: the order of its keys stays, its comments do not (PyYAML does not keep
them; a library that does would be one more in the image, to keep what the cluster
drops anyway).

Words are read as kubectl reads them, and written so that it reads the same: what is a
date or a number of base 60 to YAML 1.1 is a string here; a string that kubectl could
take for a number or a boolean (`1e3`, `0o17`, `y`) is written in quotes.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import yaml

from sidecar.kube.options import InjectionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sidecar.kube.workloads import Changed

_START = re.compile(r"^---(?=\s|\Z)", re.MULTILINE)
_DOUBTFUL = re.compile(
    r"[-+]?\.?[0-9][0-9a-fA-FoOxX_.:eE+-]*|[yYnN]|[yY]es|[nN]o|~|"
    r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INT = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)\Z", re.ASCII
)
_FLOAT = re.compile(
    r"(?:[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?)"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z",
    re.ASCII,
)
_PREFIX = "tag:yaml.org,2002:"
_OWN_WORDS = {f"{_PREFIX}{name}" for name in ("int", "float", "timestamp")}


def rewrite(text: str, change: Callable[[Any], Changed]) -> tuple[str, tuple[str, ...]]:
    """Return a text whose documents are changed, and a line on each change.

    Raises:
        InjectionError: It is not YAML, or `change` refuses a document.
    """
    parts: list[str] = []
    notes: list[str] = []
    starts = [0, *(found.start() for found in _START.finditer(text)), len(text)]
    for start, end in pairwise(starts):
        part = text[start:end]
        document = _load(part, first_line=text.count("\n", 0, start) + 1)
        try:
            changed = change(document)
            is_same = changed.value == document
        except RecursionError:  # An alias of what it stands in.
            msg = "a document is nested too deep"
            raise InjectionError(msg) from None
        parts.append(part if is_same else _dump(changed.value, after=part))
        notes += changed.notes
    return "".join(parts), tuple(notes)


def dumped(value: Any) -> str:
    """Return an object as a document of its own."""
    return _dump(value, after="---")


def _load(text: str, first_line: int) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - made of the safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = first_line + (mark.line if mark else 0)
        msg = f"line {line}: not YAML: {error.problem or error.context}"
        raise InjectionError(msg) from None
    except (yaml.YAMLError, ValueError) as error:
        msg = f"line {first_line} or below: not YAML: {str(error).splitlines()[0]}"
        raise InjectionError(msg) from None
    except RecursionError:
        msg = f"line {first_line} or below: nested too deep"
        raise InjectionError(msg) from None


def _dump(value: Any, after: str) -> str:
    """Return a document, with the mark that the one it stands for began with."""
    try:
        text = yaml.dump(
            value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 30
        )
    except RecursionError:
        msg = "a document is nested too deep"
        raise InjectionError(msg) from None
    return f"---\n{text}" if after.startswith("---") else text


class _Loader(yaml.SafeLoader):
    """Reads as kubectl does; a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - as the library has it
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} stands twice",
                    problem_mark=key.start_mark,
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# Line breaks to YAML 1.1: unless they are written as escapes, they are read as spaces.
_BREAKS = frozenset("\r\x85\u2028\u2029")


class _Dumper(yaml.SafeDumper):
    """Writes as people do, and so that kubectl reads what is meant."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None
        if not _BREAKS.isdisjoint(text):
            style = '"'
        elif _DOUBTFUL.fullmatch(text):
            style = "'"
        elif "\n" in text:
            style = "|"
        return self.represent_scalar(f"{_PREFIX}str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in _OWN_WORDS]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_PREFIX}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_PREFIX}float", _FLOAT, list("-+.0123456789"))
