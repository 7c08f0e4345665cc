"""sidecar top: a running sidecar, live."""

from __future__ import annotations

import random
from typing import Annotated

import typer

from sidecar.cli.admin_options import ADMIN, Admin, Socket, TokenFile, ask, place_of


def command(
    admin: Admin = ADMIN,
    socket: Socket = "",
    token_file: TokenFile = "",
    once: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--once", help="Print one picture, and end.")
    ] = False,
) -> None:
    """Show traffic, breakers, endpoints that are out, and faults with their fix, live.

    Of a pod: kubectl port-forward POD 15000, and then just sidecar top. Without a
    terminal it prints one picture, as with --once.

    Example: sidecar top --admin http://127.0.0.1:15000
    """
    place = place_of(admin, socket, token_file)
    from sidecar.terminal.top import top  # noqa: PLC0415 - rich and aiohttp are heavy

    rng = random.Random()  # noqa: S311 - for waits, no secret
    ask("top", top(place, rng, is_once=once))
