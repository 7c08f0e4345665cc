"""The proxy's own log: a line a record, and nothing in it that others could plant.

What an exception or a library says may quote what came over the wire, or a secret of
the environment. So of an exception type and place are told, never its words; of
what a library logs, its words without what it filled in. A control character
(a line break, an escape sequence for a terminal) is shown, not sent.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from typing import TYPE_CHECKING

from sidecar.faults.classify import places_of

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
OURS = "sidecar"
_MAX_CHAIN = 8


if TYPE_CHECKING:
    from typing import TextIO

_log = logging.getLogger(__name__)


def install(stream: TextIO, level: str) -> None:
    """Let all of this process's log, and what ends it or a thread, be told so."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OwnLogFormatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger(OURS).setLevel(level)
    sys.excepthook = lambda kind, error, trace: _log.critical(
        "ended by a bug", exc_info=(kind, error, trace)
    )
    threading.excepthook = lambda ended: _log.error(
        "a thread was ended by a bug",
        exc_info=None
        if ended.exc_value is None
        else (ended.exc_type, ended.exc_value, ended.exc_traceback),
    )


class OwnLogFormatter(logging.Formatter):
    """Writes a record so that it is one line, and tells no secret."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        error = record.exc_info[1] if record.exc_info else None
        text = f"{record.levelname} {record.name}: {_words(record)}"
        if error is not None:
            text += f": {described(error)}"
        return _UNPRINTABLE.sub(lambda found: _escaped(found[0]), text)


def described(error: BaseException) -> str:
    """Return types and places of an exception and of what led to it."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < _MAX_CHAIN:
        places = " < ".join(reversed(places_of(current)))
        parts.append(f"{type(current).__name__} at {places or 'no place'}")
        current = current.__cause__ or current.__context__
    return ", after ".join(parts)


def _words(record: logging.LogRecord) -> str:
    """Return what a record says."""
    if record.name.partition(".")[0] == OURS:
        return record.getMessage()
    return str(record.msg).partition("\n")[0]  # asyncio goes on with what it holds.


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
