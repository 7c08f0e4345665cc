"""SECURITY.md names, for each threat, what shows that it is stopped; it is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("## Threats")[2].partition("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in SECTION.splitlines()
    if line.startswith("| ") and not line.startswith("| who or what")
]
_TEST = re.compile(r"`([a-z0-9_/]+\.py)(?:::(\w+))?`")


@cache
def functions_of(path: str) -> frozenset[str]:
    """Return the names of the tests in a file below tests/."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, kinds))


def test_there_is_a_table_of_threats() -> None:
    assert len(ROWS) >= 25
    assert len({row[1] for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[1][:40] for row in ROWS])
def test_every_threat_names_a_test_that_exists(row: list[str]) -> None:
    assert len(row) == 4, "who, threat, what stops it, tests"
    assert all(row)
    found = _TEST.findall(row[3])
    assert found, "no test"
    for path, name in found:
        assert (ROOT / "tests" / path).is_file(), path
        if name:
            assert name in functions_of(path), f"{path} has no {name}"


def test_every_file_of_these_tests_is_named() -> None:
    here = Path(__file__).parent
    files = {f"security/{path.name}" for path in here.glob("test_*.py")}
    named = {path for row in ROWS for path, _ in _TEST.findall(row[3])}
    assert files - named == {"security/test_threats.py"}
