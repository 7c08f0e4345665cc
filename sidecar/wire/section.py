"""Header sections: lines that are judged once, and remembered.

    section seen before?   as it was found then
    line seen before?      as it was found then
    name seen before?      the value is looked at, byte by byte
    a new name             the line is read by llhttp (httptools), and by its grammar

Both judges must find a line well-formed, and the same name in it: so bare CR and LF,
folded lines and space before a colon have no way in. Lines that tell a parser where
a message ends go to both whenever they are new. Remembered whole are only lines with
names of a fixed list, none of whose values are secret or differ from request to
request, and sections made of nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import httptools

from sidecar.model import FieldLine, HeaderSection

if TYPE_CHECKING:
    from collections.abc import Callable

    Parser = type[httptools.HttpRequestParser | httptools.HttpResponseParser]

F = TypeVar("F")

# The value with its blanks: to split them off backtracks.
_FIELD_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t -~\x80-\xff]*)")
_SINGLE: Final = frozenset((b"content-length", b"host"))
_REPEATING: Final = frozenset(
    b"accept accept-charset accept-encoding accept-language accept-ranges allow"
    b" cache-control connection content-encoding content-language content-length"
    b" content-type date expires host keep-alive pragma server te trailer"
    b" transfer-encoding upgrade upgrade-insecure-requests user-agent vary via"
    b" access-control-allow-headers access-control-allow-methods"
    b" access-control-allow-origin strict-transport-security x-content-type-options"
    b" x-forwarded-host x-forwarded-proto x-frame-options x-powered-by".split()
)
_MEANT_FOR_PARSERS: Final = frozenset(
    (b"connection", b"content-length", b"transfer-encoding", b"upgrade")
)
# Visible ASCII, obs-text, space and tab (RFC 9110, 5.5).
_VALUE_BYTES: Final = bytes((9, *range(0x20, 0x7F), *range(0x80, 0x100)))
_MAX_NAMES: Final = 1024
_MAX_NAME_BYTES: Final = 64
_MAX_LINES: Final = 4096
_MAX_LINE_BYTES: Final = 256
_MAX_SECTIONS: Final = 512
_MAX_SECTION_BYTES: Final = 2048
_ANY_NUMBER: Final = 1 << 30


class HeadError(Exception):
    """A head that must not be acted on.

    Args:
        detail: What is wrong, for people; holds no bytes of the input.
        status: What a client is to be told: 400, 414, 431, 501 or 505.
    """

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class CodingError(HeadError):
    """A response has a transfer coding that cannot be read, and so not be sent on."""


class SectionReader(Generic[F]):
    """Reads the header sections of heads of one kind.

    Args:
        parser: That of httptools for this kind.
        start: A start line to judge lines below, one that asks for nothing special.
        use_of: What becomes of a field of that name at this hop.
    """

    __slots__ = ("_lines", "_names", "_parser", "_sections", "_start", "_use_of")

    def __init__(
        self, parser: Parser, start: bytes, use_of: Callable[[bytes], int]
    ) -> None:
        self._parser = parser
        self._start = start
        self._use_of = use_of
        self._lines: dict[bytes, FieldLine] = {}
        self._names: dict[bytes, tuple[bytes, int]] = {}  # As spelt: key and use.
        self._sections: dict[bytes, HeaderSection[F]] = {}

    def read(self, raw: bytes, max_lines: int = _ANY_NUMBER) -> HeaderSection[F]:
        """Return a section, given with the empty line that ends it.

        Raises:
            HeadError: A line is malformed, or one of which there is one is doubled,
                or there are too many new ones.
        """
        section = self._sections.get(raw)
        return self._read_new(raw, max_lines) if section is None else section

    def _read_new(self, raw: bytes, max_lines: int) -> HeaderSection[F]:
        known = self._lines
        texts = raw[:-4].split(b"\r\n") if len(raw) > _EMPTY_BYTES else []
        if len(texts) > max_lines:  # Before they are read: that is what costs.
            raise too_many(max_lines)
        try:
            lines = [known[text] for text in texts]
        except KeyError:
            lines = self._learn(texts)
            return HeaderSection(lines, _named(lines))
        section: HeaderSection[F] = HeaderSection(lines, _named(lines))
        if len(raw) <= _MAX_SECTION_BYTES:
            if len(self._sections) >= _MAX_SECTIONS:
                self._sections.clear()
            self._sections[raw] = section
        return section

    def _learn(self, texts: list[bytes]) -> list[FieldLine]:
        """Read lines of which some are new, and remember what is likely to return."""
        known = self._lines
        lines: list[FieldLine] = []
        for text in texts:
            line = known.get(text)
            if line is None:
                line = self._read_line(text)
                if line.key in _REPEATING and len(text) <= _MAX_LINE_BYTES:
                    if len(known) >= _MAX_LINES:
                        known.clear()
                    known[text] = line
            lines.append(line)
        return lines

    def _read_line(self, text: bytes) -> FieldLine:
        """Read a new line: its name may be known, then its value is looked at.

        Raises:
            HeadError: It is malformed.
        """
        name, colon, value = text.partition(b":")
        known = self._names.get(name)
        if known and colon and not value.translate(None, _VALUE_BYTES):
            return FieldLine(known[0], value.strip(b" \t"), text + b"\r\n", known[1])
        line = self._line(text)
        self.judge(self._start, [line])
        if line.key == b"content-length":  # Tabs around it are not read by all.
            raw = b"%b: %b\r\n" % (name, line.value)
            return FieldLine(line.key, line.value, raw, line.use)
        if line.key not in _MEANT_FOR_PARSERS and len(name) <= _MAX_NAME_BYTES:
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            self._names[name] = (line.key, line.use)
        return line

    def judge(self, start: bytes, lines: list[FieldLine]) -> None:
        """Let llhttp read a head of these lines.

        Raises:
            HeadError: It refuses, or reads other names in them.
        """
        collector = _Collector()
        raw = b"%b\r\n%b\r\n" % (start, b"".join([line.raw for line in lines]))
        try:
            self._parser(collector).feed_data(raw)
        except httptools.HttpParserUpgrade:
            pass  # It would stop reading HTTP here; a head is all it was given.
        except httptools.HttpParserInvalidMethodError:
            msg = "the method is none that this proxy knows"
            raise HeadError(msg, 501) from None
        except httptools.HttpParserError as error:
            raise HeadError(str(error) or "malformed header section") from None
        if collector.names != [line.raw[: len(line.key)] for line in lines]:
            msg = "the header section can be read in two ways"
            raise HeadError(msg)

    def _line(self, text: bytes) -> FieldLine:
        match = _FIELD_LINE.fullmatch(text)
        if match is None:
            msg = "a header field is malformed"
            raise HeadError(msg)
        key, value = match[1].lower(), match[2].strip(b" \t")
        if key == b"content-length" and value[:1] == b"0" and value.isdigit():
            value = value.lstrip(b"0") or b"0"  # Some read 010 as eight.
            text = match[1] + b": " + value
        return FieldLine(key, value, text + b"\r\n", self._use_of(key))


class _Collector:
    """What llhttp calls.

    A parser is made for each head: one that is kept must be fed bodies, too, and
    refuses what follows a `Connection: close`.
    """

    __slots__ = ("names",)

    def __init__(self) -> None:
        self.names: list[bytes] = []

    def on_header(self, name: bytes, _: bytes) -> None:
        self.names.append(name)


def too_many(max_lines: int) -> HeadError:
    """Return the refusal of a section with more lines than that."""
    return HeadError(f"more than {max_lines} header fields", 431)


def _named(lines: list[FieldLine]) -> dict[bytes, bytes]:
    named: dict[bytes, bytes] = {}
    for key, value, _, _ in lines:
        if key in named:
            if key in _SINGLE:
                msg = f"{key.decode()} is there twice"  # RFC 9112, 3.2 and 6.3.
                raise HeadError(msg)
            named[key] += b", " + value
        else:
            named[key] = value
    return named


_EMPTY_BYTES: Final = 2  # A section without fields: only the empty line.
