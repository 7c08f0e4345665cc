"""Who is alerted: an HTTP receiver, and a mail server that is a real one."""

from __future__ import annotations

import asyncio
import email
import email.policy
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult

from tests.support.web import served

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from email.message import EmailMessage

LOOK_S = 0.01


@dataclass
class Hook:
    """An HTTP receiver: it keeps what comes, and answers as it is told."""

    port: int = 0
    bodies: list[Any] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    answers: list[tuple[int, str, dict[str, str]]] = field(default_factory=list)
    plain: tuple[int, str, dict[str, str]] = (200, "ok", {})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/s3cret"

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.queries.append(dict(request.query))
        status, text, headers = self.answers.pop(0) if self.answers else self.plain
        return web.Response(status=status, text=text, headers=headers)

    async def got(self, count: int) -> list[Any]:
        """Wait for so many messages; the test's time bounds it."""
        while len(self.bodies) < count:
            await asyncio.sleep(LOOK_S)
        return self.bodies

    async def told(self, status: str = "firing") -> dict[str, Any]:
        """Wait for a JSON message with this status."""
        while True:
            for body in self.bodies:
                if body["status"] == status:
                    return dict(body)
            await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def hook(tls: ssl.SSLContext | None = None) -> AsyncIterator[Hook]:
    found = Hook()
    application = web.Application()
    application.router.add_post("/{path:.*}", found.take)
    async with served(application, tls) as found.port:
        yield found


@dataclass
class Post:
    """A mail server: it keeps letters, who they are for, and who gave a password."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    were_safe: list[bool] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)  # Recipient: answer.
    password: bytes = b"s3cret"
    busy: list[str] = field(default_factory=list)  # Answers to the next letters.

    async def handle_RCPT(  # noqa: N802 - aiosmtpd calls it so
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd calls it so
        self, _server: Any, session: Any, envelope: Any
    ) -> str:
        if self.busy:
            return self.busy.pop(0)
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.letters.append(letter)
        self.recipients.append(envelope.rcpt_tos)
        self.were_safe.append(session.ssl is not None)
        return "250 OK"

    def check(self, *given: Any) -> AuthResult:
        """Take the password of `given`, the last of aiosmtpd's arguments."""
        is_right = given[-1].password == self.password
        return AuthResult(success=is_right, handled=is_right)

    async def got(self, count: int) -> list[EmailMessage]:
        """Wait for so many letters; the test's time bounds it."""
        while len(self.letters) < count:
            await asyncio.sleep(LOOK_S)
        return self.letters


@asynccontextmanager
async def post(
    tls: ssl.SSLContext | None = None,
    *,
    is_tls: bool = False,
    wants_password: bool = False,
) -> AsyncIterator[Post]:
    """Run one; with `tls` it wants STARTTLS, or speaks TLS from the first byte."""
    found = Post()
    loop = asyncio.get_running_loop()
    talks: list[SMTP] = []

    def talk() -> SMTP:
        made = SMTP(
            found,
            hostname="mail.test",
            tls_context=None if is_tls else tls,
            require_starttls=tls is not None and not is_tls,
            auth_required=wants_password,
            auth_require_tls=tls is not None and not is_tls,
            authenticator=found.check,
            loop=loop,
        )
        talks.append(made)
        return made

    from_start = tls if is_tls else None
    server = await loop.create_server(talk, "127.0.0.1", 0, ssl=from_start)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()
        for each in talks:
            if each.transport is not None:
                each.transport.close()
        await server.wait_closed()


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, list[Any]]]:
    """Yield a port that takes connections and says no word, and those that came."""
    came: list[asyncio.StreamWriter] = []
    tasks: list[asyncio.Task[Any]] = []
    is_over = asyncio.Event()  # Who comes now would be waited for in vain.

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_over.is_set():
            writer.transport.abort()
            return
        came.append(writer)
        tasks.extend(filter(None, [asyncio.current_task()]))
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        is_over.set()
        server.close()
        for writer in came:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)
        await server.wait_closed()
