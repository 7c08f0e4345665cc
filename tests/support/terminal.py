"""A terminal, as a person has it before them."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
ENTER, LEAVE, CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h"


class Terminal:
    """A terminal of 80 by 24 with a command in it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._main, child = pty.openpty()
        env = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, cwd=ROOT, env=env
        )
        os.close(child)
        self.shown = ""

    def read_until(self, words: str) -> None:
        while words not in self.shown:
            ready, _, _ = select.select([self._main], [], [], 30)
            assert ready, self.shown
            self.shown += os.read(self._main, 65536).decode(errors="replace")

    def read_all(self) -> None:
        try:
            while data := os.read(self._main, 65536):
                self.shown += data.decode(errors="replace")
        except OSError:
            return  # How a terminal says that nobody holds it any more.

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)
        os.close(self._main)

    def type(self, keys: str) -> None:
        os.write(self._main, keys.encode())

    def forget(self) -> None:
        """Wait for what is drawn from now on."""
        self.shown = ""

    @property
    def echoes(self) -> bool:
        """Whether it shows what is typed, as a shell needs it."""
        return bool(termios.tcgetattr(self._main)[3] & termios.ECHO)
