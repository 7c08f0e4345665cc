"""How a command ends that cannot do what it was asked for."""

from __future__ import annotations

import sys
from typing import NoReturn


def fail(message: str, code: int = 1) -> NoReturn:
    """Tell what is wrong, and end."""
    sys.stderr.write(message + "\n")
    sys.exit(code)
