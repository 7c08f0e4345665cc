"""What is wrong with a configuration, and where."""

from __future__ import annotations

from dataclasses import dataclass


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
