"""sidecar demo: see it at work, with nothing else installed."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from sidecar.settings.units import parse_duration


def command(
    for_: Annotated[
        str | None, typer.Option("--for", help="End after so long, such as 10s.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            help="Port of the sidecar; else 15006, or a free one if that is taken.",
        ),
    ] = None,
    plain: Annotated[  # noqa: FBT002 - a flag of the command line
        bool, typer.Option("--plain", help="In lines, without a live view.")
    ] = False,
) -> None:
    """Run a shop that misbehaves on purpose, with the sidecar before it.

    Ctrl-C ends it with a summary; a second one ends it at once.

    Example: sidecar demo --for 10s --plain
    """
    try:
        for_s = None if for_ is None else parse_duration(for_)
    except ValueError as error:
        sys.stderr.write(f"--for: {error}\n")
        sys.exit(2)
    import uvloop  # noqa: PLC0415 - --help does not need it

    from sidecar.demo.show import PortTakenError, show  # noqa: PLC0415

    is_plain = plain or not _has_screen()
    try:
        uvloop.run(show(for_s, port, is_plain=is_plain))
    except PortTakenError as error:
        sys.stderr.write(f"demo: {error}; choose another --port, or leave it out\n")
        sys.exit(1)
    except BrokenPipeError:  # Whoever read what it told has left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has_screen() -> bool:
    """Tell whether there is a terminal that can show a live view."""
    if not sys.stdout.isatty():
        return False
    from sidecar.demo.view import has_screen  # noqa: PLC0415 - rich is heavy

    return has_screen()
