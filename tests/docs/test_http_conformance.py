"""docs/http-conformance.md names a test for what it claims, and leaves nothing out."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "http-conformance.md").read_text(encoding="utf-8")
TEST = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")
WITHOUT_A_TEST = ("Does not apply: ", "Not tested: ")
# Where the RFCs ask something of a server, client, sender, recipient or intermediary
# that a proxy is: with MUST, or with a SHOULD that matters for safety or faithfulness.
SECTIONS = {
    "RFC 9112": """
        2.1 2.2 2.3 3 3.1 3.2 3.2.1 3.2.2 3.2.3 3.2.4 3.3 4 5 5.1 5.2 6.1 6.2 6.3
        7.1 7.1.1 7.1.2 7.1.3 7.2 7.4 8 9.2 9.3 9.3.1 9.3.2 9.4 9.5 9.6 9.7 9.8 10.1
        11.1 11.2 11.3
    """,
    "RFC 9110": """
        2.2 2.3 2.4 2.5 3.3 3.7 4.1 4.2.1 4.2.2 4.2.3 4.2.4 4.3.4 5.1 5.3 5.4 5.5
        5.6.1 5.6.3 5.6.7 6.1 6.2 6.4 6.5.1 6.5.2 6.6.1 6.6.2 7.1 7.2 7.3 7.4 7.5 7.6
        7.6.1 7.6.2 7.6.3 7.7 7.8 8.3 8.4 8.6 8.8 9.1 9.2.2 9.3.1 9.3.2 9.3.5 9.3.6
        9.3.7 9.3.8 10.1.1 10.1.3 10.1.4 10.2.1 11.6.1 11.6.2 11.7.1 11.7.2 12.5
        13.2.1 14.2 14.4 15 15.2 15.2.2 15.3.6 15.3.7 15.4.5 15.5 15.5.6 15.5.8 15.5.9
        15.5.14 15.5.15 15.5.20 15.5.22 15.6.2 15.6.3 15.6.5 15.6.6 17.2 17.5 17.10
    """,
}


class Row(NamedTuple):
    """One line of a table."""

    section: str
    requirement: str
    what: str
    tests: list[tuple[str, str]]


def rows_of(rfc: str) -> list[Row]:
    part = TEXT.partition(f"\n## {rfc}")[2].partition("\n## ")[0]
    rows = []
    for line in part.splitlines():
        if line.startswith("| ") and not line.startswith("| section "):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            assert len(cells) == 4, line
            section, requirement, what, tests = cells
            rows.append(Row(section, requirement, what, TEST.findall(tests)))
    return rows


@lru_cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of the tests that a file defines, without importing it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("rfc", SECTIONS)
def test_each_test_that_is_named_exists(rfc: str) -> None:
    wrong = [
        f"{path}::{name}"
        for row in rows_of(rfc)
        for path, name in row.tests
        if not (ROOT / path).is_file() or name not in names_in(path)
    ]
    assert wrong == []


@pytest.mark.parametrize("rfc", SECTIONS)
def test_each_row_is_shown_by_a_test_or_says_why_not(rfc: str) -> None:
    wrong = [
        row.section
        for row in rows_of(rfc)
        if bool(row.tests) is row.what.startswith(WITHOUT_A_TEST)
        or not row.requirement
        or not row.what
    ]
    assert wrong == []


@pytest.mark.parametrize("rfc", SECTIONS)
def test_each_section_that_concerns_a_proxy_is_there_and_in_order(rfc: str) -> None:
    found = list(dict.fromkeys(row.section for row in rows_of(rfc)))
    assert set(found) == set(SECTIONS[rfc].split())
    numbers = [[int(part) for part in section.split(".")] for section in found]
    assert numbers == sorted(numbers)


def test_each_test_of_conformance_is_named() -> None:
    """One that shows something that the page does not claim is a claim forgotten."""
    named = {test for rfc in SECTIONS for row in rows_of(rfc) for test in row.tests}
    folder = ROOT / "tests" / "conformance"
    paths = [f"tests/conformance/{file.name}" for file in folder.glob("test_*.py")]
    assert paths
    there = {
        (path, name)
        for path in paths
        for name in names_in(path)
        if name.startswith("test_")  # Else it helps one.
    }
    assert there - named == set()
