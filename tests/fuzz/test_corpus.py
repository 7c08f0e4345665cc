"""Each input of the corpus, and inputs made from them, break no target's sentence."""

from __future__ import annotations

import importlib.util
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.fuzz.__main__ import CORPUS, fuzz, main, run
from tests.fuzz.targets import TARGETS

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    f"{name}/{file.name}": file
    for name in TARGETS
    for file in sorted((CORPUS / name).iterdir())
}
needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris is not installed: `make fuzz` installs it where it has a wheel",
)
_MADE = {"settings": 40, "talk": 100, "body": 300}  # The slow ones; of others, more.
_MANY = 1500


@pytest.mark.parametrize("file", FILES)
def test_a_known_input_breaks_nothing(file: str) -> None:
    TARGETS[file.partition("/")[0]](FILES[file].read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_made_from_known_ones_break_nothing(name: str) -> None:
    """Without a look at what they reach: quick, the same each time, on every Python."""
    rng = Random(name)
    seeds = [file.read_bytes() for file in sorted((CORPUS / name).iterdir())]
    words = [line for seed in seeds for line in seed.splitlines(keepends=True)]
    for _ in range(_MADE.get(name, _MANY)):
        TARGETS[name](made(rng, seeds, words))


def made(rng: Random, seeds: list[bytes], words: list[bytes]) -> bytes:
    """Return an input with some of its bytes changed, gone, or put in."""
    data = rng.choice(seeds)[:4096]
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        gone_bytes = rng.choice([0, 0, 1, 2, rng.randint(0, 40)])
        piece = rng.choice([b"", rng.choice(words), rng.randbytes(rng.randint(1, 3))])
        data = data[:at] + piece + data[at + gone_bytes :]
    return data


def test_each_target_says_what_it_holds_true() -> None:
    assert all(target.__doc__ for target in TARGETS.values())
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)


@needs_atheris
@pytest.mark.timeout(300)  # It starts a program that looks at each of its modules.
def test_a_short_run_is_guided_by_what_it_reaches(tmp_path: Path) -> None:
    done = fuzz("head", 2, tmp_path, seed=1)
    assert done.is_good, done.told
    assert " cov: " in done.told
    assert list((tmp_path / "head").iterdir())


@needs_atheris
@pytest.mark.timeout(300)
def test_a_finding_is_kept_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("head", 20, tmp_path, "tests.fuzz.wrong") == 1
    told = capsys.readouterr().out
    (kept,) = (tmp_path / "findings").iterdir()
    assert b"?" in kept.read_bytes()
    assert f"NOT TRUE: {TARGETS['head'].__doc__}" in told
    assert f"-m tests.fuzz head {kept}\n" in told


def test_a_kept_file_is_run_again_without_atheris(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept"
    file.write_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert main(["head", str(file)]) == 0
    assert "holds for" in capsys.readouterr().out
