"""What is wrong with a configuration, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend."""

    file: str
    line: int  # From 1; 0 when it is not in the file.
    column: int
    path: str  # Such as "routes[0].timeouts.request".
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return it as compilers write it, so that editors can jump there."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{path} {self.message}{hint}"


class SettingsError(Exception):
    """A configuration that cannot be used; `problems` is not empty."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names what `word` was probably meant to be; may be empty."""
    from rapidfuzz import fuzz, process  # noqa: PLC0415 - only after a mistake

    best = process.extractOne(word, list(known), scorer=fuzz.ratio, score_cutoff=60)
    return f"did you mean {best[0]!r}?" if best else ""


_SHOWN = 60


def shown(value: object) -> str:
    """Return a value as a message quotes it: in a line, and short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
