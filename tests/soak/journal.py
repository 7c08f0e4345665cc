"""What each side writes down, as it happens: JSON lines, appended.

Each line is one system call, made before what it tells of can be seen by anybody
else: what a process wrote is there also when it is killed right after.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """Appends to a file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, **entry: Any) -> None:
        os.write(self._fd, json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        os.close(self._fd)


def read(path: Path) -> list[dict[str, Any]]:
    """Return all that was written."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class Runs:
    """Numbers in the order in which they came, as runs of consecutive ones.

    `[[0, 9]]` is ten numbers in order; a gap, a double or a swap begins a new run.
    """

    def __init__(self) -> None:
        self.runs: list[list[int]] = []

    def add(self, number: int) -> None:
        if self.runs and number == self.runs[-1][1] + 1:
            self.runs[-1][1] = number
        else:
            self.runs.append([number, number])
