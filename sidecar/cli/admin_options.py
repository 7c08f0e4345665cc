"""The options of the commands that ask a running sidecar, and how their errors end."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from sidecar.cli.ending import fail

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sidecar.terminal.client import Place

Admin = Annotated[
    str,
    typer.Option(
        metavar="URL", help="The admin API of a sidecar, or a forwarded port."
    ),
]
Socket = Annotated[
    str, typer.Option(metavar="PATH", help="Its Unix socket, instead of --admin.")
]
TokenFile = Annotated[
    str, typer.Option(metavar="FILE", help="With the token, where it asks for one.")
]
ADMIN = "http://127.0.0.1:15000"


def place_of(admin: str, socket: str, token_file: str) -> Place:
    """Return where the options lead; end if they lead nowhere."""
    from sidecar.settings.token_file import TokenError, read_token  # noqa: PLC0415
    from sidecar.terminal.client import Place  # noqa: PLC0415 - --help needs it not

    token = ""
    if token_file:
        try:
            token = read_token(token_file).decode("ascii")
        except TokenError as error:
            fail(f"--token-file {token_file}: {error}")
    url = admin if "://" in admin else f"http://{admin}"
    return Place(url, socket, token)


def ask(command: str, work: Coroutine[None, None, None]) -> None:
    """Run until it is done, or a signal ends it; tell an error in a line."""
    from sidecar.terminal.client import AdminError  # noqa: PLC0415 - likewise

    try:
        asyncio.run(_until_signal(work))
    except AdminError as error:
        fail(f"{command}: {error}", code=2 if error.is_of_call else 1)


async def _until_signal(work: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task
