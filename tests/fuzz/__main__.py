"""Fuzz for a while, guided by coverage: `make fuzz SECONDS=600 TARGET=head`.

What libFuzzer learns is kept, so that the next run begins where this one ended. An
input that breaks a target's sentence is written to a file, and ends the run with 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
WORDS = Path(__file__).with_name("words.dict")
_TARGETS = "tests.fuzz.targets"
_INPUT_TIMEOUT_S = 10  # One input that takes longer is a finding, too.
_MAX_MEMORY_MIB = 2048
_MAX_INPUT_BYTES = 4096
_GRACE_S = 120  # To import, and to read the corpus; then it hangs.
_TOLD_LINES = 60


class Done(NamedTuple):
    """What came of a run."""

    is_good: bool
    told: str


def fuzz(
    name: str, seconds: int, folder: Path, module: str = _TARGETS, seed: int = 0
) -> Done:
    """Fuzz one target of a module; new inputs and findings go below `folder`.

    With a `seed` above 0 the inputs come in the same order each time.
    """
    learnt, found = folder / name, folder / "findings"
    learnt.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    flags = {
        "max_total_time": seconds,
        "seed": seed,
        "timeout": _INPUT_TIMEOUT_S,
        "rss_limit_mb": _MAX_MEMORY_MIB,
        "max_len": _MAX_INPUT_BYTES,
        "dict": WORDS,
        "artifact_prefix": f"{found / name}-",
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", "tests.fuzz.engine", module, name]
    command += [f"-{flag}={value}" for flag, value in flags.items()]
    command += [str(learnt), str(CORPUS / name)]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + _GRACE_S,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": "0"} if seed else None,
        )
    except subprocess.TimeoutExpired as expired:
        return Done(is_good=False, told=_text(expired.output or b""))
    return Done(done.returncode == 0, _text(done.stdout))


def _text(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").splitlines()
    return "\n".join(line[:500] for line in lines)


def summary(told: str) -> str:
    """Return how much a run did, in a line."""
    covered = [line for line in told.splitlines() if " cov: " in line]
    words = covered[-1].split() if covered else []
    edges = words[words.index("cov:") + 1] if words else "?"
    runs = told.rpartition("stat::number_of_executed_units:")[2].split()
    return f"{runs[0] if runs else '?'} executions, {edges} edges"


def replay(name: str, files: list[str]) -> int:
    """Run files once, without atheris; the first that breaks the sentence raises."""
    for file in files:
        TARGETS[name](Path(file).read_bytes())
        sys.stdout.write(f"fuzz: {name} holds for {file}\n")
    return 0


def main(arguments: list[str]) -> int:
    """Fuzz, or replay files; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("files", nargs="*", help="run these once instead")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument(
        "--seed", type=int, default=0, help="default: another each time"
    )
    parser.add_argument("--folder", type=Path, default=Path(".venv/fuzz"))
    asked = parser.parse_args(arguments)
    if asked.files:
        return replay(asked.target, asked.files)
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("fuzz: atheris is not installed here: make fuzz installs it\n")
        return 2
    names = list(TARGETS) if asked.target == "all" else [asked.target]
    seconds, folder, seed = asked.seconds, asked.folder, asked.seed
    return max([run(name, seconds, folder, seed=seed) for name in names])


def run(
    name: str, seconds: int, folder: Path, module: str = _TARGETS, seed: int = 0
) -> int:
    """Fuzz one target and tell what came of it; return the exit code."""
    before = set((folder / "findings").glob(f"{name}-*"))
    done = fuzz(name, seconds, folder, module, seed)
    sys.stdout.write(f"fuzz: {name}: {summary(done.told)}; new inputs: ")
    sys.stdout.write(f"{folder / name}\n")
    if done.is_good:
        return 0
    tail = "\n".join(done.told.splitlines()[-_TOLD_LINES:])
    sys.stdout.write(f"{tail}\nfuzz: {name}: NOT TRUE: {TARGETS[name].__doc__}\n")
    for file in sorted(set((folder / "findings").glob(f"{name}-*")) - before):
        again = f"{sys.executable} -m tests.fuzz {name} {file}"
        sys.stdout.write(f"fuzz: kept in {file}; to see it again: {again}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
