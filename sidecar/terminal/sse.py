"""Server-sent events, read from bytes as they come.

Source:
    WHATWG HTML, 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 4 * 1024 * 1024  # Of what has no end yet: a record is a few KiB.
# A CR at the end of what came may be half of a CRLF.
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


class TooLongError(Exception):
    """A line or an event has no end in sight."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event."""

    name: str
    data: str
    id: str  # The last one that was told, be it with an event before.


class EventParser:
    """Takes bytes in any pieces, and returns whole events."""

    def __init__(self) -> None:
        self._rest = b""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._id = ""

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Return the events that end in these bytes.

        Raises:
            TooLongError: What has come for one is longer than any can be.
        """
        *lines, self._rest = _LINE_END.split(self._rest + data)
        found = [event for line in lines if (event := self._line(line)) is not None]
        if len(self._rest) + self._size > MAX_BYTES:
            msg = f"an event of over {MAX_BYTES} bytes"
            raise TooLongError(msg)
        return found

    def _line(self, line: bytes) -> ServerEvent | None:
        if not line:
            return self._end()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
            self._size += len(line) + 1
        elif field == "id" and "\0" not in value:
            self._id = value
        return None

    def _end(self) -> ServerEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        return ServerEvent(name, "\n".join(data), self._id) if data else None
