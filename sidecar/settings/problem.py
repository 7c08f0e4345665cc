"""What is wrong with a configuration, and where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sidecar.wire.secret_names import MASK, is_secret, without_secrets_of_urls

if TYPE_CHECKING:
    from collections.abc import Iterable


_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")


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
        """Return it in one line, as compilers write it, so that editors can jump there.

        A key may hold anything: a line break of it would forge another problem.
        """
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        path = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        text = f"{place}:{path} {self.message}{hint}"
        return _CONTROL.sub(lambda c: c[0].encode("unicode_escape").decode(), text)


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


_EDITS = frozenset(
    (
        "request_headers",
        "requestHeaderModifier",
        "request_header_modifier",
        "response_headers",
        "responseHeaderModifier",
        "response_header_modifier",
    )
)
_CONDITIONS = frozenset(("headers", "query", "queryParams", "query_params"))
_OPEN = frozenset(("name", "type"))


def shown(value: object, path: tuple[str | int, ...] = ()) -> str:
    """Return a value as a message quotes it: in a line, short, and no secret.

    Args:
        value: What stands there.
        path: Where, if that may tell that it is a secret.
    """
    if _holds_secrets(path) and value not in path:
        return MASK
    text = without_secrets_of_urls(repr(value))
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _holds_secrets(path: tuple[str | int, ...]) -> bool:
    """Tell whether what stands at `path` may be a secret, or have one in it."""
    words = [part for part in path if isinstance(part, str)]
    if not words or words[-1] in _OPEN:
        return False
    if words[-1] == "url" and "webhook" in words:
        return True  # Whoever knows it can write there.
    is_condition = "matches" in words and not _CONDITIONS.isdisjoint(words)
    return (
        is_condition or not _EDITS.isdisjoint(words) or any(is_secret(w) for w in words)
    )
