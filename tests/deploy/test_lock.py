"""The lock pins everything, for everybody, and names no place."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from sidecar import __version__

ROOT = Path(__file__).parents[2]
LOCKS = {
    name: (ROOT / ".requirements" / f"{name}.txt").read_text(encoding="utf-8")
    for name in ("run", "dev")
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
_PIN = re.compile(r"([a-z0-9]+(?:-[a-z0-9]+)*)==([0-9][0-9a-z.]*)")


def pins(name: str) -> dict[str, str]:
    lines = (line for line in LOCKS[name].splitlines() if not line.startswith("#"))
    found = [_PIN.fullmatch(line) for line in lines if line]
    assert all(found), f"not plain pins in {name}"
    return {match[1]: match[2] for match in found if match}


def wanted(requirements: list[str]) -> set[str]:
    names = (re.split(r"[>=<!~\[; ]", text)[0] for text in requirements)
    return {name.lower().replace("_", "-") for name in names}


@pytest.mark.parametrize("name", LOCKS)
def test_it_names_no_place(name: str) -> None:
    """Neither an index nor a folder: they are of the machine that made it."""
    assert "://" not in LOCKS[name]
    assert "--index-url" not in LOCKS[name]
    assert "find-links=" not in LOCKS[name]
    assert not re.search(r"(^|[ =])/", LOCKS[name], re.MULTILINE)


def test_it_pins_every_dependency() -> None:
    project = PROJECT["project"]
    assert wanted(project["dependencies"]) <= pins("run").keys()
    assert wanted(project["optional-dependencies"]["dev"]) <= pins("dev").keys()


def test_tests_run_with_the_versions_that_serve() -> None:
    assert pins("run").items() <= pins("dev").items()


def test_it_was_made_with_the_oldest_python() -> None:
    """A newer one may pin what that cannot install."""
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert all(f"with Python {oldest}" in text for text in LOCKS.values())


def test_the_project_and_the_package_have_one_version() -> None:
    assert PROJECT["project"]["version"] == __version__
