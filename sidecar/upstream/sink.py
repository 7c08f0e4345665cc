"""What an upstream connection tells of a response, and to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sidecar.model import Fields, ResponseHead
    from sidecar.wire.framing import FramingError
    from sidecar.wire.head import HeadError


class ResponseSink(Protocol):
    """Who hears what comes back. No method may wait."""

    def on_interim(self, head: ResponseHead) -> None:
        """A 1xx head other than 101 came."""

    def on_head(
        self, head: ResponseHead, content: bytes, trailers: Fields | None
    ) -> None:
        """The final head came, or a 101, with the content right behind it.

        `trailers` are there, mostly empty, if that was the whole response.
        """

    def on_body(self, data: bytes) -> None:
        """Content came; never empty. After a 101: bytes of the tunnel."""

    def on_end(self, trailers: Fields) -> None:
        """The response is whole."""

    def on_malformed(self, error: HeadError | FramingError) -> None:
        """What came is not HTTP; the connection is closed."""

    def on_lost(self, error: Exception | None) -> None:
        """The connection ended before the response did."""

    def pause_writing(self) -> None:
        """The socket takes no more for now."""

    def resume_writing(self) -> None:
        """It takes more again."""
