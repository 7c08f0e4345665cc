"""What one end of a WebSocket may send, well and badly, as bytes on the wire.

Sections are those of RFC 6455 that Autobahn|Testsuite made usual: 1 framing,
2 pings and pongs, 3 reserved bits, 4 opcodes, 5 fragmentation, 6 UTF-8, 7 close,
10 the handshake's end, 12 compression (RFC 7692).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, of any kind: also those that nobody may send."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    reserved: int = 0  # RSV1 is 4.

    def encode(self, *, is_masked: bool) -> bytes:
        first = self.fin << 7 | self.reserved << 4 | self.opcode
        size, flag = len(self.payload), is_masked << 7
        if size < 126:
            head = bytes((first, flag | size))
        elif size < 65_536:
            head = bytes((first, flag | 126)) + size.to_bytes(2, "big")
        else:
            head = bytes((first, flag | 127)) + size.to_bytes(8, "big")
        return head + MASK + masked(self.payload) if is_masked else head + self.payload


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and how it is cut into segments.

    Attributes:
        name: Section and words.
        frames: In their order.
        piece_bytes: Of a segment; 0: a segment for each frame.
        is_early: The first segment holds the handshake, too.
        end: What follows them. Behind what nobody may send it is nothing: whether the
            peer reads on is its own affair, and depends on who is quicker.
        offer: The extensions that are asked for.
    """

    name: str
    frames: tuple[Frame, ...]
    piece_bytes: int = 0
    is_early: bool = False
    end: Literal["close", "eof", "nothing"] = "close"
    offer: str = ""

    def pieces(self, *, is_masked: bool, is_agreed: bool = True) -> list[bytes]:
        """Return the segments; without what was offered and not agreed upon."""
        end = (closing(1000),) if self.end == "close" else ()
        frames = [f for f in self.frames if is_agreed or not f.reserved]
        whole = [frame.encode(is_masked=is_masked) for frame in (*frames, *end)]
        if not self.piece_bytes:
            return whole
        data, step = b"".join(whole), self.piece_bytes
        return [data[at : at + step] for at in range(0, len(data), step)]


def masked(data: bytes, mask: bytes = MASK) -> bytes:
    """Return data with a mask on, or off (RFC 6455, 5.3)."""
    if not data:
        return b""
    key = (mask * (len(data) // 4 + 1))[: len(data)]
    both = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
    return both.to_bytes(len(data), "big")


def closing(code: int, reason: bytes = b"") -> Frame:
    return Frame(CLOSE, code.to_bytes(2, "big") + reason)


def deflated(data: bytes) -> Frame:
    """Return a compressed text (RFC 7692, 7.2.1)."""
    squeeze = zlib.compressobj(wbits=-9)
    raw = squeeze.compress(data) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    return Frame(TEXT, raw.removesuffix(b"\x00\x00\xff\xff"), reserved=4)


def fragments(opcode: int, *parts: bytes) -> tuple[Frame, ...]:
    """Return a message in as many frames as there are parts."""
    last = len(parts) - 1
    return tuple(
        Frame(opcode if n == 0 else CONTINUATION, part, fin=n == last)
        for n, part in enumerate(parts)
    )


def _framing() -> Iterator[Case]:
    for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
        for size in (0, 1, 125, 126, 127, 128, 65_535, 65_536, 300_000):
            yield Case(f"1 {kind} of {size}", (Frame(opcode, b"*" * size),))
        for step in (1, 2, 3):
            frames = (Frame(opcode, b"*" * 200), Frame(opcode, b"+" * 7))
            yield Case(f"1 {kind} by {step}", frames, piece_bytes=step)
        large = (Frame(opcode, b"*" * 65_536),)
        yield Case(f"1 {kind} of 65536 by 997", large, piece_bytes=997)


def _pings() -> Iterator[Case]:
    sizes = tuple(Frame(PING, bytes(range(size))) for size in range(126))
    yield Case("2 pings of 0 to 125", sizes)
    yield Case("2 ping of 126, too long", (Frame(PING, b"*" * 126),), end="nothing")
    yield Case("2 ping by 1", (Frame(PING, b"\xff\x00" * 60),), piece_bytes=1)
    yield Case("2 pong unasked", (Frame(PONG, b"why"), Frame(PING, b"so")))
    ten = tuple(Frame(PING, b"%d" % n) for n in range(10))
    yield Case("2 ten pings", ten)
    yield Case("2 ten pings by 1", ten, piece_bytes=1)
    yield Case("2 ten pings at once", ten, piece_bytes=10_000)


def _reserved() -> Iterator[Case]:
    for bits in range(1, 8):
        for opcode in (TEXT, PING, CLOSE):
            frames = (Frame(TEXT, b"first"), Frame(opcode, b"", reserved=bits))
            yield Case(f"3 bits {bits} opcode {opcode}", frames, end="nothing")


def _opcodes() -> Iterator[Case]:
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"unknown"):
            frames = (Frame(TEXT, b"first"), Frame(opcode, payload))
            name = f"4 opcode {opcode} {len(payload)} bytes"
            yield Case(name, frames, end="nothing")


def _fragmentation() -> Iterator[Case]:
    two = fragments(TEXT, b"one", b"two")
    ping = Frame(PING, b"between")
    yield Case("5 ping in fragments", fragments(PING, b"a", b"b")[:1], end="nothing")
    yield Case("5 pong in fragments", fragments(PONG, b"a", b"b")[:1], end="nothing")
    yield Case("5 text in two", two)
    yield Case("5 text in two by 1", two, piece_bytes=1)
    yield Case("5 empty fragments", fragments(TEXT, b"", b"middle", b""))
    yield Case("5 ping between", (two[0], ping, two[1]))
    yield Case("5 ping between by 1", (two[0], ping, two[1]), piece_bytes=1)
    yield Case("5 continuation of nothing", (Frame(CONTINUATION, b"x"),), end="nothing")
    first = Frame(CONTINUATION, b"x", fin=False)
    yield Case("5 continuation not last", (first,), end="nothing")
    yield Case("5 new message inside", (two[0], Frame(TEXT, b"b")), end="nothing")
    yield Case("5 never finished", two[:1], end="eof")
    many = fragments(BINARY, *[b"%d" % n for n in range(500)])
    yield Case("5 five hundred", many)
    yield Case("5 five hundred at once", many, piece_bytes=100_000)
    pinged = tuple(chain.from_iterable((one, ping) for one in many[:9])) + many[9:]
    yield Case("5 pings between all", pinged)


def _utf_8() -> Iterator[Case]:
    good = "Hello-µ@ßöäüàá-UTF-8!! κόσμε \U0010ffff \ufffe".encode()
    yield Case("6 valid", (Frame(TEXT, good),))
    yield Case("6 valid by 1", (Frame(TEXT, good),), piece_bytes=1)
    single = fragments(TEXT, *[bytes((byte,)) for byte in good])
    yield Case("6 valid, each byte a fragment", single)
    for bad in (
        b"\x80", b"\xbf", b"\xc0\xaf", b"\xc3", b"\xe0\x80\xaf", b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfe", b"\xff",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ):  # fmt: skip
        whole = (Frame(TEXT, b"a" + bad + b"b"),)
        yield Case(f"6 invalid {bad[:6].hex()}", whole, end="nothing")


def _closes() -> Iterator[Case]:
    for code in (
        *range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999,
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535,
    ):  # fmt: skip
        frame = closing(code, "because, ünd".encode())
        yield Case(f"7 code {code}", (Frame(TEXT, b"last"), frame), end="eof")
    for what, frame in {
        "empty": Frame(CLOSE),
        "of one byte": Frame(CLOSE, b"\x03"),
        "with the longest reason": closing(1000, b"*" * 123),
        "with too long a reason": closing(1000, b"*" * 124),
        "with a bad reason": closing(1000, b"\xce\xba\xe1\xbd\xb9\xed\xa0\x80"),
    }.items():
        yield Case(f"7 close {what}", (frame,), end="eof")
        if len(frame.payload) <= 125:
            yield Case(f"7 close {what} by 1", (frame,), piece_bytes=1, end="eof")
    after = (closing(1000), Frame(TEXT, b"too late"), Frame(PING))
    yield Case("7 text after close", after, end="eof", piece_bytes=1000)
    yield Case("7 two closes", (closing(1000), closing(1001)), piece_bytes=1000)
    yield Case("7 no close at all", (Frame(TEXT, b"last"),), end="eof")
    half = Frame(BINARY, b"*" * 1000)
    yield Case("7 nothing", (), end="eof")
    yield Case(
        "7 close in a message", (*fragments(TEXT, b"a", b"b")[:1], closing(1000))
    )
    yield Case("7 close behind much", (half,) * 20, piece_bytes=4096)


def _handshakes() -> Iterator[Case]:
    frames = (Frame(TEXT, b"early"), Frame(PING, b"bird"), Frame(BINARY, b"\x00" * 9))
    for step in (0, 1, 7):
        name = f"10 behind the handshake by {step}"
        yield Case(name, frames, piece_bytes=step, is_early=True)
    large = (Frame(BINARY, b"*" * 200_000),)
    yield Case("10 much behind the handshake", large, is_early=True)


def _compression() -> Iterator[Case]:
    plain = "permessage-deflate"
    for offer in (
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_max_window_bits=9",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10; server_max_window_bits=12",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; nonsense, permessage-deflate; server_max_window_bits=15",
        "x-unknown; a=b",
    ):
        frames = (deflated(b"compressed " * 99), Frame(TEXT, b"plain"), Frame(PING))
        yield Case(f"12 {offer}", frames, offer=offer)
        yield Case(f"12 by 5: {offer}", frames, offer=offer, piece_bytes=5)
    bad = (Frame(TEXT, b"\xff\xff\xff", reserved=4),)
    yield Case("12 not deflated", bad, offer="permessage-deflate")
    yield Case(
        "12 ping with RSV1", (Frame(PING, reserved=4),), offer="permessage-deflate"
    )
    first, second = fragments(TEXT, deflated(b"ab" * 99).payload, b"")
    split = (Frame(TEXT, first.payload, fin=False, reserved=4), second)
    yield Case("12 in fragments", split, offer=plain)


def _all(*sections: Iterable[Case]) -> tuple[Case, ...]:
    return tuple(chain.from_iterable(sections))


CASES = _all(
    _framing(), _pings(), _reserved(), _opcodes(), _fragmentation(), _utf_8(),
    _closes(), _handshakes(), _compression(),
)  # fmt: skip
