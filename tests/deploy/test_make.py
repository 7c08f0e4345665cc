"""The Makefile, with a stand-in for Python that only notes what it was asked."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Answers the version question, makes .venv/bin with itself and a `sidecar` in it, and
# writes down the rest.
STAND_IN = """#!/bin/sh
echo "$@" >> "$NOTES"
case "$1 $2" in
  "-m venv")
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    printf '#!/bin/sh\\necho sidecar "$@" >> "$NOTES"\\n' > .venv/bin/sidecar
    chmod +x .venv/bin/*
esac
"""
PAGE = "sidecar/page/backend.py"  # Looks whether its sources have changed.
TOO_OLD = "#!/bin/sh\nexit 1\n"


class Folder:
    """A copy of what make reads, in a folder with a space in its name."""

    def __init__(self, at: Path) -> None:
        self.path = at / "a clone"
        self.path.mkdir()
        self.notes = at / "notes"
        self.notes.touch()
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy2(ROOT / name, self.path)
        shutil.copytree(ROOT / ".requirements", self.path / ".requirements")
        self.python = at / "python"

    def make(self, *words: str, python: str) -> subprocess.CompletedProcess[str]:
        self.python.write_text(python, encoding="utf-8")
        self.python.chmod(0o755)
        return subprocess.run(
            ["make", *words, f"PYTHON={self.python}"],
            cwd=self.path,
            env={"PATH": "/usr/bin:/bin", "NOTES": str(self.notes)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def noted(self) -> list[str]:
        """Return what was asked since the last time."""
        lines = self.notes.read_text(encoding="utf-8").splitlines()
        self.notes.write_text("", encoding="utf-8")
        return [line for line in lines if not line.startswith(("-c ", "--version"))]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_run_installs_from_the_lock_and_starts_the_demo(folder: Folder) -> None:
    done = folder.make("run", python=STAND_IN)
    assert done.returncode == 0, done.stderr
    made, locked, itself, page, started = folder.noted()
    assert made == "-m venv .venv"
    assert locked.endswith("install --quiet -r .requirements/run.txt")
    assert itself.endswith("install --quiet --no-deps --editable .")
    assert page == PAGE
    assert started == "sidecar demo"


def test_a_second_run_starts_at_once(folder: Folder) -> None:
    folder.make("run", python=STAND_IN)
    folder.noted()
    assert folder.make("run", python=STAND_IN).returncode == 0
    assert folder.noted() == [PAGE, "sidecar demo"]


def test_a_new_lock_is_installed(folder: Folder) -> None:
    folder.make("run", python=STAND_IN)
    folder.noted()
    lock = folder.path / ".requirements" / "run.txt"
    stamp = (folder.path / ".venv" / ".run").stat()
    lock.touch()
    while lock.stat().st_mtime_ns <= stamp.st_mtime_ns:  # Of a coarse clock.
        time.sleep(0.001)
        lock.touch()
    folder.make("run", python=STAND_IN)
    assert len(folder.noted()) == 4


def test_test_installs_the_tools_and_passes_arguments_on(folder: Folder) -> None:
    assert folder.make("test", "ARGS=-k retry", python=STAND_IN).returncode == 0
    *_, tools, page, tests = folder.noted()
    assert page == PAGE
    assert tools.endswith("install --quiet -r .requirements/dev.txt")
    assert tests == "-m pytest -k retry"


def test_soak_takes_its_minutes_and_arguments(folder: Folder) -> None:
    words = ("soak", "MINUTES=5", "ARGS=--seed 7")
    assert folder.make(*words, python=STAND_IN).returncode == 0
    assert folder.noted()[-1] == "-m tests.soak --minutes 5 --seed 7"
    assert folder.make("soak", python=STAND_IN).returncode == 0
    assert folder.noted() == ["-m tests.soak --minutes 1"]


def test_fuzz_installs_the_fuzzer_that_tests_do_without(folder: Folder) -> None:
    assert folder.make("fuzz", "TARGET=head", python=STAND_IN).returncode == 0
    *_, fuzzer, fuzzed = folder.noted()
    assert fuzzer.endswith("-r .requirements/fuzz.txt")
    assert fuzzed == "-m tests.fuzz head --seconds 60 --folder .venv/fuzz"


def test_an_old_python_is_told_plainly(folder: Folder) -> None:
    done = folder.make("run", python=TOO_OLD)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stdout
    assert "make PYTHON=/path/to/python3.12 run" in done.stdout
    assert not (folder.path / ".venv").exists()


def test_help_is_what_make_says_first(folder: Folder) -> None:
    done = folder.make(python=STAND_IN)
    for target in (
        "run",
        "test",
        "check",
        "bench",
        "soak",
        "fuzz",
        "schema",
        "docs",
        "lock",
        "clean",
    ):
        assert f"  make {target} " in done.stdout
    assert folder.noted() == []
