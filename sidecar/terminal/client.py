"""A client of the admin API: what there is, and what happens.

Every way in which that can fail is an `AdminError` that says what, where, and what to
do. Only `UnreachableError` may be otherwise the next time.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from sidecar.terminal.sse import EventParser, TooLongError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from sidecar.terminal.sse import ServerEvent

_LOGIN = re.compile(r"//[^/@]*@")
DEFAULT_URL: Final = "http://127.0.0.1:15000"
_OK, _BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _BUSY = 200, 400, 401, 403, 503
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 10.0
_SILENCE_S: Final = 30.0  # A stream says each 10 s that it is still there.


class AdminError(Exception):
    """The API cannot be used.

    Attributes:
        is_of_call: What was asked for makes no sense.
    """

    def __init__(self, detail: str, *, is_of_call: bool = False) -> None:
        super().__init__(detail)
        self.is_of_call = is_of_call


class UnreachableError(AdminError):
    """Nobody is there, or no longer."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the API is, and how it knows us."""

    url: str = DEFAULT_URL
    socket: str = ""  # The path of a Unix socket; then the URL counts for nothing.
    token: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Return where it is, for people: without a password that is in it."""
        return self.socket or _LOGIN.sub("//", self.url)


class AdminClient:
    """Asks one sidecar. Use it in `async with`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        headers = {"Authorization": f"Bearer {place.token}"} if place.token else {}
        try:
            connector = aiohttp.UnixConnector(place.socket) if place.socket else None
            self._session = aiohttp.ClientSession(
                "http://localhost" if place.socket else place.url,
                connector=connector,
                headers=headers,
                timeout=aiohttp.ClientTimeout(_ANSWER_S, sock_connect=_CONNECT_S),
            )
        except ValueError:
            msg = f"{place} is no address such as {DEFAULT_URL}"
            raise AdminError(msg, is_of_call=True) from None

    async def __aenter__(self) -> Self:
        """Return it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections."""
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return what is at a path, read as JSON.

        Raises:
            AdminError: It is not to be had.
        """
        async with self._answer(path, query or {}, {}) as answer:
            with self._told():
                text = await answer.text()
        try:
            return json.loads(text)
        except ValueError:
            raise self._no_sidecar() from None

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], last_id: str = ""
    ) -> AsyncIterator[AsyncGenerator[ServerEvent, None]]:
        """Yield the events from now on, or those after the one with that id.

        Raises:
            AdminError: It cannot be had, or has come to an end; also while it is read.
        """
        headers = {"Last-Event-ID": last_id} if last_id else {}
        timeout = aiohttp.ClientTimeout(
            None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S
        )
        async with self._answer(path, query, headers, timeout=timeout) as answer:
            if answer.content_type != "text/event-stream":
                raise self._no_sidecar()
            events = self._events(answer)
            try:
                yield events
            finally:
                await events.aclose()

    async def _events(
        self, answer: aiohttp.ClientResponse
    ) -> AsyncGenerator[ServerEvent, None]:
        parser = EventParser()
        while True:
            with self._told():
                piece = await answer.content.readany()
            if not piece:
                return
            with self._told():
                events = parser.feed(piece)
            for event in events:
                yield event

    @asynccontextmanager
    async def _answer(
        self,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        **more: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield an answer that is one."""
        with self._told():
            answer = await self._session.get(
                path, params=query, headers=headers, allow_redirects=False, **more
            )
        try:
            if answer.status != _OK:
                with self._told():
                    text = await answer.text()
                raise self._refused(answer.status, path, text)
            yield answer
        finally:
            answer.close()  # What was read to its end is kept all the same.

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make what goes wrong while we wait for the API an error of ours."""
        try:
            yield
        except TimeoutError:
            msg = f"{self.place} does not answer"
            raise UnreachableError(msg) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            msg = f"{self.place} is no address such as {DEFAULT_URL}"
            raise AdminError(msg, is_of_call=True) from None
        except TooLongError as error:
            msg = f"{self.place} sends {error}"
            raise AdminError(msg) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> UnreachableError:
        number = getattr(error, "errno", None) or 0
        reason = str(error) or type(error).__name__
        if number > 0:
            reason = os.strerror(number)  # Without the address: that is told already.
        elif isinstance(error, aiohttp.ClientConnectorError):
            reason = error.strerror or reason
        advice = "is the sidecar running, with its admin server there?"
        return UnreachableError(f"{self.place}: {reason}: {advice}")

    def _no_sidecar(self) -> AdminError:
        msg = f"{self.place} is no admin API of a sidecar: that is at port 15000"
        return AdminError(msg)

    def _refused(self, status: int, path: str, text: str) -> AdminError:
        try:
            told = str(json.loads(text)["error"])
        except (ValueError, KeyError, TypeError):
            return self._no_sidecar()
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return AdminError(f"{self.place}: {told}; --token-file FILE gives a token")
        if status == _BUSY:
            return UnreachableError(f"{self.place}: {told}")
        msg = f"{self.place}: {path}: {status}: {told}"
        if status == _BAD_REQUEST:
            return AdminError(told, is_of_call=True)
        return AdminError(msg)
