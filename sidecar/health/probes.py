"""One question to the application, and what its answer says: HTTP, TCP, a command.

A new connection each time, as a client would open it: what hangs is found so, and
nothing stays open in between. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
)
from multidict import CIMultiDict
from yarl import URL

import sidecar
from sidecar.policy.health import Answer, Sign
from sidecar.settings.application import CommandCheck, HttpCheck, TcpCheck

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sidecar.health.commands import Commands
    from sidecar.settings.snapshot import Address, FieldMatch

_MOST_BODY_BYTES: Final = 64 * 1024
_MOST_CHARS: Final = 200
# What this process is short of, and no word about the application.
_OWN_WANTS: Final = frozenset(
    (
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS,
        errno.EADDRNOTAVAIL, errno.EAGAIN,
    )
)  # fmt: skip
_NO_PROGRAM: Final = frozenset(
    (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR)
)
AGENT: Final = f"sidecar-check/{sidecar.__version__}"


class Probe(Protocol):
    """Whoever asks. It never raises, but when it is cancelled."""

    async def ask(self, timeout_s: float) -> Answer:
        """Ask once."""

    async def close(self) -> None:
        """Ask no more."""


def probe_of(check: HttpCheck | TcpCheck | CommandCheck, commands: Commands) -> Probe:
    """Return who asks this."""
    if isinstance(check, HttpCheck):
        return HttpProbe(check)
    if isinstance(check, TcpCheck):
        return TcpProbe(check.address)
    return CommandProbe(check, commands)


class TcpProbe:
    """Asks whether a connection is taken."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def ask(self, timeout_s: float) -> Answer:
        """Connect, and leave again."""
        address, answer = self._address, Answer(Sign.ABSENT, "no address")
        try:
            async with asyncio.timeout(timeout_s):
                for host in (address.host, *address.other_hosts):
                    try:
                        _, writer = await asyncio.open_connection(host, address.port)
                    except OSError as error:
                        answer = Answer(_sign_of(error), words_of(error))
                        continue
                    writer.transport.abort()
                    return Answer(Sign.PASSED, "connected")
        except TimeoutError:
            return Answer(Sign.FAILED, f"no connection within {timeout_s:g} s")
        except ValueError as error:  # No host has such a name.
            return Answer(Sign.FAILED, words_of(error))
        return answer

    async def close(self) -> None:
        """Nothing is open in between."""


class HttpProbe:
    """Asks for a page, and looks at status and body."""

    def __init__(self, check: HttpCheck) -> None:
        self._check = check
        self._url = URL(f"http://{check.address}{check.path}", encoded=True)
        self._fields = fields_of(check.headers)
        self._session: ClientSession | None = None

    async def ask(self, timeout_s: float) -> Answer:
        """Send the request, and read of the answer what is looked at."""
        stage = _Stage()
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(stage)
        except TimeoutError:
            return stage.late(timeout_s)
        except OSError as error:  # Of aiohttp's, too.
            sign = Sign.FAILED if stage.is_connected else _sign_of(error)
            return Answer(sign, words_of(error))
        except (ClientError, ValueError) as error:
            return Answer(Sign.FAILED, words_of(error))

    async def close(self) -> None:
        """Close what a check under way has open."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, stage: _Stage) -> Answer:
        if self._session is None:
            self._session = new_session()
        async with self._session.request(
            self._check.method,
            self._url,
            headers=self._fields,
            allow_redirects=False,
            trace_request_ctx=stage,
        ) as answer:
            stage.has_answered = True
            return await self._judge(answer)

    async def _judge(self, answer: ClientResponse) -> Answer:
        status, wanted = answer.status, self._check.body_contains
        if not any(low <= status <= high for low, high in self._check.statuses):
            return Answer(Sign.FAILED, str(status))
        if wanted is not None and wanted.encode() not in await _start_of(answer):
            return Answer(Sign.FAILED, f"{status}, without {wanted!r} in its body")
        return Answer(Sign.PASSED, str(status))


class CommandProbe:
    """Runs a command: 0 is a success."""

    def __init__(self, check: CommandCheck, commands: Commands) -> None:
        self._words = check.words
        self._commands = commands

    async def ask(self, timeout_s: float) -> Answer:
        """Run it once."""
        try:
            ended = await self._commands.run(self._words, timeout_s)
        except OSError as error:
            # uvloop has no number of its own for what is short.
            is_wrong = error.errno in _NO_PROGRAM
            sign = Sign.FAILED if is_wrong else Sign.UNASKED
            return Answer(sign, f"cannot be started: {words_of(error)}")
        sign = Sign.FAILED if ended.code != 0 else Sign.PASSED
        return Answer(sign, ended.how, ended.output)

    async def close(self) -> None:
        """What runs ends with the task that waits for it."""


class _Stage:
    """How far a request has come."""

    __slots__ = ("has_answered", "is_connected")

    def __init__(self) -> None:
        self.is_connected = False
        self.has_answered = False

    def late(self, timeout_s: float) -> Answer:
        """Return what it means that time is up at this stage."""
        if self.has_answered:
            return Answer(Sign.FAILED, f"its body did not end within {timeout_s:g} s")
        if self.is_connected:
            return Answer(Sign.SILENT, f"connected, no answer within {timeout_s:g} s")
        return Answer(Sign.FAILED, f"no connection within {timeout_s:g} s")


def new_session() -> ClientSession:
    """Return a client that keeps no connection and follows no environment."""
    trace = TraceConfig()
    trace.on_connection_create_end.append(_on_connected)
    return ClientSession(
        connector=TCPConnector(force_close=True),
        cookie_jar=DummyCookieJar(),  # Each check is like the first.
        timeout=ClientTimeout(None),
        auto_decompress=False,
        skip_auto_headers=("Accept-Encoding",),
        trace_configs=[trace],
    )


def fields_of(headers: Iterable[FieldMatch]) -> CIMultiDict[str]:
    """Return header fields as the client takes them."""
    fields = CIMultiDict((field.name, field.value) for field in headers)
    fields.setdefault("User-Agent", AGENT)
    return fields


def _sign_of(error: OSError) -> Sign:
    """Return what it says that no connection came about."""
    return Sign.UNASKED if error.errno in _OWN_WANTS else Sign.ABSENT


def words_of(error: Exception) -> str:
    """Return an error in a short line; what was asked for may hold secrets."""
    # Of a name that does not resolve the number is below 0, and not the system's.
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)
    text = str(getattr(error, "message", "") or error)
    return " ".join(text.split())[:_MOST_CHARS] or type(error).__name__


async def _on_connected(_: ClientSession, context: Any, __: object) -> None:
    stage = context.trace_request_ctx
    if stage is not None:
        stage.is_connected = True


async def _start_of(answer: ClientResponse) -> bytes:
    """Return the body, as far as it is looked at."""
    body = bytearray()
    while len(body) < _MOST_BODY_BYTES:
        piece = await answer.content.read(_MOST_BODY_BYTES - len(body))
        if not piece:
            break
        body += piece
    return bytes(body)
