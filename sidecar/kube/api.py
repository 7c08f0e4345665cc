"""The API of Kubernetes, as much of it as a watch needs, from inside a pod.

Token and certificate are read for each call: kubelet renews both.

Source:
    Kubernetes, "API Concepts" (lists in pages, watches, bookmarks, 410 Gone) and
    "Accessing the Kubernetes API from a Pod".
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from pathlib import Path

Object = dict[str, Any]

GONE: Final = 410
OPENED: Final = "OPENED"  # Before the first event: the API has taken up a watch.
_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_PAGE: Final = 500  # Objects of one answer to a list.
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 30.0  # For a page, or the head of a watch.
_SPARE_S: Final = 30.0  # Beyond what a watch was asked to take.
_MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
_MOST_WORDS: Final = 300  # Of an error's body, in the log.
# A watch may be silent for minutes: so the kernel asks whether anybody is there.
_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 4), 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class ApiError(Exception):
    """The API cannot be reached, refuses, or says what cannot be read."""

    def __init__(
        self,
        detail: str,
        status: int = 0,
        retry_after_s: float | None = None,
        *,
        is_garbled: bool = False,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.is_garbled = is_garbled
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API is, and who we are."""

    url: str
    folder: Path  # With token, ca.crt and namespace.

    def token(self) -> str:
        """Return the token as it is now."""
        return self._read("token")

    def namespace(self) -> str:
        """Return the namespace of this pod."""
        return self._read("namespace")

    def tls(self) -> ssl.SSLContext | bool:
        """Return how to verify the API."""
        if not self.url.startswith("https:"):
            return True
        path = self.folder / "ca.crt"
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as error:
            msg = f"{path}: {error.strerror or error}: is the token mounted?"
            raise ApiError(msg) from None

    def _read(self, name: str) -> str:
        path = self.folder / name
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is no text"
            msg = (
                f"{path}: {reason}: set automountServiceAccountToken: true for the "
                "pod, or discovery.service_account"
            )
            raise ApiError(msg) from None


def in_cluster(environ: Mapping[str, str], folder: Path) -> Access:
    """Return the access that kubelet gives each pod.

    Raises:
        ApiError: This is no pod.
    """
    host = environ.get("KUBERNETES_SERVICE_HOST")
    port = environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or environ.get(
        "KUBERNETES_SERVICE_PORT"
    )
    if not host or not port:
        msg = (
            "KUBERNETES_SERVICE_HOST and _PORT are not set: this is no pod; "
            "use discovery.dns or endpoints"
        )
        raise ApiError(msg)
    return Access(f"https://{f'[{host}]' if ':' in host else host}:{port}", folder)


class Api:
    """Lists and watches objects of one kind.

    Args:
        access: Where it is, and who we are.
        answer_s: To wait for a page of a list, or for the head of a watch.
    """

    def __init__(self, access: Access, answer_s: float = _ANSWER_S) -> None:
        self._access = access
        self._answer_s = answer_s

    async def list(self, path: str, selector: str) -> tuple[list[Object], str]:
        """Return all objects, and the version that they are of.

        Args:
            path: Of the collection.
            selector: Labels that an object must have.

        Raises:
            ApiError: There is no answer, or not all of it.
        """
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        items: list[Object] = []
        while True:
            async with self._get(path, query, self._answer_s) as answer:
                page = _object(await answer.read())
            items += page.get("items") or ()
            metadata = page.get("metadata") or {}
            if not metadata.get("continue"):
                return items, str(metadata.get("resourceVersion", ""))
            query["continue"] = str(metadata["continue"])

    async def watch(
        self, path: str, selector: str, version: str, limit_s: int
    ) -> AsyncGenerator[tuple[str, Object], None]:
        """Yield OPENED, then what happens after a version: type of event, object.

        Raises:
            ApiError: It ended before its time, or the version is too old (410).
        """
        query = {
            "labelSelector": selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(limit_s),
        }
        async with (
            self._get(path, query, limit_s + _SPARE_S) as answer,
            aclosing(_lines(answer.content)) as lines,
        ):
            yield OPENED, {}
            async for line in lines:
                event = _object(line)
                kind, thing = str(event.get("type")), event.get("object") or {}
                if kind == "ERROR":
                    status = thing.get("code")
                    msg = f"the watch ends: {thing.get('message', 'no reason given')}"
                    raise ApiError(msg, status if isinstance(status, int) else 0)
                yield kind, thing

    @asynccontextmanager
    async def _get(
        self, path: str, query: dict[str, str], total_s: float
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask on a connection of its own: a call is minutes, or happens once."""
        headers = {"Authorization": f"Bearer {self._access.token()}"}
        limits = aiohttp.ClientTimeout(total=total_s, sock_connect=_CONNECT_S)
        tls = self._access.tls()
        try:
            async with aiohttp.ClientSession(
                self._access.url,
                connector=aiohttp.TCPConnector(ssl=tls),
                headers=headers,
                timeout=limits,
            ) as session:
                async with asyncio.timeout(self._answer_s):
                    answer = await session.get(
                        path, params=query, allow_redirects=False
                    )
                async with answer:
                    _keep_alive(answer)
                    if answer.status != _OK:
                        raise _refusal(answer, await answer.read(), path)
                    yield answer
        except TimeoutError:
            msg = f"{self._access.url} does not answer in time"
            raise ApiError(msg) from None
        except aiohttp.ClientError as error:
            msg = f"{self._access.url}: {error or type(error).__name__}"
            raise ApiError(msg) from None


def _keep_alive(answer: aiohttp.ClientResponse) -> None:
    connection = answer.connection
    if connection is None or connection.transport is None:  # All of it is here.
        return
    sock = connection.transport.get_extra_info("socket")
    if sock is not None:
        for option in _KEEP_ALIVE:
            sock.setsockopt(*option)


async def _lines(stream: aiohttp.StreamReader) -> AsyncGenerator[bytes, None]:
    """Yield lines of any length that an event may have; `readline` ends at 64 KiB."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream.iter_any():
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join((*pieces, line))
            pieces, size = [], 0
        pieces.append(rest)
        size += len(rest)
        if size > _MAX_EVENT_BYTES:
            msg = f"an event of over {_MAX_EVENT_BYTES} bytes"
            raise ApiError(msg, is_garbled=True)


def _object(text: bytes) -> Object:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        msg = f"not an object: {text[:_MOST_WORDS]!r}"
        raise ApiError(msg, is_garbled=True)
    return found


def _refusal(answer: aiohttp.ClientResponse, body: bytes, path: str) -> ApiError:
    """Return what a status means, with what to do."""
    status = answer.status
    try:
        words = str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        words = body.decode("utf-8", "replace")
    words = f"{status} {answer.reason}: {words[:_MOST_WORDS]}"
    if status == _UNAUTHORIZED:
        words += "; the token is read again"
    elif status == _FORBIDDEN:
        words += f"; the ServiceAccount of this pod needs {_rule(path)}"
    after = answer.headers.get("Retry-After", "")
    return ApiError(words, status, float(after) if after.isdecimal() else None)


def _rule(path: str) -> str:
    """Return the rule of RBAC that allows to follow a collection."""
    _, _, group, _, _, namespace, resource = path.split("/")
    return (
        f"a Role in namespace {namespace} with apiGroups: [{group}], "
        f"resources: [{resource}], verbs: [get, list, watch], and a RoleBinding"
    )
