"""Keys of a terminal, by name, while it hands them over one by one.

Ctrl-C stays a signal. The terminal is as it was afterwards, whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NAMES: Final = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down",
    "\x1b[C": "right", "\x1bOC": "right", "\x1b[D": "left", "\x1bOD": "left",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end",
    "\x1b[5~": "page_up", "\x1b[6~": "page_down",
    "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\b": "backspace",
    "\x1b": "escape", "\x04": "q",
}  # fmt: skip
# A sequence of a key that is none of these means nothing, not its characters.
_KEY = re.compile(r"\x1b\[[0-9;?]*[A-Za-z~]|\x1bO[A-Za-z]|\x1b|.", re.DOTALL)
_MOST: Final = 1024
_LOCAL, _SPECIAL = 3, 6  # Places in what termios tells.


def names_of(data: bytes) -> list[str]:
    """Return the keys in what was typed at once: names, or the characters."""
    found = _KEY.findall(data.decode("utf-8", "ignore"))
    return [name for key in found if (name := _NAMES.get(key, key)).isprintable()]


@contextmanager
def keys(press: Callable[[str], object]) -> Iterator[None]:
    """Hand over each key that is pressed; none, where there is no keyboard."""
    if not sys.stdin or not sys.stdin.isatty():
        yield
        return
    number, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    before = termios.tcgetattr(number)

    def read() -> None:
        data = os.read(number, _MOST)
        if not data:
            loop.remove_reader(number)  # The terminal is gone.
        for name in names_of(data):
            press(name)

    now = termios.tcgetattr(number)
    now[_LOCAL] &= ~(termios.ECHO | termios.ICANON)
    # Who is stopped would leave the terminal like this.
    now[_SPECIAL][termios.VSUSP] = b"\0"
    termios.tcsetattr(number, termios.TCSADRAIN, now)
    loop.add_reader(number, read)
    try:
        yield
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
