"""The tables of the pages are those of the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.pages import placed

ROOT = Path(__file__).parents[2]


def test_a_table_takes_the_place_of_the_last() -> None:
    page = "a\n<!-- bench -->\nold\n<!-- /bench -->\nz\n"
    once = placed(page, "| new \\1 |")
    assert once == "a\n<!-- bench -->\n| new \\1 |\n<!-- /bench -->\nz\n"
    assert placed(once, "| new \\1 |") == once


@pytest.mark.parametrize("name", ["README.md", "docs/performance.md"])
def test_each_page_has_a_place_for_it(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "there it is" in placed(text, "there it is")
