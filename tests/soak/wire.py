"""HTTP/1.1 of the clients: strict, small, and plain about how an answer ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LIMIT_BYTES = 2**18


class LostError(Exception):
    """The connection ended before a byte of the answer came."""


class CutError(Exception):
    """It ended in the middle of the answer."""


class Head:
    """Status and fields of an answer."""

    def __init__(self, raw: bytes) -> None:
        lines = raw.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        self.code = self.fields.get("x-316-code", "")
        self.processed = self.fields.get("x-316-processed", "")
        self.is_last = self.fields.get("connection", "") == "close"


class Link:
    """One connection to the sidecar, made when it is first needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, data: bytes) -> None:
        """Send; what cannot be delivered shows when the answer is read."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                "127.0.0.1", self._port, limit=_LIMIT_BYTES
            )
        writer = self._streams[1]
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            return

    async def head(self) -> Head:
        """Read the head of the next answer.

        Raises:
            LostError: None came.
            CutError: A part of one came.
        """
        assert self._streams is not None, "nothing was asked"
        try:
            return Head(await self._streams[0].readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError as error:
            raise (CutError if error.partial else LostError) from None
        except ConnectionError:
            raise LostError from None

    async def body(self, head: Head) -> AsyncIterator[bytes]:
        """Yield the content as it comes.

        Raises:
            CutError: It ended before it was whole.
        """
        assert self._streams is not None, "nothing was asked"
        reader = self._streams[0]
        try:
            if "transfer-encoding" not in head.fields:
                yield await reader.readexactly(int(head.fields["content-length"]))
                return
            while size := int(await reader.readuntil(b"\r\n"), 16):
                yield (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            raise CutError from None

    async def rest(self, head: Head) -> bytes:
        """Return the whole content."""
        return b"".join([piece async for piece in self.body(head)])

    def close(self) -> None:
        """Leave."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def abort(self) -> None:
        """Leave without a word."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def request(
    method: str, target: str, body: bytes = b"", *, is_chunked: bool = False
) -> bytes:
    """Return a whole request."""
    lines = [f"{method} {target} HTTP/1.1", "Host: soak"]
    if is_chunked:
        lines.append("Transfer-Encoding: chunked")
    elif method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    return head + (b"" if is_chunked else body)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
